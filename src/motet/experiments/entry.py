"""One row of a comparison: a method, on the comparison's model or on a narrower or wider one."""

import math
from dataclasses import dataclass
from typing import final

from motet.errors import InputError
from motet.method import Method, check_class
from motet.methods.named import check_name_is_free
from motet.models import ModelSettings


@final
@dataclass(frozen=True, kw_only=True)
class Entry:
    """A method in a comparison.

    Attributes:
        method: the method.
        width: the factor by which its model's layers are wider than those of the comparison's model; 0.5 makes a thin
            ensemble.
        required: if the method does not support the model: whether this is an error, or the method is left out with the
            reason.
    """

    method: Method
    width: float = 1.0
    required: bool = True

    def __post_init__(self) -> None:
        check_class(type(self.method))
        check_name_is_free(type(self.method))
        if not (math.isfinite(self.width) and self.width > 0):
            raise InputError(
                "a width factor must be a number above 0",
                got=f"{self.width:g}",
                fix=f"Write {self.method.name}@0.5 for half the width",
            )

    @property
    def key(self) -> str:
        """The row's unique name: the method's name, and the width as on the command line."""
        return self.method.name + (f"@{self._factor}" if self.width != 1 else "")

    @property
    def label(self) -> str:
        """The row's name in tables and figures."""
        return self.method.label + (f", width \N{MULTIPLICATION SIGN}{self._factor}" if self.width != 1 else "")

    def folder(self, seed: int) -> str:
        """Return the name of a run's folder: letters, digits, hyphens and a point, valid on every file system."""
        return self.method.name + (f"-x{self._factor}" if self.width != 1 else "") + f"-seed{seed}"

    def model(self, model: ModelSettings) -> ModelSettings:
        """Return the row's model. Raises `InputError` if the comparison's model cannot have this width."""
        return model if self.width == 1 else model.scaled(self.width)

    @property
    def _factor(self) -> str:
        return f"{self.width:.15g}"
