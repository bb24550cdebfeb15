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
        width: the factor by which its model's layers are wider than the comparison's model; 0.5 makes a thin ensemble.
        required: whether a model that the method refuses is an error; it is left out with the reason if not.
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
        """What tells the row from others: the method's name, and the width as it is given on the command line."""
        return self.method.name + (f"@{self._factor}" if self.width != 1 else "")

    @property
    def label(self) -> str:
        """The row's name in tables and figures."""
        return self.method.label + (f", width \N{MULTIPLICATION SIGN}{self._factor}" if self.width != 1 else "")

    def folder(self, seed: int) -> str:
        """Name of a run's folder: letters, digits, hyphens and a point, which every file system takes."""
        return self.method.name + (f"-x{self._factor}" if self.width != 1 else "") + f"-seed{seed}"

    def model(self, model: ModelSettings) -> ModelSettings:
        """The row's model. Raises `InputError` if the comparison's cannot be made so wide."""
        return model if self.width == 1 else model.scaled(self.width)

    @property
    def _factor(self) -> str:
        return f"{self.width:.15g}"
