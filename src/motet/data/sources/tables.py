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
from motet.data.sources.table_targets import as_labels, missing, target_columns, task_of_several
from motet.errors import InputError, nearest

_VALIDATION, _TEST = 0.1, 0.2
_FEWEST = 3
MOST_CLASSES = 20
"""A target of integers with at most this many different values is treated as classes."""


def table(path: Path, options: DataOptions | None = None) -> Dataset:
    """Return a data set of the rows of a table, in a fixed split of 70/10/20 percent.

    **The task** is classification if the target contains text, booleans or at most 20 different integers, and
    regression otherwise; ``options.task`` overrides that. Counts (``task="counts"``) must be requested, because a
    column of integers may also contain years or prices.

    **Features**: numbers are standardised, and words become one feature for each category. Missing numbers become the
    mean, with another feature that is 1 for missing values. All statistics are computed on the training rows. Columns
    that are constant in the training rows are left out, and words that do not occur there count as no category.

    **Targets** of a regression are standardised by the training rows' mean and standard deviation. `DataSpec` keeps
    both, and predictions and scores are in the original unit. Counts must be integers of at least 0 and are not
    changed. Rows without a target are left out. In a classification the split is stratified.

    **Several targets**, separated by commas in ``options.target``, are all numbers (a regression, or counts), or all
    labels 0 and 1 (``"multilabel"``, under the Bernoulli likelihood).

    Args:
        path: a .csv, .tsv or .parquet file.
        options: target, task, drop, validation_share, split_seed.

    Raises:
        InputError: for a file that `motet.data.formats.table_file.read_table` refuses, a target that is not a column,
            is constant or has a class without training rows, a task that does not fit the target, and columns of words
            with too many different ones to be categories.
    """
    options = options or DataOptions()
    options.check_only(TABLE_OPTIONS, f"the table {path.name}")
    notes: list[str] = []
    predicted, columns = _read(path, options, notes)
    target, column = next(iter(predicted.items()))
    several = len(predicted) > 1 or options.task == "multilabel"
    if several:
        task = task_of_several(predicted, options.task, notes)
    else:
        task = options.task or ("classification" if is_classes(column) else "regression")
    names, labels = _classes(target, column) if task == "classification" else ((), None)
    share = _VALIDATION if options.validation_share is None else options.validation_share
    rows = _split(len(column), labels, share=share, seed=options.split_seed)
    train = rows["train"].numpy()
    features = Features.fit({name: values[train] for name, values in columns.items()})
    if features.constant:
        notes.append(f"left out because constant in the training rows: {', '.join(features.constant)}")
    scale: Any = (0.0, 1.0)
    if labels is not None:
        targets = labels
    elif several:
        targets, *scale = _several(predicted, task, train)
    else:
        targets, *scale = _numbers(target, column, task, train)
    splits = {name: _taken(taken, columns, features, targets) for name, taken in rows.items()}
    if labels is not None:
        _check_seen(splits["train"].targets, names)
    dataset = Dataset(
        spec=DataSpec(
            name=path.stem,
            input_shape=(len(features.names),),
            outputs=len(names) or len(predicted),
            task=task,
            class_names=tuple(predicted) if task == "multilabel" else names,
            feature_names=features.names,
            target_mean=scale[0],
            target_std=scale[1],
            target_names=tuple(predicted) if task in ("regression", "counts") else (),
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


def _read(path: Path, options: DataOptions, notes: list[str]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the columns of the targets and the other columns by name, for the rows that have all targets."""
    columns = read_table(path, drop=options.drop)
    names = _targets(columns, options, path)
    columns = _kept(columns, options, names, notes)
    targets = {name: columns.pop(name) for name in names}
    known = ~np.any([missing(column) for column in targets.values()], axis=0)
    if not known.all():
        notes.append(f"{int((~known).sum()):,} of {len(known):,} rows left out that have no {' or no '.join(names)}")
        targets = {name: values[known] for name, values in targets.items()}
        columns = {name: values[known] for name, values in columns.items()}
    if known.sum() < _FEWEST:
        raise InputError(
            f"splitting {path.name} into train, validation and test needs at least {_FEWEST} rows",
            got=f"{int(known.sum())} with a {' and a '.join(names)}",
            fix="Provide more data",
        )
    return targets, columns


def _split(number: int, labels: Tensor | None, *, share: float, seed: int) -> dict[str, Tensor]:
    """Return the row indices of each split, stratified if there are labels."""
    groups = torch.zeros(number, dtype=torch.int64) if labels is None else labels
    taken = split_rows(groups, test=_TEST, validation=share, seed=seed)
    return dict(zip(("train", "validation", "test"), taken, strict=True))


def _taken(rows_K: Tensor, columns: dict[str, Any], features: Features, targets: Tensor) -> Split:
    rows = rows_K.numpy()
    inputs = features.encode({name: values[rows] for name, values in columns.items()})
    return Split(inputs=inputs, targets=targets[rows_K])


def is_classes(column: Any) -> bool:
    """Whether a target without missing values is treated as classes."""
    if column.dtype == object:
        return True
    different = np.unique(column)
    return len(different) <= MOST_CLASSES and bool((different == np.round(different)).all())


def _targets(columns: dict[str, Any], options: DataOptions, path: Path) -> tuple[str, ...]:
    if options.target is None:
        raise InputError(
            f"the column of {path.name} to predict must be named",
            got="no --target",
            fix=f"Pass --target with one of {_some(columns)}",
        )
    return target_columns(options.target, columns, where=path.name)


def _kept(columns: dict[str, Any], options: DataOptions, targets: tuple[str, ...], notes: list[str]) -> dict[str, Any]:
    """Return the columns that are neither dropped nor without a name, at least one other than the targets."""
    drop = dropped(options.drop, columns)
    for name in drop:
        if name not in columns:
            raise InputError("--drop must name a column", got=repr(name), fix=nearest(name, columns, listed=30))
        if name in targets:
            raise InputError("the target must stay", got=f"--drop {name}", fix="Leave it out of --drop")
    if "" in columns and "" not in targets:
        # The row numbers that pandas writes before the rows.
        notes.append("left out: a column without a name")
    kept = {name: values for name, values in columns.items() if name not in drop and name}
    if len(kept) <= len(targets):
        raise InputError(
            "at least one column must be left to predict the target from",
            got="none" + (f" except the dropped ones ({', '.join(drop)})" if drop else " with a name"),
            fix="Drop fewer columns, or provide a table with features",
        )
    return kept


def _classes(target: str, column: Any) -> tuple[tuple[str, ...], Tensor]:
    """Return the names of the classes, sorted as text or as numbers, and the label of each row."""
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
            f"the classes of the target {target!r} must have rows for training",
            got=f"{len(different)} classes in {len(column)} rows",
            fix="Choose another column with --target, or pass --task regression for numbers",
        )
    names = tuple(str(name) if column.dtype == object else f"{name:.15g}" for name in different)
    return names, torch.from_numpy(labels.reshape(-1).astype(np.int64))


def _numbers(target: str, column: Any, task: str, train: Any) -> tuple[Tensor, float, float]:
    """Return the targets (rows, 1) of counts or a regression, and the mean and standard deviation that scale them."""
    if task == "counts":
        _check_counts(target, column)
        mean, std = 0.0, 1.0
    else:
        mean, std = _scale(target, column, train)
    return torch.from_numpy(single(target, (column - mean) / std)).unsqueeze(1), mean, std


def _several(columns: dict[str, Any], task: str, train: Any) -> tuple[Tensor, Any, Any]:
    """Return the targets (rows, K), and the mean and the standard deviation of each; 0 and 1 unless it is a
    regression.
    """
    if task == "multilabel":
        labels = [single(name, as_labels(name, column)) for name, column in columns.items()]
        return torch.from_numpy(np.stack(labels, axis=1)), 0.0, 1.0
    each, means, stds = zip(*(_numbers(name, column, task, train) for name, column in columns.items()), strict=True)
    return torch.cat(each, dim=1), *((means, stds) if task == "regression" else (0.0, 1.0))


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
            f"the target {target!r} must hold counts, integers of at least 0",
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
            fix="Add rows of this class, or remove its rows",
        )


def _some(columns: dict[str, Any], most: int = 12) -> str:
    return ", ".join(list(columns)[:most]) + (", ..." if len(columns) > most else "")
