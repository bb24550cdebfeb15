"""The user's options for reading their own data."""

from dataclasses import dataclass, field, fields
from typing import Literal, final

from motet._internal.field_types import check_field_types
from motet._internal.plain_records import LEFT_OUT
from motet.errors import InputError


@final
@dataclass(frozen=True, kw_only=True)
class DataOptions:
    """How data is read; part of an experiment's record.

    Attributes:
        target: the column of a table to predict, or several columns separated by commas.
        task: classification, multilabel (labels 0 and 1 in several columns), regression or counts; inferred from the
            column if None. Counts are never inferred, because a column of integers may also contain years, prices or
            codes.
        drop: columns of a table to leave out.
        keep: columns of a table to use although they count the rows, are constant, or contain words that are nearly all
            different.
        category: columns of a table that contain codes: every different text is a category, also if some or all are
            numbers.
        missing: words that mark missing values in a table, besides the usual ones (NA, ?, null, ...).
        dates: ``"dayfirst"`` or ``"monthfirst"``: the order in dates such as 01/02/2012 that can be read both ways.
        image_size: height and width to which the images of a folder are resized; None keeps their size, if all have the
            same.
        skip_bad: leave out images that cannot be read, instead of raising an error.
        stream: decode the images of a folder when they are needed; None does so if they would take more than 512 MiB as
            tensors.
        validation_share: the fraction of the training rows (of all rows, if the test rows are split off too) to hold
            out for validation; None uses the data set's default.
        split_seed: the seed of the shuffle for splits that are not part of the data.

    Raises:
        InputError: on construction, for invalid values.
    """

    target: str | None = None
    task: Literal["classification", "multilabel", "regression", "counts"] | None = None
    drop: tuple[str, ...] = ()
    keep: tuple[str, ...] = field(default=(), metadata={LEFT_OUT: True})
    category: tuple[str, ...] = field(default=(), metadata={LEFT_OUT: True})
    missing: tuple[str, ...] = field(default=(), metadata={LEFT_OUT: True})
    dates: Literal["dayfirst", "monthfirst"] | None = field(default=None, metadata={LEFT_OUT: True})
    image_size: int | None = None
    skip_bad: bool = False
    stream: bool | None = None
    validation_share: float | None = None
    split_seed: int = 0

    def __post_init__(self) -> None:
        check_field_types(self)
        if self.task not in (None, "classification", "multilabel", "regression", "counts"):
            raise InputError(
                "task must be classification, multilabel, regression or counts",
                got=repr(self.task),
                fix="Leave it out to infer it",
            )
        if self.dates not in (None, "dayfirst", "monthfirst"):
            raise InputError(
                "dates must be dayfirst or monthfirst",
                got=repr(self.dates),
                fix="Leave it out if the order can be seen from days above 12",
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
        """Check that only the options `allowed` are set for `what`.

        Raises:
            InputError: if another option is set.
        """
        for item in fields(self):
            if item.name not in allowed and getattr(self, item.name) != item.default:
                name = item.name.replace("_", "-")
                raise InputError(
                    f"--{name} must be left out for {what}, to which it does not apply",
                    got=f"{name}={getattr(self, item.name)!r}",
                    fix="Leave it out",
                )


TABLE_OPTIONS = {
    *("target", "task", "drop", "keep", "category", "missing", "dates"),
    *("validation_share", "split_seed"),
}
FOLDER_OPTIONS = {"image_size", "skip_bad", "stream", "validation_share", "split_seed"}
HELD_OUT_OPTIONS = {"validation_share", "split_seed"}
