"""What settings of a model are, and the checks that several share."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import nn

from motet.errors import InputError


@dataclass(frozen=True, kw_only=True)
class ModelSettings(ABC):
    """Settings of a model. `build` makes a new one, with new initial weights, for inputs of some shape."""

    @abstractmethod
    def build(self, *, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        """A module that maps ``(B, *input_shape)`` to ``(B, outputs)``."""

    def scaled(self, factor: float) -> "ModelSettings":
        """Settings of the same model with its layers `factor` times as wide.

        Raises:
            InputError: if the model has no width to change, or a layer's width would not be a whole number.
        """
        raise InputError(
            "a model must have a width to be made narrower or wider",
            got=f"{self}, which has none",
            fix="Use one of motet's, such as wrn-28-10, or a function of your own with an argument width",
        )


def whole(name: str, width: int, factor: float) -> int:
    """`width` times `factor`, which must be a whole number from 1, give or take 1% for factors such as 0.333.

    Raises:
        InputError: if it is not, with a factor that gives one.
    """
    wide = width * factor
    rounded = round(wide)
    if rounded < 1 or not math.isclose(wide, rounded, rel_tol=0.01):
        near = max(1, rounded)
        raise InputError(
            f"a width factor must leave the model's {name} a whole number",
            got=f"{name}={width} times {factor:g}, which is {wide:g}",
            fix=f"Pass {near / width:.6g} for {name}={near}, for example",
        )
    return rounded


def image_channels(input_shape: tuple[int, ...], model: str, *, at_least: int = 4) -> int:
    """The number of channels. Raises `InputError` unless inputs are images of at least so many pixels a side."""
    if len(input_shape) != 3 or min(input_shape[1:]) < at_least:
        raise InputError(
            f"{model} needs images of shape (channels, height, width), at least {at_least}x{at_least}",
            got=f"inputs of shape {input_shape}",
            fix="Use the model mlp, or one of your own",
        )
    return input_shape[0]
