"""CSV and Parquet files as columns, checked."""

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
"""A column: float64 with NaN for what is missing, or objects (str) with None."""


def read_table(path: Path, *, drop: Collection[str] = ()) -> dict[str, Column]:
    """The columns of a table by name: numbers as float64 arrays, text as arrays of str and None.

    CSV: the first line holds the names; the separator is the comma, semicolon, tab or bar that stands in it most often,
    outside quotes; empty fields, NA, NaN, null and ? are missing. Spaces and line breaks around names and words do not
    count, and within they count as one space. Booleans count as text. Dates, times and durations become seconds. A
    column of text of which half or more are numbers is an error, and so is one of numbers with signs (5%, $3) or with
    commas. What pandas calls the rows of a Parquet file has no name.

    Args:
        path: the file.
        drop: columns that are not looked at, see `dropped`: None stands in their place.

    Raises:
        InputError: for a file that cannot be read as a table, one without rows or with one column, names that come
            twice, columns of other kinds, text among numbers, and infinite values.
    """
    if not path.is_file() or path.stat().st_size == 0:
        raise InputError(f"{path} must hold a table", got="an empty file", fix="Check the path")
    table = _read_parquet(path) if path.suffix.lower() in (".parquet", ".pq") else _read_csv(path)
    table = table.rename_columns([_tidy(name) if name != _PANDAS_ROWS else "" for name in table.column_names])
    twice = [name for name, count in Counter(table.column_names).items() if count > 1]
    if twice:
        raise InputError(
            f"the columns of {path.name} must have names of their own",
            got=f"{', '.join(map(repr, twice[:3]))} more than once",
            fix="Rename or remove one of each",
        )
    if table.num_columns < 2:
        raise InputError(
            f"{path.name} must have at least 2 columns",
            got=f"one, {table.column_names[0]!r}" if table.num_columns else "none",
            fix="Separate the columns with commas, semicolons, tabs or bars",
        )
    if table.num_rows == 0:
        raise _no_rows(path)
    unseen = set(dropped(drop, table.column_names))
    return {name: None if name in unseen else _column(name, table.column(name)) for name in table.column_names}


def dropped(drop: Collection[str], names: Collection[str]) -> list[str]:
    """The columns to drop; what is no column but several joined by commas is taken apart."""
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
    pyarrow = _pyarrow()
    try:
        with path.open(encoding="utf-8-sig") as file:
            header = next((line for line in file if line.strip()), "")
            if not header:
                raise InputError(f"{path} must hold a table", got="nothing but blank lines", fix="Check the path")
            if not any(line.strip() for line in file):
                raise _no_rows(path)
    except UnicodeDecodeError as error:
        raise _no_text(path, error) from error
    separator = max(_SEPARATORS, key=re.sub(r'"[^"]*"', "", header).count)
    fields = [field.strip().strip('"') for field in header.rstrip("\r\n").split(separator)]
    if fields and all(_number(field) is not None for field in fields):
        raise InputError(
            f"the first line of {path.name} must hold the names of the columns",
            got=f"numbers ({', '.join(fields[:3])})",
            fix="Add a line with names on top",
        )

    def read(*, threads: bool) -> Any:
        return pyarrow.csv.read_csv(
            path,
            # One block: types are told from the first, and later ones would have to agree.
            read_options=pyarrow.csv.ReadOptions(
                use_threads=threads, block_size=min(2**31 - 1, path.stat().st_size + 1024)
            ),
            parse_options=pyarrow.csv.ParseOptions(delimiter=separator, newlines_in_values=True),
            convert_options=pyarrow.csv.ConvertOptions(
                null_values=_MISSING, strings_can_be_null=True, quoted_strings_can_be_null=False
            ),
        )

    try:
        try:
            table = read(threads=True)
        except pyarrow.ArrowException:
            table = read(threads=False)  # fails again, and knows the row's number
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise InputError(
            f"{path} must be a table with as many fields in every row as there are names",
            got=str(error).partition("\n")[0],
            fix=f"Check the file; its separator was taken to be {separator!r}",
        ) from error
    if any(pyarrow.types.is_binary(kind) for kind in table.schema.types):  # what is no text in UTF-8
        try:
            path.read_text(encoding="utf-8-sig")
        except UnicodeDecodeError as error:
            raise _no_text(path, error) from error
    return table


def _no_text(path: Path, error: UnicodeDecodeError) -> InputError:
    return InputError(
        f"{path} must be text in UTF-8", got=f"{error.reason} at byte {error.start}", fix="Save it as UTF-8"
    )


def _no_rows(path: Path) -> InputError:
    return InputError(f"{path.name} must have rows", got="0 rows below the column names", fix="Check the file")


def _column(name: str, column: Any) -> Column:
    pyarrow = _pyarrow()
    types, kind = pyarrow.types, column.type
    if types.is_dictionary(kind):
        column = column.cast(kind.value_type)
        kind = column.type
    if types.is_string_view(kind):
        kind = pyarrow.string()
    if types.is_boolean(kind) or types.is_string(kind) or types.is_large_string(kind) or types.is_null(kind):
        texts = np.array([None if value is None else _text(value) for value in column.to_pylist()], dtype=object)
        return _words(name, texts) if not types.is_null(kind) else np.full(len(column), np.nan)
    if types.is_date(kind) or types.is_timestamp(kind):
        column = column.cast(pyarrow.timestamp("us"), safe=False).cast(pyarrow.int64())
        values = np.array([np.nan if value is None else value / 1e6 for value in column.to_pylist()])
    elif types.is_time(kind) or types.is_duration(kind):
        whole = pyarrow.int32() if types.is_time32(kind) else pyarrow.int64()
        second = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}[kind.unit]
        values = np.array([np.nan if value is None else value / second for value in column.cast(whole).to_pylist()])
    elif types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind):
        values = column.cast(pyarrow.float64(), safe=False).to_numpy().astype(np.float64)  # null becomes NaN
    else:
        raise InputError(
            "a table's columns must hold numbers, text, booleans or dates",
            got=f"column {name!r} of type {kind}",
            fix=f"Leave it out with --drop {name}, or make columns of numbers from it",
        )
    infinite = np.isinf(values)
    if infinite.any():
        raise InputError(
            f"column {name!r} must hold finite numbers",
            got=f"{int(infinite.sum())} infinite, the first in row {int(infinite.argmax()) + 1}",
            fix="Leave these fields empty, or remove the rows",
        )
    return values


def _text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else _tidy(str(value))


def _tidy(text: str) -> str:
    return " ".join(text.split())


def _words(name: str, texts: Any) -> Column:
    """Text as it is, unless it looks like numbers with slips among them."""
    known = [(row, text) for row, text in enumerate(texts, start=1) if text is not None]
    odd = [(row, text) for row, text in known if _number(text) is None]
    if known and not odd:  # numbers that stood in quotes
        return np.array([np.nan if text is None else float(text) for text in texts])
    if 2 * len(odd) > len(known) and not all(_disguised(text) for _, text in odd):
        return texts
    raise InputError(
        f"column {name!r} must hold numbers or words, not both",
        got=f"{len(odd)} of {len(known)} that are no numbers, the first {odd[0][1]!r} in row {odd[0][0]}",
        fix="Write a point for the decimal comma and leave out signs and the commas of thousands, leave unknown "
        "numbers empty, or name the column with --drop",
    )


def _disguised(text: str) -> bool:
    """Whether people read a number in it: 1,5 or 1,000.5 or 5% or $3."""
    plain = text.translate(_SIGNS)
    return _number(plain.replace(",", "")) is not None


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
