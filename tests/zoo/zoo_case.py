"""What the zoo needs to know of a model: how to make it, its inputs, and what a user passes to `wrap` for it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

CLASSES = 4


@dataclass(frozen=True, eq=False)
class Case:
    """A model of somebody else's.

    Attributes:
        library: where it is from: timm, torchvision, transformers, or own for those of `users_models`.
        name: what the library calls it.
        build: makes it.
        inputs: makes a batch of so many rows: a tensor, a tuple or a dictionary.
        wrap: keyword arguments of `wrap` that a user passes.
        classes: the number of its outputs, at a position where it has positions.
        positions: the axes of the targets after the batch, if the model predicts at positions.
        unused: whether some parameters of the model itself get no gradient.
        quick: whether the tests run it; the others are in the record only.
        large: whether it comes after the others when the record is made.
    """

    library: str
    name: str
    build: Callable[[], nn.Module]
    inputs: Callable[[int], Any]
    wrap: Mapping[str, Any] = field(default_factory=dict)
    classes: int = CLASSES
    positions: tuple[int, ...] = ()
    unused: bool = False
    quick: bool = False
    large: bool = False

    def make(self) -> nn.Module:
        """A new one, the same at each call."""
        torch.manual_seed(0)
        return self.build()

    def __str__(self) -> str:
        return f"{self.library}:{self.name}"
