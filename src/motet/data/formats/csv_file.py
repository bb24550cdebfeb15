"""Read CSV files as columns of text: finds the separator, the header and what does not belong to the table."""

import csv
import io
import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, final

from motet.data.formats.text_file import read_text
from motet.errors import InputError

_SEPARATORS = ",;\t|"
_SPACE = " "
_SAMPLE = 200
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_SEP_LINE = re.compile(r'"?sep=(.)"?[,;\t|]*\s*', re.IGNORECASE)


@final
@dataclass(frozen=True)
class _Layout:
    """How the file is written: the separator, the names, and the number of fields of a row."""

    separator: str
    names: tuple[str, ...]
    plain: bool
    """Whether pyarrow can read it: without spaces between fields that have to be skipped."""


def read_csv(path: Path, notes: list[str]) -> tuple[list[str], list[Any], str]:
    """Return the names of the columns, their fields as Arrow arrays of text, and the separator.

    The first line that is neither blank nor a comment contains the names. The separator is the one of comma,
    semicolon, tab and bar with which most of the first rows have as many fields as there are names; a first line
    ``sep=;`` declares it. If none of them separates the names, runs of spaces and tabs do. Lines that begin with ``#``
    are comments, except for a ``#`` line directly above the rows that contains the names of the columns. If every row
    has one field more than there are names, the first column contains the names of the rows; if instead the last field
    is empty in every row, it is left out.

    Args:
        path: the file.
        notes: gets notes on what was guessed.

    Raises:
        InputError: if it is not a table, or a row has another number of fields.
    """
    text, declared = _without_preamble(path, read_text(path, notes))
    layout = _layout(path, text, declared)
    columns = _by_pyarrow(path, text, layout) if layout.plain else _by_rows(path, text, layout)
    return list(layout.names), columns, layout.separator


def _without_preamble(path: Path, text: str) -> tuple[str, str | None]:
    """Return the text from the names on, and the separator that a first line declares."""
    declared, comment, lines = None, None, io.StringIO(text)
    start = 0
    for line in lines:
        stripped = line.strip()
        if declared is None and comment is None and (found := _SEP_LINE.fullmatch(line)):
            declared = found.group(1)
        elif stripped.startswith("#"):
            comment = stripped.lstrip("#").strip()
        elif stripped:
            break
        start += len(line)
    else:
        if comment is None:
            raise InputError(f"{path} must hold a table", got="only blank lines", fix="Check the path")
        raise _no_rows(path)
    rest = text[start:]
    first = rest.partition("\n")[0]
    if comment is not None and _names_these(comment, first, declared):
        rest = f"{comment}\n{rest}"
    if not rest.partition("\n")[2].strip(" \n"):
        raise _no_rows(path)
    return rest, declared


def _names_these(comment: str, first: str, declared: str | None) -> bool:
    """Whether a comment holds the names of the columns of the row below it: ``# id, x, y``."""
    for separator in declared or _SEPARATORS + _SPACE:
        names, fields = _fields(comment, separator), _fields(first, separator)
        if len(names) == len(fields) > 1:
            return any(map(_is_number, fields)) and not any(map(_is_number, names))
    return False


def _layout(path: Path, text: str, declared: str | None) -> _Layout:
    sample = list(islice(io.StringIO(text), _SAMPLE))
    cut = len(sample) == _SAMPLE
    candidates = []
    for place, separator in enumerate(declared or _SEPARATORS):
        rows = _rows(sample, separator)
        names, body = rows[0], rows[1 : -1 if cut else None]
        if len(names) > 1 or declared:
            share = sum(len(row) in (len(names), len(names) + 1) for row in body) / max(len(body), 1)
            candidates.append((share, len(names), -place, separator, names, body))
    if not candidates:
        rows = _rows(sample, _SPACE)
        names, body = rows[0], rows[1 : -1 if cut else None]
        if len(names) < 2 or any(len(row) not in (len(names), len(names) + 1) for row in body):
            return _Layout(",", (sample[0].strip().strip('"'),), plain=True)  # one column: the caller refuses it
        candidates.append((1.0, len(names), 0, _SPACE, names, body))
    _, _, _, separator, names, body = max(candidates)
    if names and all(map(_is_number, names)):
        raise InputError(
            f"the first line of {path.name} must hold the names of the columns",
            got=f"numbers ({', '.join(names[:3])})",
            fix="Add a line with names on top",
        )
    if body and all(len(row) == len(names) + 1 for row in body):
        names = [*names, ""] if not any(row[-1].strip() for row in body) else ["", *names]
    spaced = re.search(rf"{re.escape(separator)}[ ]+\"", text) is not None
    return _Layout(separator, tuple(names), plain=separator != _SPACE and not spaced)


def _rows(lines: Iterable[str], separator: str) -> list[list[str]]:
    """Return the fields of all lines that are neither blank nor comments."""
    if separator == _SPACE:
        lines = (line.replace("\t", " ").strip() + "\n" for line in lines)
    rows = csv.reader(lines, delimiter=separator, skipinitialspace=separator != "\t")
    full = [row for row in rows if len(row) > 1 or (row and row[0].strip())]
    # A comment with as many fields as there are names could be a row.
    return [row for row in full if not row[0].startswith("#") or len(row) == len(full[0])] or [[]]


def _fields(line: str, separator: str) -> list[str]:
    return [field.strip() for field in _rows([line], separator)[0]]


def _is_number(field: str) -> bool:
    return _NUMBER.fullmatch(field.strip()) is not None


def _by_rows(path: Path, text: str, layout: _Layout) -> list[Any]:
    """Read with Python's reader, which skips spaces between fields."""
    import pyarrow

    try:
        rows = _rows(io.StringIO(text), layout.separator)[1:]
    except csv.Error as error:
        raise _uneven(path, str(error), layout.separator) from error
    width = len(layout.names)
    for number, row in enumerate(rows, start=2):
        if len(row) != width:
            raise _uneven(path, f"Row #{number}: Expected {width} columns, got {len(row)}", layout.separator)
    return [pyarrow.array(column, type=pyarrow.large_string()) for column in zip(*rows, strict=True)]


def _by_pyarrow(path: Path, text: str, layout: _Layout) -> list[Any]:
    import pyarrow
    import pyarrow.csv

    content = text.encode("utf-8")
    keys = [str(place) for place in range(len(layout.names))]
    wrong: list[str] = []
    skipped: list[str] = []

    def skip_comments(row: Any) -> str:
        if row.text.lstrip().startswith("#"):
            return "skip"
        if row.number is None or row.number > 1:
            where = "" if row.number is None else f"Row #{row.number}: "
            wrong.append(f"{where}Expected {row.expected_columns} columns, got {row.actual_columns}")
            return "error"
        skipped.append(row.text)  # the names, where the rows have a field more
        return "skip"

    def parse() -> Any:
        return pyarrow.csv.read_csv(
            pyarrow.BufferReader(content),
            read_options=pyarrow.csv.ReadOptions(
                # Without threads, because only then rows have numbers. One block, because fields with line breaks may
                # lie across the blocks' borders.
                use_threads=False,
                column_names=keys,
                block_size=min(2**31 - 1, len(content) + 1024),
            ),
            parse_options=pyarrow.csv.ParseOptions(
                delimiter=layout.separator, newlines_in_values=True, invalid_row_handler=skip_comments
            ),
            convert_options=pyarrow.csv.ConvertOptions(
                column_types=dict.fromkeys(keys, pyarrow.large_string()), null_values=[], strings_can_be_null=False
            ),
        )

    try:
        table = parse()
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise _uneven(path, wrong[0] if wrong else str(error).partition("\n")[0], layout.separator) from error
    rows = table if skipped else table.slice(1)
    return [rows.column(key) for key in keys]


def _uneven(path: Path, got: str, separator: str) -> InputError:
    return InputError(
        f"{path} must be a table with as many fields in every row as there are names",
        got=got,
        fix=f"Check the file; its separator seems to be {separator!r}",
    )


def _no_rows(path: Path) -> InputError:
    return InputError(f"{path.name} must have rows", got="0 rows below the column names", fix="Check the file")
