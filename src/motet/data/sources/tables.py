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
from motet.data._spec import DataSpec, Task
from motet.data.formats.table_file import dropped, table_stem
from motet.data.sources.table_classes import classes, is_classes, split_classes
from motet.data.sources.table_features import Features, single, standardisation
from motet.data.sources.table_reading import read_columns
from motet.data.sources.table_targets import as_labels, task_of_several
from motet.errors import InputError

_VALIDATION, _TEST = 0.1, 0.2
_LARGE_COUNT = 1e8
"""Integers above are not suggested as counts; dates in seconds are such."""


def table(path: Path, options: DataOptions | None = None) -> Dataset:
    """Return a data set of the rows of a table, in a fixed split of 70/10/20 percent.

    **The task** is classification if the target contains text, booleans or at most 20 different integers, and
    regression otherwise; ``options.task`` overrides that. Counts (``task="counts"``) must be requested, because a
    column of integers may also contain years or prices.

    **Features**: numbers and dates are standardised, and words become one feature for each category. Missing numbers
    become the mean, with another feature that is 1 for missing values. All statistics are computed on the training
    rows. Left out with a note, unless ``options.keep`` names them: columns without a name, columns that only count the
    rows, columns that are constant in the training rows, and columns of words that are nearly all different there (see
    `motet.data.sources.table_features.most_categories`). Words that do not occur in the training rows are no category.

    **Targets** of a regression are standardised by the training rows' mean and standard deviation. `DataSpec` keeps
    both, and predictions and scores are in the original unit. Counts must be integers of at least 0 and are not
    changed. Rows without a target are left out. In a classification the split is stratified; a class with a single row
    is only trained on. A class's name is text: 01 and 1 are different.

    **Several targets**, separated by commas in ``options.target``, are all numbers (a regression, or counts), or all
    labels 0 and 1 (``"multilabel"``, under the Bernoulli likelihood).

    Args:
        path: a .csv, .tsv, .txt or .parquet file, also compressed (.csv.gz).
        options: target, task, drop, keep, category, missing, dates, validation_share, split_seed.

    Raises:
        InputError: for a table that `motet.data.sources.table_reading.read_columns` refuses, a target that is not a
            column or is constant, and a task that does not fit the target.
    """
    options = options or DataOptions()
    options.check_only(TABLE_OPTIONS, f"the table {path.name}")
    notes: list[str] = []
    reading = read_columns(path, options, notes)
    predicted, columns = reading.targets, reading.columns
    target, column = next(iter(predicted.items()))
    several = len(predicted) > 1 or options.task == "multilabel"
    if several:
        task = task_of_several(predicted, options.task, notes)
    else:
        task = options.task or _task_of(target, column, reading.texts, options, notes)
    names, labels = classes(target, column, reading.texts) if task == "classification" else ((), None)
    share = _VALIDATION if options.validation_share is None else options.validation_share
    rows = _split(len(column), labels, names, share=share, seed=options.split_seed, notes=notes)
    train = rows["train"].numpy()
    features = Features.fit({name: values[train] for name, values in columns.items()}, keep=reading.keep)
    if features.constant:
        notes.append(f"left out because constant in the training rows: {', '.join(features.constant)}")
    if features.different:
        notes.append(f"left out because their words are nearly all different: {', '.join(features.different)}")
    scale: Any = (0.0, 1.0)
    if labels is not None:
        targets = labels
    elif several:
        targets, *scale = _several(predicted, task, train)
    else:
        targets, *scale = _numbers(target, column, task, train)
    splits = {name: _taken(taken, columns, features, targets) for name, taken in rows.items()}
    dataset = Dataset(
        spec=DataSpec(
            name=table_stem(path),
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


def _task_of(target: str, column: Any, texts: Any, options: DataOptions, notes: list[str]) -> Task:
    """Return the task of one target, with a note if its numbers could also mean another one."""
    declared = target in dropped(options.category, (target,))
    if declared or is_classes(column, texts):
        if column.dtype != object and len(np.unique(column)) > 2:
            notes.append(f"{target} is predicted as classes (--task regression or --task counts predicts numbers)")
        return "classification"
    if bool(((column >= 0) & (column == np.round(column))).all()) and column.max() < _LARGE_COUNT:
        notes.append(f"{target} is predicted as a number (--task counts predicts counts)")
    return "regression"


def _split(
    number: int, labels: Tensor | None, names: tuple[str, ...], *, share: float, seed: int, notes: list[str]
) -> dict[str, Tensor]:
    """Return the row indices of each split, stratified if there are labels."""
    if labels is None:
        taken = split_rows(torch.zeros(number, dtype=torch.int64), test=_TEST, validation=share, seed=seed)
    else:
        taken = split_classes(labels, names, test=_TEST, validation=share, seed=seed, notes=notes)
    return dict(zip(("train", "validation", "test"), taken, strict=True))


def _taken(rows_K: Tensor, columns: dict[str, Any], features: Features, targets: Tensor) -> Split:
    rows = rows_K.numpy()
    inputs = features.encode({name: values[rows] for name, values in columns.items()})
    return Split(inputs=inputs, targets=targets[rows_K])


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
