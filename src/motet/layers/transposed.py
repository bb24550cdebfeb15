"""Transposed convolutions with another weight."""

from typing import Any

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

Transposed = nn.ConvTranspose1d | nn.ConvTranspose2d | nn.ConvTranspose3d
TRANSPOSED = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_FUNCTIONS: tuple[Any, ...] = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)


def apply_transposed(
    layer: Transposed, x: Tensor, weight: Tensor, bias: Tensor | None, output_size: Any = None
) -> Tensor:
    """Apply a transposed convolution with another weight and bias.

    Args:
        layer: the layer, which determines everything else.
        x: its input.
        weight: used in place of the layer's weight.
        bias: used in place of the layer's bias.
        output_size: as for torch's layer.
    """
    axes = len(layer.kernel_size)
    added: Any = layer._output_padding(
        x,
        output_size,
        layer.stride,  # type: ignore[arg-type]  # tuples, in the stubs lists
        layer.padding,  # type: ignore[arg-type]
        layer.kernel_size,  # type: ignore[arg-type]
        axes,
        layer.dilation,  # type: ignore[arg-type]
    )
    out: Tensor = _FUNCTIONS[axes - 1](
        x, weight, bias, layer.stride, layer.padding, added, layer.groups, layer.dilation
    )
    return out


def transposed_like(layer: Transposed, *, bias: bool) -> Transposed:
    """Return a new layer with the kind, settings, device and dtype of another, with or without a bias.

    Its weights are torch's initial ones; the caller fills them.

    Args:
        layer: the layer to follow.
        bias: whether there is a bias.
    """
    kind: Any = next(kind for kind in TRANSPOSED if isinstance(layer, kind))
    like: Transposed = kind(
        layer.in_channels,
        layer.out_channels,
        layer.kernel_size,
        stride=layer.stride,
        padding=layer.padding,
        output_padding=layer.output_padding,
        groups=layer.groups,
        bias=bias,
        dilation=layer.dilation,
        device=layer.weight.device,
        dtype=layer.weight.dtype,
    )
    return like
