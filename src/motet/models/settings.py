"""Models as settings: what an experiment records, and how it becomes a module for some data."""

import inspect
import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any, final

from torch import nn

from motet.errors import InputError, nearest
from motet.loading import load_function
from motet.models.mimmo_resnet import mimmo_resnet
from motet.models.mlp import mlp
from motet.models.small_cnn import small_cnn
from motet.models.wide_resnet import wide_resnet


@dataclass(frozen=True, kw_only=True)
class ModelSettings(ABC):
    """Settings of a model. `build` makes a new one, with new initial weights, for inputs of some shape."""

    @abstractmethod
    def build(self, *, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        """A module that maps ``(B, *input_shape)`` to ``(B, outputs)``."""


@final
@dataclass(frozen=True, kw_only=True)
class MLP(ModelSettings):
    """See `motet.models.mlp`."""

    hidden: tuple[int, ...] = (128, 128)

    def build(self, *, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        """For inputs of any shape."""
        if not self.hidden or min(self.hidden) < 1:
            raise InputError(
                "hidden layers must have at least one unit", got=f"{self.hidden}", fix="Pass widths from 1"
            )
        return mlp(input_shape=input_shape, num_classes=outputs, hidden=self.hidden)


@final
@dataclass(frozen=True, kw_only=True)
class SmallCNN(ModelSettings):
    """See `motet.models.small_cnn`."""

    width: int = 1

    def build(self, *, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        """For images ``(channels, H, W)`` of at least 4x4 pixels."""
        if self.width < 1:
            raise InputError("width must be at least 1", got=f"width={self.width}", fix="Pass width=1 or more")
        return small_cnn(num_classes=outputs, in_channels=_channels(input_shape, "small_cnn"), width=self.width)


@final
@dataclass(frozen=True, kw_only=True)
class WideResNet(ModelSettings):
    """See `motet.models.wide_resnet`."""

    depth: int = 28
    width: int = 10

    def build(self, *, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        """For images ``(channels, H, W)`` of at least 4x4 pixels."""
        channels = _channels(input_shape, "wide_resnet")
        return wide_resnet(depth=self.depth, width=self.width, num_classes=outputs, in_channels=channels)


@final
@dataclass(frozen=True, kw_only=True)
class MIMMOResNet(ModelSettings):
    """See `motet.models.mimmo_resnet`."""

    planes: tuple[int, ...] = (16, 32, 64, 128)
    blocks: tuple[int, ...] = (1, 2, 3, 1)
    width: int = 2

    def build(self, *, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        """For images ``(channels, H, W)`` of at least 4x4 pixels."""
        channels = _channels(input_shape, "mimmo_resnet")
        return mimmo_resnet(
            num_classes=outputs, in_channels=channels, planes=self.planes, blocks=self.blocks, width=self.width
        )


@final
@dataclass(frozen=True, kw_only=True)
class CustomModel(ModelSettings):
    """The user's own model.

    Attributes:
        function: ``module:function`` or ``file.py:function``. It is called with those of the keyword arguments
            ``num_classes``, ``in_channels`` and ``input_shape`` that it names (and ``num_classes``, if it takes any
            keyword), and returns a module.
    """

    function: str

    def build(self, *, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        """What the function returns; checked against the data when a method wraps it."""
        function = load_function(self.function)
        offered: dict[str, Any] = {
            "num_classes": outputs,
            "in_channels": input_shape[0],
            "input_shape": input_shape,
        }
        try:
            takes = list(inspect.signature(function).parameters.values())
        except ValueError:  # some functions written in C have none that can be read
            takes = []
        # Functions that pass their keywords on (torchvision's, timm's) take the number of classes by this name.
        more = {"num_classes"} if any(parameter.kind is parameter.VAR_KEYWORD for parameter in takes) else set()
        wanted = more | {parameter.name for parameter in takes}
        needed = {
            parameter.name
            for parameter in takes
            if parameter.default is parameter.empty
            and parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        }
        if missing := needed - offered.keys():
            raise InputError(
                f"a model function may require only {', '.join(offered)}",
                got=f"{self.function}, which also needs {', '.join(sorted(missing))}",
                fix="Give these arguments defaults",
            )
        model = function(**{key: value for key, value in offered.items() if key in wanted})
        if not isinstance(model, nn.Module):
            raise InputError(
                "a model function must return a torch.nn.Module",
                got=f"a {type(model).__name__} from {self.function}",
                fix="Return the module that it builds",
            )
        return model


def model_named(name: str) -> ModelSettings:
    """Settings of the model called `name`.

    mlp, small_cnn, wrn-DEPTH-WIDTH, mimmo-resnet, or the user's ``file.py:function``.

    Raises:
        InputError: if there is no such model.

    >>> model_named("wrn-16-4")
    WideResNet(depth=16, width=4)
    """
    if ":" in name:
        return CustomModel(function=name)
    folded = name.lower().replace("_", "-")
    if match := re.fullmatch(r"(?:wrn|wide-resnet)-(\d+)-(\d+)", folded):
        return WideResNet(depth=int(match[1]), width=int(match[2]))
    known: dict[str, ModelSettings] = {
        "mlp": MLP(),
        "small-cnn": SmallCNN(),
        "wide-resnet": WideResNet(),
        "mimmo-resnet": MIMMOResNet(),
    }
    if folded not in known:
        names = ["mlp", "small_cnn", "wrn-28-10", "wide_resnet", "mimmo-resnet"]
        raise InputError(
            "the model must be one of motet's or module:function", got=repr(name), fix=nearest(name, names)
        )
    return known[folded]


def _channels(input_shape: tuple[int, ...], model: str) -> int:
    if len(input_shape) != 3 or min(input_shape[1:]) < 4:
        raise InputError(
            f"{model} needs images of shape (channels, height, width), at least 4x4",
            got=f"inputs of shape {input_shape}",
            fix="Use the model mlp, or one of your own",
        )
    return input_shape[0]
