"""Read what a table is needed for: its targets and the columns to predict them from."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np

from motet.data._options import DataOptions
from motet.data.formats.table_columns import Column, ReadColumn, Spelling
from motet.data.formats.table_file import TableFile, dropped
from motet.data.sources.table_targets import missing, target_columns
from motet.errors import InputError, nearest, together

_FEWEST = 3
_COUNTED = 5
"""The number of rows from which integers in a row are counted as row numbers."""
_NO_NAME = re.compile(r"Unnamed: [0-9]+(_level_[0-9]+)?|\.\.\.[0-9]+")
"""The names that pandas and R's readr give to columns without one."""
_NUMBERS_OF_ROWS = re.compile(
    r"(.*[_ .-])?(id|idx|index|rownames?|rownum(ber)?|uuid|guid)|(row|record|obs|observation|case|sample|serial|sl|s)"
    r"([_ .]*(no|nr|num|number|names?)\.?)?|no\.?|nr\.?|#",
    re.IGNORECASE,
)
_CAMEL_ID = re.compile(r".*[a-z0-9]I[Dd]")


@final
@dataclass(frozen=True, kw_only=True)
class TableReading:
    """The columns of a table, for the rows that have all targets.

    Attributes:
        targets: the targets by name.
        texts: the first target as text, if it contains numbers that may be classes and the file contains text.
        columns: the other columns by name.
        keep: the names of columns that must be used.
    """

    targets: dict[str, Column]
    texts: Column | None
    columns: dict[str, Column]
    keep: frozenset[str]


def read_columns(path: Path, options: DataOptions, notes: list[str]) -> TableReading:
    """Return the columns that a table's options select.

    Columns without a name and columns that only count the rows are left out with a note, unless ``options.keep`` names
    them. A column counts the rows if it contains 0, 1, 2, ... or 1, 2, 3, ... in the order of the file (or in the
    reverse order), or if it is called like row numbers (``id``, ``index``, ``row``, ...) and contains integers that
    are all different.

    Args:
        path: a CSV or Parquet file.
        options: target, task, drop, keep, category, missing and dates.
        notes: gets notes on what was left out and inferred.

    Raises:
        InputError: for a table that cannot be read, for options that name no column, and for columns that are neither
            numbers nor words; all such columns are in one message.
    """
    file = TableFile(path, Spelling(missing=options.missing, dates=options.dates), category=_split(options.category))
    notes.extend(file.notes)
    names = [name for name in file.names if name]
    faults: list[InputError] = []
    drop, keep, category = (_named(each, options, file.names, faults) for each in ("drop", "keep", "category"))
    try:
        targets = _targets(names, options, path)
    except InputError as fault:
        raise together([*faults, fault]) from None
    if clash := [name for name in drop if name in targets]:
        faults.append(
            InputError("the target must stay", got=f"--drop {', '.join(clash)}", fix="Leave it out of --drop")
        )
    if clash := [name for name in drop if name in (*keep, *category)]:
        faults.append(
            InputError("a column is either dropped or used", got=f"{', '.join(clash)} in both", fix="Leave one out")
        )
    if faults:
        raise together(faults)
    read = _read(file, drop, options, targets)
    _note_kinds(read, notes)
    found = {name: column.values for name, column in read.items()}
    # Texts tell classes apart that are equal as numbers; for words, they are the values.
    first = found[targets[0]]
    coded = first.dtype != object and (options.task == "classification" or not (first % 1 > 0).any())
    texts = file.texts(file.names.index(targets[0])) if coded else None
    picked = {name: found.pop(name) for name in targets}
    used = frozenset((*keep, *category))
    columns = _without_row_numbers(file, found, used, notes)
    if not columns:
        raise InputError(
            "at least one column must be left to predict the target from",
            got="none" + (f" except the dropped ones ({', '.join(drop)})" if drop else " with a name"),
            fix="Drop fewer columns, or provide a table with features",
        )
    known = ~np.any([missing(column) for column in picked.values()], axis=0)
    if not known.all():
        notes.append(f"{int((~known).sum()):,} of {len(known):,} rows left out that have no {' or no '.join(targets)}")
    if known.sum() < _FEWEST:
        raise InputError(
            f"splitting {path.name} into train, validation and test needs at least {_FEWEST} rows",
            got=f"{int(known.sum())} with a {' and a '.join(targets)}",
            fix="Provide more data",
        )
    return TableReading(
        targets={name: values[known] for name, values in picked.items()},
        texts=None if texts is None else texts[known],
        columns={name: values[known] for name, values in columns.items()},
        keep=used,
    )


def _split(items: Sequence[str]) -> set[str]:
    """Return the items, and the parts of those that are joined by commas."""
    return {*items, *(part.strip() for item in items for part in item.split(","))}


def _named(option: str, options: DataOptions, names: Collection[str], faults: list[InputError]) -> list[str]:
    given = dropped(getattr(options, option), names)
    faults += [
        InputError(f"--{option} must name a column", got=repr(name), fix=nearest(name, names, listed=30))
        for name in given
        if name not in names
    ]
    return given


def _targets(names: Sequence[str], options: DataOptions, path: Path) -> tuple[str, ...]:
    if options.target is None:
        raise InputError(
            f"the column of {path.name} to predict must be named",
            got="no --target",
            fix=f"Pass --target with one of {_some(names)}",
        )
    return target_columns(options.target, names, where=path.name)


def _read(
    file: TableFile, drop: Collection[str], options: DataOptions, targets: Collection[str]
) -> dict[str, ReadColumn]:
    """Return all columns with a name that are not dropped. What is wrong with any of them is one error."""
    read, faults = dict[str, ReadColumn](), list[InputError]()
    for place, name in enumerate(file.names):
        if not name or name in drop:
            continue
        try:
            texts = file.texts(place) if name in targets and options.task == "classification" else None
            read[name] = file.read(place) if texts is None else _classes_as_written(file, place, texts)
        except InputError as fault:
            faults.append(fault)
    if faults:
        raise together(faults)
    return read


def _classes_as_written(file: TableFile, place: int, texts: Column) -> ReadColumn:
    """Return a target that is declared to hold classes: numbers if they are all numbers, otherwise any text."""
    try:
        return file.read(place)
    except InputError:
        return ReadColumn(texts, "words")


def _note_kinds(read: dict[str, ReadColumn], notes: list[str]) -> None:
    for kind, said in (
        ("dates", "read as dates and times, in seconds"),
        ("decimal commas", "read with decimal commas"),
    ):
        if found := [name for name, column in read.items() if column.kind == kind]:
            notes.append(f"{said}: {', '.join(found)}")


def _without_row_numbers(
    file: TableFile, columns: dict[str, Column], keep: Collection[str], notes: list[str]
) -> dict[str, Column]:
    nameless = file.names.count("")
    if nameless:
        notes.append(f"left out: {'a column' if nameless == 1 else f'{nameless} columns'} without a name")
    unnamed = [name for name in columns if _NO_NAME.fullmatch(name) and name not in keep]
    counting = [
        name for name, values in columns.items() if name not in keep and name not in unnamed and _counts(name, values)
    ]
    left = {name: values for name, values in columns.items() if name not in unnamed and name not in counting}
    if not left and counting:
        notes.append(f"counts the rows, but there is no other column: {', '.join(counting)}")
        left, counting = {name: columns[name] for name in counting}, []
    if unnamed:
        notes.append(f"left out because it has no real name: {_listed(unnamed)}")
    if counting:
        notes.append(f"left out because it only counts or numbers the rows: {_listed(counting)}")
    return left


def _listed(names: Sequence[str]) -> str:
    return f"{', '.join(names)} (--keep uses it)" if len(names) == 1 else f"{', '.join(names)} (--keep uses them)"


def _counts(name: str, values: Column) -> bool:
    """Whether a column only counts the rows, see `read_columns`."""
    if values.dtype == object or len(values) < _COUNTED or np.isnan(values).any() or (values != np.round(values)).any():
        return False
    for ordered in (values, values[::-1]):
        if ordered[0] in (0.0, 1.0) and bool((np.diff(ordered) == 1.0).all()):
            return True
    called = _NUMBERS_OF_ROWS.fullmatch(name) or _CAMEL_ID.fullmatch(name)
    return called is not None and len(np.unique(values)) == len(values)


def _some(names: Sequence[str], most: int = 12) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")
