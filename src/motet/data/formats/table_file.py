"""Read CSV and Parquet files as columns, whose contents are determined when they are asked for."""

from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any, final

import numpy as np

from motet.data.formats.csv_file import read_csv
from motet.data.formats.table_columns import (
    Column,
    ReadColumn,
    Spelling,
    check_finite,
    read_column,
    text_values,
    tidy,
)
from motet.data.formats.text_file import COMPRESSIONS
from motet.errors import InputError

PARQUET_SUFFIXES = frozenset({".parquet", ".pq"})
TABLE_SUFFIXES = frozenset({".csv", ".tsv", ".tab", ".txt", ".dat", ".data"}) | PARQUET_SUFFIXES

_PANDAS_ROWS = "__index_level_0__"


def is_table(path: Path) -> bool:
    """Whether a file is a table by its suffix, also if it is a compressed CSV file."""
    return _table_suffix(path) in TABLE_SUFFIXES


def table_stem(path: Path) -> str:
    """Return the file's name without the suffixes of tables and compressions."""
    suffixes = len(path.suffix) + (len(Path(path.stem).suffix) if path.suffix.lower() in COMPRESSIONS else 0)
    return path.name[:-suffixes] if suffixes else path.name


def _table_suffix(path: Path) -> str:
    compressed = path.suffix.lower() in COMPRESSIONS
    return Path(path.stem).suffix.lower() if compressed else path.suffix.lower()


@final
class TableFile:
    """The columns of a table.

    In CSV files the first line contains the names; see `motet.data.formats.csv_file.read_csv` for the separator, the
    encoding, comments and names of rows. Names and words are without spaces around them. The index that pandas writes
    to a Parquet file has the name "".

    Args:
        path: a CSV file, also compressed (.csv.gz), or a Parquet file.
        spelling: how fields are written.
        category: columns that contain codes, which are read as words whatever they look like.

    Attributes:
        names: the names of the columns; several may be "".
        notes: what was guessed.

    Raises:
        InputError: if the file cannot be read as a table, has no rows or only one column, or has two columns with the
            same name.
    """

    def __init__(self, path: Path, spelling: Spelling | None = None, *, category: Collection[str] = ()) -> None:
        if not path.is_file() or path.stat().st_size == 0:
            raise InputError(f"{path} must hold a table", got="an empty file", fix="Check the path")
        self.notes: list[str] = []
        spelling = spelling or Spelling()
        if _table_suffix(path) in PARQUET_SUFFIXES:
            table = _read_parquet(path)
            names, self._columns = table.column_names, table.columns
        else:
            names, self._columns, separator = read_csv(path, self.notes)
            decimal = separator != ","
            spelling = Spelling(missing=spelling.missing, dates=spelling.dates, decimal_comma=decimal)
        self._spelling, self._category = spelling, frozenset(category)
        self.names = [tidy(name) if name != _PANDAS_ROWS else "" for name in names]
        _check_names(path, self.names)
        if not len(self._columns[0]):
            raise InputError(f"{path.name} must have rows", got="0 rows below the column names", fix="Check the file")

    @property
    def rows(self) -> int:
        """The number of rows."""
        return len(self._columns[0])

    def read(self, place: int) -> ReadColumn:
        """Return the column at a place: numbers, dates and durations in seconds, or words.

        Raises:
            InputError: for a column of another type, and for what `motet.data.formats.table_columns.read_column`
                refuses.
        """
        name, column = self.names[place], self._columns[place]
        if name in self._category:
            texts = self.texts(place)
            if texts is None:
                numbers = _typed(name, column).values
                texts = np.array([None if np.isnan(value) else f"{value:.15g}" for value in numbers], dtype=object)
            return ReadColumn(texts, "words")
        if _is(column.type, "dictionary"):
            column = column.cast(column.type.value_type)
        if _is(column.type, *_TEXT):
            return read_column(name, column, self._spelling)
        return _typed(name, column)

    def texts(self, place: int) -> Column | None:
        """Return the column as text, with None for missing values; None if the file contains no text for
        it.
        """
        column = self._columns[place]
        if _is(column.type, "dictionary"):
            column = column.cast(column.type.value_type)
        return text_values(column, self._spelling) if _is(column.type, *_TEXT) else None


_TEXT = ("string", "large_string", "string_view")


def dropped(drop: Collection[str], names: Collection[str]) -> list[str]:
    """Return the columns to drop. An item that is not a column, but names of columns joined by commas, is split."""
    taken: list[str] = []
    for item in drop:
        parts = [part.strip() for part in item.split(",")]
        taken += parts if item not in names and all(part in names for part in parts) else [item]
    return taken


def _check_names(path: Path, names: list[str]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1 and name]
    if twice:
        raise InputError(
            f"the columns of {path.name} must have different names",
            got=f"{', '.join(map(repr, twice[:3]))} more than once",
            fix="Rename or remove the repeated ones",
        )
    if len(names) < 2:
        raise InputError(
            f"{path.name} must have at least 2 columns",
            got=f"one, {names[0]!r}" if names else "none",
            fix="Separate the columns with commas, semicolons, tabs, vertical bars (|) or spaces",
        )


def _read_parquet(path: Path) -> Any:
    import pyarrow
    import pyarrow.parquet

    try:
        return pyarrow.parquet.ParquetFile(path).read()
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise InputError(
            f"{path} must be a readable Parquet file",
            got=str(error).rstrip("."),
            fix="Check its permissions, or write it again, for example with DataFrame.to_parquet",
        ) from error


def _typed(name: str, column: Any) -> ReadColumn:
    """Convert an Arrow column that is not text, by its type."""
    import pyarrow

    kind = column.type
    if _is(kind, "null"):
        return ReadColumn(np.full(len(column), np.nan), "numbers")
    if _is(kind, "boolean"):
        texts = [None if value is None else str(value).lower() for value in column.to_pylist()]
        return ReadColumn(np.array(texts, dtype=object), "words")
    if _is(kind, "date", "timestamp"):
        values = _divided(column.cast(pyarrow.timestamp("us"), safe=False).cast(pyarrow.int64()), by=1e6)
    elif _is(kind, "time", "duration"):
        whole = pyarrow.int32() if _is(kind, "time32") else pyarrow.int64()
        values = _divided(column.cast(whole), by={"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}[kind.unit])
    elif _is(kind, "integer", "floating", "decimal"):
        values = column.cast(pyarrow.float64(), safe=False).to_numpy().astype(np.float64)  # null becomes NaN
    else:
        raise InputError(
            "a table's columns must hold numbers, text, booleans or dates",
            got=f"column {name!r} of type {kind}",
            fix=f"Leave it out with --drop {name}, or convert it to columns of numbers",
        )
    check_finite(name, values)
    return ReadColumn(values, "dates" if _is(kind, "date", "timestamp", "time", "duration") else "numbers")


def _is(kind: Any, *families: str) -> bool:
    """Whether an Arrow type belongs to one of these families of `pyarrow.types`."""
    import pyarrow

    return any(getattr(pyarrow.types, f"is_{family}", _never)(kind) for family in families)


def _never(_: Any) -> bool:
    return False


def _divided(column: Any, *, by: float) -> Column:
    """Convert integers in fractions of a second to seconds, null to NaN."""
    return np.array([np.nan if value is None else value / by for value in column.to_pylist()])
