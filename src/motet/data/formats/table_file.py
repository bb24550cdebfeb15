"""Read CSV and Parquet files as checked columns."""

import re
from collections import Counter
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np

from motet.errors import InputError

TABLE_SUFFIXES = frozenset({".csv", ".tsv", ".parquet", ".pq"})

_MISSING = ["", "NA", "N/A", "n/a", "NaN", "nan", "NULL", "null", "None", "?"]
_SEPARATORS = ",;\t|"
_SIGNS = str.maketrans("", "", "%$\u20ac\u00a3\u00a5\u00a0 '")
_PANDAS_ROWS = "__index_level_0__"

Column = Any
"""A column: float64 with NaN for missing values, or objects (str) with None."""


def read_table(path: Path, *, drop: Collection[str] = ()) -> dict[str, Column]:
    """Return the columns of a table by name: numbers as float64 arrays, text as arrays of str and None.

    In CSV files the first line contains the names. The separator is the one of comma, semicolon, tab and bar that
    occurs most often in that line outside quotes. Empty fields, NA, NaN, null and ? are missing values.

    In all files, spaces and line breaks around names and words are removed, and those inside become one space. Booleans
    are read as text. Dates, times and durations become seconds. A column of text is an error if at least half of its
    values are numbers, or if its values are numbers written with signs (5%, $3) or with commas. The index that pandas
    writes to a Parquet file has the name "".

    Args:
        path: the file.
        drop: names of columns that are not read, see `dropped`; their value is None.

    Raises:
        InputError: if the file cannot be read as a table, has no rows or only one column, has two columns with the same
            name or a column of another kind, or if a column mixes text and numbers or contains infinite values.
    """
    if not path.is_file() or path.stat().st_size == 0:
        raise InputError(f"{path} must hold a table", got="an empty file", fix="Check the path")
    table = _read_parquet(path) if path.suffix.lower() in (".parquet", ".pq") else _read_csv(path)
    table = table.rename_columns([_tidy(name) if name != _PANDAS_ROWS else "" for name in table.column_names])
    _check_columns(path, table.column_names)
    if table.num_rows == 0:
        raise _no_rows(path)
    unseen = set(dropped(drop, table.column_names))
    return {name: None if name in unseen else _column(name, table.column(name)) for name in table.column_names}


def _check_columns(path: Path, names: list[str]) -> None:
    twice = [name for name, count in Counter(names).items() if count > 1]
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
            fix="Separate the columns with commas, semicolons, tabs or bars",
        )


def dropped(drop: Collection[str], names: Collection[str]) -> list[str]:
    """Return the columns to drop. An item that is not a column, but names of columns joined by commas, is split."""
    taken: list[str] = []
    for item in drop:
        parts = [part.strip() for part in item.split(",")]
        taken += parts if item not in names and all(part in names for part in parts) else [item]
    return taken


def _pyarrow() -> Any:
    import pyarrow
    import pyarrow.csv
    import pyarrow.parquet

    return pyarrow


def _read_parquet(path: Path) -> Any:
    pyarrow = _pyarrow()
    try:
        return pyarrow.parquet.ParquetFile(path).read()
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise InputError(f"{path} must be a Parquet file", got=str(error).rstrip("."), fix="Write it again") from error


def _read_csv(path: Path) -> Any:
    header = _header(path)
    separator = max(_SEPARATORS, key=re.sub(r'"[^"]*"', "", header).count)
    _check_names(path, [field.strip().strip('"') for field in header.rstrip("\r\n").split(separator)])
    pyarrow = _pyarrow()
    try:
        try:
            table = _parse(path, separator, threads=True)
        except pyarrow.ArrowException:
            table = _parse(path, separator, threads=False)  # raises again, with the row's number
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise InputError(
            f"{path} must be a table with as many fields in every row as there are names",
            got=str(error).partition("\n")[0],
            fix=f"Check the file; its separator seems to be {separator!r}",
        ) from error
    if any(_is(kind, "binary") for kind in table.schema.types):  # text that is not UTF-8
        try:
            path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise _no_text(path, error) from error
    return table


def _header(path: Path) -> str:
    """Return the first line that is not blank, if there are rows below it."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            header = next((line for line in file if line.strip()), "")
            if not header:
                raise InputError(f"{path} must hold a table", got="only blank lines", fix="Check the path")
            if not any(line.strip() for line in file):
                raise _no_rows(path)
    except UnicodeDecodeError as error:
        raise _no_text(path, error) from error
    return header


def _check_names(path: Path, fields: list[str]) -> None:
    """Check that the first line contains names of columns and not only numbers."""
    if fields and all(_number(field) is not None for field in fields):
        raise InputError(
            f"the first line of {path.name} must hold the names of the columns",
            got=f"numbers ({', '.join(fields[:3])})",
            fix="Add a line with names on top",
        )


def _parse(path: Path, separator: str, *, threads: bool) -> Any:
    pyarrow = _pyarrow()
    # One block, because types are inferred from the first block, and later ones would have to agree.
    block_size = min(2**31 - 1, path.stat().st_size + 1024)
    return pyarrow.csv.read_csv(
        path,
        read_options=pyarrow.csv.ReadOptions(use_threads=threads, block_size=block_size),
        parse_options=pyarrow.csv.ParseOptions(delimiter=separator, newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(
            null_values=_MISSING, strings_can_be_null=True, quoted_strings_can_be_null=False
        ),
    )


def _no_text(path: Path, error: UnicodeDecodeError) -> InputError:
    return InputError(
        f"{path} must be text in UTF-8", got=f"{error.reason} at byte {error.start}", fix="Save it as UTF-8"
    )


def _no_rows(path: Path) -> InputError:
    return InputError(f"{path.name} must have rows", got="0 rows below the column names", fix="Check the file")


def _column(name: str, column: Any) -> Column:
    """Convert an Arrow column to an array, by its type."""
    pyarrow = _pyarrow()
    if _is(column.type, "dictionary"):
        column = column.cast(column.type.value_type)
    kind = column.type
    if _is(kind, "null"):
        return np.full(len(column), np.nan)
    if _is(kind, "boolean", "string", "large_string", "string_view"):
        texts = [None if value is None else _text(value) for value in column.to_pylist()]
        return _words(name, np.array(texts, dtype=object))
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
    _check_finite(name, values)
    return values


def _is(kind: Any, *families: str) -> bool:
    """Whether an Arrow type belongs to one of these families of `pyarrow.types`."""
    types = _pyarrow().types
    return any(getattr(types, f"is_{family}")(kind) for family in families)


def _divided(column: Any, *, by: float) -> Column:
    """Convert integers in fractions of a second to seconds, null to NaN."""
    return np.array([np.nan if value is None else value / by for value in column.to_pylist()])


def _check_finite(name: str, values: Column) -> None:
    infinite = np.isinf(values)
    if infinite.any():
        raise InputError(
            f"column {name!r} must hold finite numbers",
            got=f"{int(infinite.sum())} infinite, the first in row {int(infinite.argmax()) + 1}",
            fix="Leave these fields empty, or remove the rows",
        )


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else _tidy(str(value))


def _tidy(text: str) -> str:
    return " ".join(text.split())


def _words(name: str, texts: Any) -> Column:
    """Return a text column unchanged, or as numbers if all values that are not missing are numbers.

    Raises:
        InputError: if it looks like a column of numbers with some mistakes.
    """
    known = [(row, text) for row, text in enumerate(texts, start=1) if text is not None]
    odd = [(row, text) for row, text in known if _number(text) is None]
    if not odd:  # numbers in quotes, or only missing values
        return np.array([np.nan if text is None else float(text) for text in texts])
    if 2 * len(odd) > len(known) and not all(_disguised(text) for _, text in odd):
        return texts
    raise InputError(
        f"column {name!r} must hold numbers or words, not both",
        got=f"{len(odd)} of {len(known)} that are not numbers, the first {odd[0][1]!r} in row {odd[0][0]}",
        fix="Write a point for the decimal comma, remove signs and thousands separators, leave unknown "
        "numbers empty, or name the column with --drop",
    )


def _disguised(text: str) -> bool:
    """Whether it is a number in another notation: 1,5 or 1,000.5 or 5% or $3."""
    plain = text.translate(_SIGNS)
    return _number(plain.replace(",", "")) is not None


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
