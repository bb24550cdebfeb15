"""The targets of a table: which columns they are, and of which kind several of them are."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from motet.data._spec import Task
from motet.errors import InputError, nearest

_LABELS, _NUMBERS, _TEXT = "labels 0 and 1", "numbers", "text"


def target_columns(asked: str, columns: Collection[str], *, where: str) -> tuple[str, ...]:
    """Return the columns that ``--target`` names: one, or several separated by commas.

    A column whose own name contains commas comes first.

    Args:
        asked: the option's value.
        columns: the names of the table's columns.
        where: the table's name, for errors.

    Raises:
        InputError: for a name that is not a column, and for a column that is named twice.
    """
    if asked in columns:
        return (asked,)
    parts, found = asked.split(","), list[str]()
    while parts:
        for size in range(len(parts), 0, -1):
            name = ",".join(parts[:size]).strip()
            if name in columns:
                break
        else:
            unknown = parts[0].strip() if "," in asked else asked
            raise InputError(
                f"the target must be a column of {where}",
                got=repr(unknown),
                fix=nearest(unknown, columns, listed=30),
            )
        found.append(name)
        parts = parts[size:]
    if len(set(found)) < len(found):
        raise InputError("targets must be different columns", got=f"--target {asked}", fix="Name each column once")
    return tuple(found)


def task_of_several(targets: Mapping[str, Any], asked: Task | None, notes: list[str]) -> Task:
    """Return the task of several targets: multilabel for labels 0 and 1, regression for numbers, or the one asked for.

    Args:
        targets: the columns by name, without missing values.
        asked: the task that was asked for; None to infer it.
        notes: gets a note if numbers might be meant as something else.

    Raises:
        InputError: for targets of different kinds, with the kind of each, and for targets that do not fit the task.
    """
    kinds = {name: _kind(column) for name, column in targets.items()}
    shown = "; ".join(f"{name}: {kind}" for name, kind in kinds.items())
    different = set(kinds.values())
    if asked == "classification":
        raise InputError(
            "a classification has one target",
            got=f"{len(targets)} targets ({shown})",
            fix="Name one of them, or pass --task multilabel for labels 0 and 1",
        )
    if asked == "multilabel" and different != {_LABELS}:
        raise InputError("a multilabel target must hold labels 0 and 1", got=shown, fix=_others(kinds, _LABELS))
    if asked is not None and _TEXT in different:
        raise InputError("targets must hold numbers", got=shown, fix=_others(kinds, _LABELS, _NUMBERS))
    if asked is not None:
        return asked
    if different == {_LABELS}:
        return "multilabel"
    if different == {_NUMBERS}:
        if few := [name for name, column in targets.items() if _looks_coded(column)]:
            notes.append(f"predicted as numbers: {', '.join(few)} (--task counts predicts counts)")
        return "regression"
    fix = "Predict them in separate runs"
    if _TEXT not in different:
        fix += ", or pass --task regression to predict all as numbers"
    raise InputError("several targets must be of one kind: numbers, or labels 0 and 1", got=shown, fix=fix)


def as_labels(name: str, column: Any) -> Any:
    """Return binary labels as numbers 0 and 1.

    Args:
        name: the name of the column.
        column: numbers 0 and 1, or the words true and false.

    Raises:
        InputError: if all are the same.
    """
    labels = (column == "true").astype(np.float64) if column.dtype == object else column
    if labels.min() == labels.max():
        raise InputError(
            f"the target {name!r} must vary",
            got=f"{labels[0]:g} in every row",
            fix="Leave it out of --target",
        )
    return labels


def missing(column: Any) -> Any:
    """Return for each row whether its value is missing."""
    return np.array([value is None for value in column]) if column.dtype == object else np.isnan(column)


def _kind(column: Any) -> str:
    if column.dtype == object:
        return _LABELS if {value.lower() for value in column} <= {"true", "false"} else _TEXT
    return _LABELS if np.isin(column, (0.0, 1.0)).all() else _NUMBERS


def _looks_coded(column: Any, most: int = 20) -> bool:
    """Whether numbers might be codes or counts: few different integers."""
    different = np.unique(column)
    return len(different) <= most and bool((different == np.round(different)).all())


def _others(kinds: Mapping[str, str], *allowed: str) -> str:
    others = [name for name, kind in kinds.items() if kind not in allowed]
    if len(others) == len(kinds):
        return "Leave --task out, or choose other targets"
    return f"Leave out of --target: {', '.join(others)}"
