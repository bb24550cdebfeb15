"""The ordinary layers that can get a member axis, and the base class of their replacements."""

from abc import ABC, abstractmethod
from typing import Any, ClassVar, cast

from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

Convolution = nn.Conv1d | nn.Conv2d | nn.Conv3d
Ordinary = nn.Linear | Convolution
CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def apply(layer: Ordinary, x: Tensor, weight: Tensor, *, bias: bool = True) -> Tensor:
    """Apply `layer` with another weight.

    Args:
        layer: the layer.
        x: its input.
        weight: used in place of the layer's weight.
        bias: whether the layer's bias is added.
    """
    added = layer.bias if bias else None
    if isinstance(layer, nn.Linear):
        return F.linear(x, weight, added)
    # The only function that applies padding_mode; torch's own quantised layers call it in the same way.
    return cast(Tensor, layer._conv_forward(x, weight, added))


def convolve(layer: Convolution, x: Tensor, weight: Tensor, bias: Tensor | None, *, groups: int) -> Tensor:
    """Apply a convolution with another weight, bias and number of groups.

    Args:
        layer: the convolution, which determines stride, padding and dilation.
        x: its input.
        weight: used in place of the layer's weight.
        bias: used in place of the layer's bias.
        groups: the number of groups.
    """
    padding: Any = layer.padding
    stride: Any = layer.stride
    dilation: Any = layer.dilation
    if layer.padding_mode != "zeros":
        x, padding = F.pad(x, layer._reversed_padding_repeated_twice, mode=layer.padding_mode), 0
    if isinstance(layer, nn.Conv1d):
        return F.conv1d(x, weight, bias, stride, padding, dilation, groups)
    if isinstance(layer, nn.Conv2d):
        return F.conv2d(x, weight, bias, stride, padding, dilation, groups)
    return F.conv3d(x, weight, bias, stride, padding, dilation, groups)


def layer_like(
    layer: Ordinary, *, inputs: int, outputs: int, groups: int | None = None, bias: bool | None = None
) -> Ordinary:
    """Return a new layer with the kind, settings, device and dtype of another, and other numbers of inputs and outputs.

    Its weights are torch's initial ones; the caller fills them.

    Args:
        layer: the layer to follow.
        inputs: the number of input features or channels.
        outputs: the number of output features or channels.
        groups: the number of groups of a convolution; the layer's if None.
        bias: whether there is a bias; as in `layer` if None.
    """
    place = {"device": layer.weight.device, "dtype": layer.weight.dtype}
    bias = layer.bias is not None if bias is None else bias
    if isinstance(layer, nn.Linear):
        return nn.Linear(inputs, outputs, bias=bias, **place)
    # Not type(layer), because a subclass may take other arguments.
    kind: type[Convolution] = next(kind for kind in CONVOLUTIONS if isinstance(layer, kind))
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


class WithOtherAttributes(nn.Module, ABC):
    """A module that also has the attributes of one inside it, because the model's own code may read them."""

    @property
    @abstractmethod
    def _other(self) -> nn.Module | None:
        """The module inside; None while this module is being made."""

    def __getattr__(self, name: str) -> Any:
        """Return an attribute that this module does not have from the other one."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            # Submodules are not there yet while the module is made or copied.
            other = None if name.startswith("_") or "_modules" not in self.__dict__ else self._other
            if other is None or not hasattr(other, name):
                raise
            return getattr(other, name)


def _of_one(name: str) -> Any:
    return property(lambda layer: layer.equivalent_attribute(name))


class OneInputLayer(nn.Module):
    """A layer in the place of one with a single argument, which callers may pass by any name: ``self.fc(input=x)``."""

    takes_one_input: ClassVar[bool] = True
    """Whether that is so; a subclass that also replaces other modules says False."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Accept every call that the replaced layer accepts."""
        if self.takes_one_input and not args and len(kwargs) == 1:
            args, kwargs = tuple(kwargs.values()), {}
        return super().__call__(*args, **kwargs)


class ReplacedLayer(OneInputLayer, ABC):
    """A layer that replaces an ordinary layer and has its attributes.

    Models read ``self.fc.in_features`` to reshape, ``self.conv.weight.dtype`` to cast, ``self.conv.stride`` to pad.
    They get the values of one ordinary layer, for one member: M inputs or outputs are not counted separately.
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
        """Return the attribute `name` of the replaced ordinary layer; `AttributeError` if it has none."""
