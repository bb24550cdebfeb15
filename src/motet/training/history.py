"""What happened in training, one row an epoch."""

import csv
import io
from pathlib import Path
from typing import Any

from motet.files import write_text

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
    """Read what `write_history` wrote, numbers as numbers."""
    with path.open(encoding="utf-8", newline="") as file:
        return [{key: _number(value) for key, value in row.items()} for row in csv.DictReader(file)]


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)
