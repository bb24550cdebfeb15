"""What the user may say about data of their own."""

from dataclasses import dataclass, fields
from typing import Literal, final

from motet.errors import InputError


@final
@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """How data is read; part of an experiment's record.

    Attributes:
        target: the column of a table that is to be predicted.
        task: classification, regression or counts; told from the column if None. Counts are never told: a column of
            whole numbers may as well be years, prices or codes.
        drop: columns of a table to leave out.
        image_size: height and width that the images of a folder are brought to; None keeps them, if all are alike.
        skip_bad: leave out images that cannot be read, instead of stopping at them.
        stream: decode the images of a folder when they are needed; None does so where they would take more than
            512 MiB as tensors.
        validation_share: share of the training rows (of all rows, where the test rows are split off too) to hold out
            for validation; None takes the data set's own.
        split_seed: of the shuffle behind splits that the data does not come with.

    Raises:
        InputError: on construction, for values that cannot be.
    """

    target: str | None = None
    task: Literal["classification", "regression", "counts"] | None = None
    drop: tuple[str, ...] = ()
    image_size: int | None = None
    skip_bad: bool = False
    stream: bool | None = None
    validation_share: float | None = None
    split_seed: int = 0

    def __post_init__(self) -> None:
        if self.task not in (None, "classification", "regression", "counts"):
            raise InputError(
                "task must be classification, regression or counts",
                got=repr(self.task),
                fix="Leave it out to have it told",
            )
        if self.image_size is not None and self.image_size < 1:
            raise InputError(
                "image_size must be at least 1", got=f"image_size={self.image_size}", fix="Pass pixels, such as 64"
            )
        if self.validation_share is not None and not 0 < self.validation_share < 1:
            raise InputError(
                "validation_share must lie between 0 and 1",
                got=f"validation_share={self.validation_share}",
                fix="Pass 0.1 to hold out a tenth",
            )
        if not 0 <= self.split_seed < 2**32:
            raise InputError(
                "split_seed must lie in 0..2^32 - 1", got=f"split_seed={self.split_seed}", fix="Pass 0, 1, 2, ..."
            )

    def check_only(self, allowed: set[str], what: str) -> None:
        """Raise `InputError` if anything but the options `allowed` was said of `what`."""
        for field in fields(self):
            if field.name not in allowed and getattr(self, field.name) != field.default:
                name = field.name.replace("_", "-")
                raise InputError(
                    f"--{name} must be left out for {what}, which it says nothing about",
                    got=f"{name}={getattr(self, field.name)!r}",
                    fix="Leave it out",
                )


TABLE_OPTIONS = {"target", "task", "drop", "validation_share", "split_seed"}
FOLDER_OPTIONS = {"image_size", "skip_bad", "stream", "validation_share", "split_seed"}
HELD_OUT_OPTIONS = {"validation_share", "split_seed"}
