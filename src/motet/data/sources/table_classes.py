"""The classes of a table's target: their names, and which rows are held out of training."""

import re
from typing import Any

import numpy as np
import torch
from torch import Tensor

from motet.data._holdout import split_rows
from motet.errors import InputError

MOST_CLASSES = 20
"""A target of integers with at most this many different values is treated as classes."""

_CODE = re.compile(r"0[0-9]+")


def is_classes(column: Any, texts: Any = None) -> bool:
    """Whether a target without missing values is treated as classes.

    Text is, as are at most 20 different integers, and codes: integers written with zeros in front.

    Args:
        column: numbers, or objects (str).
        texts: the column as text, if the file contains text.
    """
    if column.dtype == object:
        return True
    different = np.unique(column)
    if not bool((different == np.round(different)).all()):
        return False
    return len(different) <= MOST_CLASSES or (texts is not None and any(map(_CODE.fullmatch, set(texts))))


def classes(target: str, column: Any, texts: Any = None) -> tuple[tuple[str, ...], Tensor]:
    """Return the names of the classes, and the label of each row, int64.

    Names are text: two classes are the same only if they are written the same. They are sorted as numbers if all are
    numbers, otherwise as text. Integers written as 1.0 are called 1.

    Args:
        target: the column's name, for errors.
        column: numbers, or objects (str), without missing values.
        texts: the column as text, if the file contains text.

    Raises:
        InputError: for one class only, for numbers with fractions, and if most classes have a single row.
    """
    numeric = column.dtype != object
    written = texts if numeric and texts is not None and not _only_numbers(texts) else column
    different = np.unique(written.astype(str) if written.dtype == object else column)
    if len(different) < 2:
        raise InputError(
            f"the target {target!r} must have at least 2 classes",
            got=f"{different[0]} in every row",
            fix="Choose another column with --target",
        )
    if numeric and len(different) > MOST_CLASSES and (column != np.round(column)).any():
        raise InputError(
            f"the target {target!r} must hold classes for a classification",
            got=f"{len(different)} different numbers with fractions",
            fix="Pass --task regression",
        )
    if 2 * len(different) > len(column):
        raise InputError(
            f"the classes of the target {target!r} must have at least 2 rows on average",
            got=f"{len(different)} classes in {len(column)} rows",
            fix="Choose another column with --target"
            + (", or pass --task regression (numbers) or --task counts" if numeric else ""),
        )
    if written.dtype != object:
        names = tuple(f"{name:.15g}" for name in different)
        return names, torch.from_numpy(np.searchsorted(different, column).astype(np.int64))
    numbers = dict(zip(written, column, strict=True)) if numeric else {}
    order = sorted(set(written), key=lambda name: (numbers.get(name, 0.0), name))
    place = {name: label for label, name in enumerate(order)}
    return tuple(order), torch.tensor([place[name] for name in written], dtype=torch.int64)


def _only_numbers(texts: Any) -> bool:
    """Whether each number is written in one way only, without zeros in front."""
    different = set(texts)
    values = {float(text) for text in different} if not any("," in text for text in different) else set()
    plain = all(not _CODE.match(text.lstrip("+-")) for text in different)
    return len(values) == len(different) and plain


def split_classes(
    labels: Tensor, names: tuple[str, ...], *, test: float, validation: float, seed: int, notes: list[str]
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the row indices of the train, validation and test splits, stratified, with every class in the first.

    A class with a single row is not split: its row is trained on, with a note. If all rows of another rare class are
    held out, its first one is trained on instead.

    Args:
        labels: the class of each row.
        names: the classes.
        test: the fraction of test rows.
        validation: the fraction of validation rows.
        seed: the seed of the shuffle.
        notes: gets a note on classes with a single row.
    """
    counts = torch.bincount(labels, minlength=len(names))
    single = counts[labels] == 1
    if single.any():
        rare = [names[index] for index in (counts == 1).nonzero().flatten().tolist()]
        shown = ", ".join(rare[:5]) + (", ..." if len(rare) > 5 else "")
        notes.append(f"only trained on, because the class has a single row: {shown}")
    rest = (~single).nonzero().flatten()
    if len(rest) < 3:
        return split_rows(labels, test=test, validation=validation, seed=seed)
    train, held, out = (rest[taken] for taken in split_rows(labels[rest], test=test, validation=validation, seed=seed))
    train = torch.cat([train, single.nonzero().flatten()])
    seen = torch.bincount(labels[train], minlength=len(names)) > 0
    for label in (~seen).nonzero().flatten().tolist():
        row = int((labels == label).nonzero().flatten()[0])
        train, held, out = torch.cat([train, torch.tensor([row])]), held[held != row], out[out != row]
    return train.sort().values, held, out
