"""What happened in training, one row an epoch."""

import csv
import io
from pathlib import Path
from typing import Any

from motet._internal.files import write_text
from motet.errors import InputError

Row = dict[str, Any]


def write_history(path: Path, rows: list[Row]) -> None:
    """Write the rows as CSV, atomically; columns are those of the first row."""
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    write_text(path, text.getvalue())


def read_history(path: Path) -> list[Row]:
    """Read what `write_history` wrote, numbers as numbers. Raises `InputError` if the file is damaged."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [{key: _number(value) for key, value in row.items()} for row in csv.DictReader(file, strict=True)]
    except (ValueError, TypeError, csv.Error) as error:
        raise InputError(
            f"{path} must hold a row of numbers for each epoch",
            got=f"a damaged file ({error})",
            fix="Move the run's folder away and run it again",
        ) from error


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)
