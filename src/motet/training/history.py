"""The history of a training run, one row per epoch."""

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Annotated, final

from pydantic import Field

from motet._internal.files import write_text
from motet._internal.typed_records import Amount, Count, Number, Share, absent, from_plain, record
from motet.errors import InputError


@final
@record
class HistoryRow(Mapping[str, int | float]):
    """One epoch of training. Columns can also be read by name: ``row["validation_nll"]``.

    Attributes:
        epoch: the number of the epoch, from 1.
        step: the number of training steps until its end.
        learning_rate: the learning rate of its last step.
        train_loss: mean loss of its steps.
        validation_nll: negative log-likelihood of the validation rows, in nats, in the original unit of the targets.
        validation_accuracy: accuracy on the validation rows, from 0 to 1; None unless there are classes.
        validation_rmse: root mean squared error of the validation rows, in the original unit of the targets; None for
            classes.
        seconds: time of its steps.
    """

    epoch: Annotated[Count, Field(ge=1)]
    step: Count
    learning_rate: Number
    train_loss: Number
    validation_nll: Number
    validation_accuracy: Share | None = absent()
    validation_rmse: Amount | None = absent()
    seconds: Amount

    def __getitem__(self, column: str) -> int | float:
        value: int | float | None = getattr(self, column, None) if column in _COLUMNS else None
        if value is None:
            raise KeyError(column)
        return value

    def __iter__(self) -> Iterator[str]:
        return (column for column in _COLUMNS if getattr(self, column) is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    __eq__ = Mapping.__eq__

    def __hash__(self) -> int:
        return hash(tuple(self.items()))


@final
class History(list[HistoryRow]):
    """A list of the rows of a training run, one per epoch."""

    def __repr__(self) -> str:
        """One line: the number of epochs, and the last row."""
        if not self:
            return "History(0 epochs)"
        last = ", ".join(f"{name} {value:.4g}" for name, value in self[-1].items() if name not in ("epoch", "step"))
        return f"History({len(self)} epoch{'' if len(self) == 1 else 's'}; the last: {last})"


_COLUMNS = tuple(item.name for item in fields(HistoryRow))


def write_history(path: Path, rows: Sequence[HistoryRow]) -> None:
    """Write the rows as CSV, atomically; columns are those of the first row."""
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    write_text(path, text.getvalue())


def read_history(path: Path) -> History:
    """Read a file written by `write_history`.

    Raises:
        InputError: if the file is damaged.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [{key: _number(value) for key, value in row.items()} for row in csv.DictReader(file, strict=True)]
    except (ValueError, TypeError, csv.Error) as error:
        raise InputError(
            f"{path} must hold a row of numbers for each epoch",
            got=f"a damaged file ({error})",
            fix="Move the run's folder away and run it again",
        ) from error
    return History(history_row(row, where=f"{path}, row {number}") for number, row in enumerate(rows, start=1))


def history_row(content: object, *, where: str) -> HistoryRow:
    """Return the row in plain data; `where` is named in errors. Raises `InputError` if there is none."""
    return from_plain(content, HistoryRow, where=where)


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)
