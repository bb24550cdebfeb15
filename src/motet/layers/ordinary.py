"""The ordinary layers that can be given a member axis."""

from abc import ABC, abstractmethod
from typing import Any, cast

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


def convolve(layer: Convolution, x: Tensor, weight: Tensor, bias: Tensor | None, *, groups: int) -> Tensor:
    """What `layer` computes on `x`, with other weights and another number of groups than its own."""
    padding: Any = layer.padding
    stride: Any = layer.stride
    dilation: Any = layer.dilation
    if layer.padding_mode != "zeros":
        x, padding = F.pad(x, layer._reversed_padding_repeated_twice, mode=layer.padding_mode), 0
    if isinstance(layer, nn.Conv1d):
        return F.conv1d(x, weight, bias, stride, padding, dilation, groups)
    return F.conv2d(x, weight, bias, stride, padding, dilation, groups)


def like(
    layer: Ordinary, *, inputs: int, outputs: int, groups: int | None = None, bias: bool | None = None
) -> Ordinary:
    """A new layer of the same kind, settings, device and dtype, with other numbers of inputs and outputs (and groups).

    With a bias if `layer` has one, unless `bias` says otherwise.

    Its weights hold what torch initialises them with; the caller fills them.
    """
    place = {"device": layer.weight.device, "dtype": layer.weight.dtype}
    bias = layer.bias is not None if bias is None else bias
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
        groups=layer.groups if groups is None else groups,
        bias=bias,
        padding_mode=layer.padding_mode,
        **place,
    )


def _of_one(name: str) -> Any:
    return property(lambda layer: layer.equivalent_attribute(name))


class ReplacedLayer(nn.Module, ABC):
    """A layer in an ordinary layer's place, of which a model can read what it read of that layer.

    Models read ``self.fc.in_features`` to reshape, ``self.conv.weight.dtype`` to cast, ``self.conv.stride`` to pad.
    They get what one ordinary layer would say, with M inputs or outputs counted once.
    """

    weight = _of_one("weight")
    bias = _of_one("bias")
    in_features = _of_one("in_features")
    out_features = _of_one("out_features")
    in_channels = _of_one("in_channels")
    out_channels = _of_one("out_channels")
    kernel_size = _of_one("kernel_size")
    stride = _of_one("stride")
    padding = _of_one("padding")
    dilation = _of_one("dilation")
    groups = _of_one("groups")
    padding_mode = _of_one("padding_mode")

    @abstractmethod
    def equivalent_attribute(self, name: str) -> Any:
        """The attribute `name` of the ordinary layer in whose place this one is; `AttributeError` if it has none."""
