"""Likelihoods whose model may predict at several positions of an example, such as pixels or tokens."""

from dataclasses import dataclass, field, fields, replace

from motet._internal.plain_records import LEFT_OUT
from motet.errors import InputError
from motet.likelihoods.base import Likelihood

IGNORE_INDEX = -100
"""The label of positions that do not count, as in torch's cross-entropy."""


@dataclass(frozen=True, kw_only=True, repr=False)
class AtPositions(Likelihood):
    """A likelihood that says where a model that predicts at positions has the outputs of one position.

    Attributes:
        class_axis: the axis of the model's output with the classes, or with the outputs for numbers: 1 for ``(B, C, H,
            W)`` and ``(B, C, L)``, -1 for ``(B, T, C)``. None for one row per example, ``(B, C)``.
    """

    class_axis: int | None = field(default=None, metadata={LEFT_OUT: True})

    def __post_init__(self) -> None:
        if self.class_axis is not None:
            check_integer("class_axis", self.class_axis, "class_axis=1, -1 or None")
        if self.class_axis == 0:
            raise InputError(
                "class_axis must name the axis of the classes; axis 0 has the examples",
                got="class_axis=0",
                fix="Pass class_axis=1 for outputs (B, C, H, W), or class_axis=-1 for outputs (B, T, C)",
            )

    def __repr__(self) -> str:
        """Only what is not the default."""
        shown = (
            f"{item.name}={getattr(self, item.name)!r}"
            for item in fields(self)
            if getattr(self, item.name) != item.default
        )
        return f"{type(self).__name__}({', '.join(shown)})"

    @property
    def output_axis(self) -> int | None:
        """`class_axis`."""
        return self.class_axis

    @property
    def of_rows(self) -> Likelihood:
        """Without `class_axis`."""
        return self if self.class_axis is None else replace(self, class_axis=None)


def check_integer(name: str, value: object, example: str) -> None:
    """Check a setting.

    Args:
        name: its name.
        value: its value.
        example: what to pass, for the error.

    Raises:
        InputError: unless it is an integer.
    """
    if not isinstance(value, int) or isinstance(value, bool):
        raise InputError(f"{name} must be an integer", got=f"{name}={value!r}", fix=f"Pass {example}")
