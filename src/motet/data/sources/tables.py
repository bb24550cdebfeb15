"""The user's tables: CSV and Parquet files with a target column."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from motet.data._dataset import Dataset, Split
from motet.data._fingerprint import of_file
from motet.data._holdout import split_rows
from motet.data._options import TABLE_OPTIONS, DataOptions
from motet.data._spec import DataSpec
from motet.data.formats.table_file import dropped, read_table
from motet.data.sources.table_features import Features, single, standardisation
from motet.errors import InputError, nearest

_VALIDATION, _TEST = 0.1, 0.2
_FEWEST = 3
MOST_CLASSES = 20
"""A target of whole numbers with at most these different ones is taken for classes."""


def table(path: Path, options: DataOptions | None = None) -> Dataset:
    """A data set of the rows of a table, in a fixed split of 70/10/20 percent.

    **The task** is classification if the target holds text, booleans or at most 20 different whole numbers, and
    regression otherwise; ``options.task`` overrides that. Counts (``task="counts"``) must be asked for, since a column
    of whole numbers may hold years or prices as well.

    **Features**: numbers are standardised, and words become one feature for each category. Missing numbers become the
    mean, with another feature that is 1 where they are missing. All of this is fitted on the training rows. Columns
    that are constant in the training rows are left out, and words that do not occur there count as no category.

    **Targets** of a regression are standardised by the training rows' mean and standard deviation. `DataSpec` keeps
    both, and scores are reported in the target's own unit. Counts must be whole numbers from 0 and are not changed.
    Rows without a target are left out. In a classification the split is stratified.

    Args:
        path: a .csv, .tsv or .parquet file.
        options: target, task, drop, validation_share, split_seed.

    Raises:
        InputError: for a file that `motet.data.formats.table_file.read_table` refuses, a target that is not a column,
            never varies or has a class without training rows, a task that does not suit the target, and columns of
            words with too many different ones to be categories.
    """
    options = options or DataOptions()
    options.check_only(TABLE_OPTIONS, f"the table {path.name}")
    notes: list[str] = []
    target, column, columns = _read(path, options, notes)
    task = options.task or ("classification" if is_classes(column) else "regression")
    names, labels = _classes(target, column) if task == "classification" else ((), None)
    share = _VALIDATION if options.validation_share is None else options.validation_share
    rows = _split(len(column), labels, share=share, seed=options.split_seed)
    train = rows["train"].numpy()
    features = Features.fit({name: values[train] for name, values in columns.items()})
    if features.constant:
        notes.append(f"left out, since constant in the training rows: {', '.join(features.constant)}")
    targets, mean, std = (labels, 0.0, 1.0) if labels is not None else _numbers(target, column, task, train)
    splits = {name: _taken(taken, columns, features, targets) for name, taken in rows.items()}
    if labels is not None:
        _check_seen(splits["train"].targets, names)
    dataset = Dataset(
        spec=DataSpec(
            name=path.stem,
            input_shape=(len(features.names),),
            outputs=len(names) or 1,
            task=task,
            class_names=names,
            feature_names=features.names,
            target_mean=mean,
            target_std=std,
            split=f"{_TEST:.0%} test and {share:.0%} validation rows, seed {options.split_seed}",
        ),
        train=splits["train"],
        validation=splits["validation"],
        test=splits["test"],
        notes=tuple(notes),
        fingerprint=of_file(path),
    )
    dataset.check()
    return dataset


def _read(path: Path, options: DataOptions, notes: list[str]) -> tuple[str, Any, dict[str, Any]]:
    """The target's name, its column and the other columns, of the rows that have a target."""
    columns = read_table(path, drop=options.drop)
    target = _target(columns, options, path)
    columns = _kept(columns, options, notes)
    column = columns.pop(target)
    known = np.array([value is not None for value in column]) if column.dtype == object else ~np.isnan(column)
    if not known.all():
        notes.append(f"{int((~known).sum()):,} of {len(known):,} rows left out that have no {target}")
        column = column[known]
        columns = {name: values[known] for name, values in columns.items()}
    if len(column) < _FEWEST:
        raise InputError(
            f"splitting {path.name} into train, validation and test needs at least {_FEWEST} rows",
            got=f"{len(column)} with a {target}",
            fix="Bring more data",
        )
    return target, column, columns


def _split(number: int, labels: Tensor | None, *, share: float, seed: int) -> dict[str, Tensor]:
    """The row numbers of each split, stratified if there are labels."""
    groups = torch.zeros(number, dtype=torch.int64) if labels is None else labels
    taken = split_rows(groups, test=_TEST, validation=share, seed=seed)
    return dict(zip(("train", "validation", "test"), taken, strict=True))


def _taken(rows_K: Tensor, columns: dict[str, Any], features: Features, targets: Tensor) -> Split:
    rows = rows_K.numpy()
    inputs = features.encode({name: values[rows] for name, values in columns.items()})
    return Split(inputs=inputs, targets=targets[rows_K])


def is_classes(column: Any) -> bool:
    """Whether a target without missing values is taken for classes."""
    if column.dtype == object:
        return True
    different = np.unique(column)
    return len(different) <= MOST_CLASSES and bool((different == np.round(different)).all())


def _target(columns: dict[str, Any], options: DataOptions, path: Path) -> str:
    if options.target is None:
        raise InputError(
            f"the column of {path.name} that is to be predicted must be named",
            got="no --target",
            fix=f"Pass --target with one of {_some(columns)}",
        )
    if options.target not in columns:
        raise InputError(
            f"the target must be a column of {path.name}",
            got=repr(options.target),
            fix=nearest(options.target, columns, listed=30),
        )
    return options.target


def _kept(columns: dict[str, Any], options: DataOptions, notes: list[str]) -> dict[str, Any]:
    """The columns that are neither dropped nor without a name, at least one beside the target."""
    drop = dropped(options.drop, columns)
    for name in drop:
        if name not in columns:
            raise InputError("--drop must name a column", got=repr(name), fix=nearest(name, columns, listed=30))
        if name == options.target:
            raise InputError("the target must stay", got=f"--drop {name}", fix="Leave it out of --drop")
    if "" in columns and options.target != "":
        # The row numbers that pandas writes in front of the rows.
        notes.append("left out: a column without a name")
    kept = {name: values for name, values in columns.items() if name not in drop and name}
    if len(kept) < 2:
        raise InputError(
            "at least one column must be left to predict the target from",
            got="none" + (f" but what is dropped ({', '.join(drop)})" if drop else " with a name"),
            fix="Drop fewer columns, or bring a table with features",
        )
    return kept


def _classes(target: str, column: Any) -> tuple[tuple[str, ...], Tensor]:
    """The names of the classes, sorted as text or as numbers, and the label of each row."""
    different, labels = np.unique(column.astype(str) if column.dtype == object else column, return_inverse=True)
    if len(different) < 2:
        raise InputError(
            f"the target {target!r} must have at least 2 classes",
            got=f"{different[0]} in every row",
            fix="Choose another column with --target",
        )
    if column.dtype != object and len(different) > MOST_CLASSES and (different != np.round(different)).any():
        raise InputError(
            f"the target {target!r} must hold classes for a classification",
            got=f"{len(different)} different numbers with fractions",
            fix="Pass --task regression",
        )
    if 2 * len(different) > len(column):
        raise InputError(
            f"the classes of the target {target!r} must have rows to learn them from",
            got=f"{len(different)} classes in {len(column)} rows",
            fix="Choose another column with --target, or pass --task regression for numbers",
        )
    names = tuple(str(name) if column.dtype == object else f"{name:.15g}" for name in different)
    return names, torch.from_numpy(labels.reshape(-1).astype(np.int64))


def _numbers(target: str, column: Any, task: str, train: Any) -> tuple[Tensor, float, float]:
    """The targets (rows, 1) of counts or a regression, and the mean and standard deviation they are scaled by."""
    if task == "counts":
        _check_counts(target, column)
        mean, std = 0.0, 1.0
    else:
        mean, std = _scale(target, column, train)
    return torch.from_numpy(single(target, (column - mean) / std)).unsqueeze(1), mean, std


def _scale(target: str, column: Any, train: Any) -> tuple[float, float]:
    if column.dtype == object:
        raise InputError(
            f"the target {target!r} must hold numbers for a regression",
            got=f"text, such as {column[0]!r}",
            fix="Pass --task classification",
        )
    mean, std = standardisation(column[train])
    if std == 0.0:
        raise InputError(
            f"the target {target!r} must vary in the training rows",
            got=f"{mean:g} in every one",
            fix="Choose another column with --target",
        )
    return mean, std


def _check_counts(target: str, column: Any) -> None:
    fix = "Pass --task regression for numbers, or --task classification for text"
    if column.dtype == object:
        raise InputError(f"the target {target!r} must hold counts", got=f"text, such as {column[0]!r}", fix=fix)
    bad = column[(column < 0) | (column != np.round(column)) | ~np.isfinite(column)]
    if len(bad):
        raise InputError(
            f"the target {target!r} must hold counts, whole numbers from 0",
            got=f"{bad[0]:g} and {len(bad) - 1:,} others like it" if len(bad) > 1 else f"{bad[0]:g}",
            fix=fix,
        )
    if not column.any():
        raise InputError(
            f"the target {target!r} must vary", got="0 in every row", fix="Choose another column with --target"
        )


def _check_seen(labels: Tensor, names: tuple[str, ...]) -> None:
    seen = torch.bincount(labels, minlength=len(names))
    if not bool((seen > 0).all()):
        lacking = [names[index] for index in (seen == 0).nonzero().flatten().tolist()]
        raise InputError(
            "every class must have a row to train on",
            got=f"none of {', '.join(lacking[:3])} among the {len(labels)} rows of the train split",
            fix="Bring more rows of it, or remove its rows",
        )


def _some(columns: dict[str, Any], most: int = 12) -> str:
    return ", ".join(list(columns)[:most]) + (", ..." if len(columns) > most else "")
