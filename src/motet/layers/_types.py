"""The ordinary layers that can be given a member axis."""

from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

Convolution = nn.Conv1d | nn.Conv2d
Ordinary = nn.Linear | Convolution


def apply(layer: Ordinary, x: Tensor, weight: Tensor, *, bias: bool = True) -> Tensor:
    """What `layer` computes on `x`, with `weight` in place of its own, and without its bias if that is not wanted."""
    added = layer.bias if bias else None
    if isinstance(layer, nn.Linear):
        return F.linear(x, weight, added)
    # The one entry point that honours padding_mode; torch's own quantised layers call it in the same way.
    return cast(Tensor, layer._conv_forward(x, weight, added))


def like(layer: Ordinary, *, inputs: int, outputs: int) -> Ordinary:
    """A new layer of the same kind, settings, device and dtype, with other numbers of inputs and outputs.

    Its weights hold what torch initialises them with; the caller fills them.
    """
    place = {"device": layer.weight.device, "dtype": layer.weight.dtype}
    bias = layer.bias is not None
    if isinstance(layer, nn.Linear):
        return nn.Linear(inputs, outputs, bias=bias, **place)
    # Not type(layer): a subclass may take other arguments.
    kind: type[Convolution] = nn.Conv1d if isinstance(layer, nn.Conv1d) else nn.Conv2d
    return kind(
        inputs,
        outputs,
        layer.kernel_size,  # type: ignore[arg-type]  # the stubs tie the length of the tuple to the class
        stride=layer.stride,  # type: ignore[arg-type]
        padding=layer.padding,  # type: ignore[arg-type]
        dilation=layer.dilation,  # type: ignore[arg-type]
        groups=layer.groups,
        bias=bias,
        padding_mode=layer.padding_mode,
        **place,
    )
