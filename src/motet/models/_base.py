"""The base class of model settings, and checks that several share."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import nn

from motet.errors import InputError


@dataclass(frozen=True, kw_only=True)
class ModelSettings(ABC):
    """Settings of a model. `build` makes a new model, with new initial weights, for a given input shape."""

    @abstractmethod
    def build(self, *, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        """Return a module that maps ``(B, *input_shape)`` to ``(B, outputs)``.

        Raises:
            InputError: if the model cannot be built for these inputs.
        """

    def scaled(self, factor: float) -> "ModelSettings":
        """Return settings of the same model with its layers `factor` times as wide.

        Raises:
            InputError: if the model has no width, or if a layer's width would not be an integer.
        """
        raise InputError(
            "a model must have a width to be made narrower or wider",
            got=f"{self}, which has no width",
            fix="Use a model of motet, such as wrn-28-10, or your own function with an argument width",
        )


def scaled_width(name: str, width: int, factor: float) -> int:
    """Return `width` times `factor`, which must be an integer of at least 1, within 1% for factors such as 0.333.

    Args:
        name: the name of the width, for the error.
        width: the width.
        factor: the factor.

    Raises:
        InputError: if it is not, with a factor that gives an integer.
    """
    wide = width * factor
    rounded = round(wide)
    if rounded < 1 or not math.isclose(wide, rounded, rel_tol=0.01):
        near = max(1, rounded)
        raise InputError(
            f"a width factor must leave the model's {name} an integer",
            got=f"{name}={width} times {factor:g}, which is {wide:g}",
            fix=f"Pass {near / width:.6g} for {name}={near}, for example",
        )
    return rounded


def image_channels(input_shape: tuple[int, ...], model: str, *, at_least: int = 4) -> int:
    """Return the number of channels of images.

    Args:
        input_shape: the shape of one input.
        model: the name of the model, for the error.
        at_least: the smallest height and width.

    Raises:
        InputError: unless inputs are images of at least this size.
    """
    if len(input_shape) != 3 or min(input_shape[1:]) < at_least:
        raise InputError(
            f"{model} needs images of shape (channels, height, width), at least {at_least}x{at_least}",
            got=f"inputs of shape {input_shape}",
            fix="Use the model mlp, or your own model: file.py:function",
        )
    return input_shape[0]
