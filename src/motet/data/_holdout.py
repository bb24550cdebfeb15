"""Hold out rows, stratified by class."""

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from motet.data._dataset import Split
from motet.errors import InputError


def hold_out(labels_N: Int64[Tensor, "rows"], held: int, *, seed: int) -> tuple[Tensor, Tensor]:
    """Return the indices, ascending, of the rows that stay and of those that are held out, stratified by label.

    The rows are shuffled, sorted by label, and every (N / held)-th of them is held out. So each class is held out in
    its proportion to within one row, exactly `held` rows are held out, and classes with a single row need no special
    case. The shuffle uses `numpy.random.RandomState`, whose stream NumPy has frozen, so that published splits do not
    change.

    Args:
        labels_N: class of each row, on the CPU.
        held: the number of rows to hold out, from 0 to N.
        seed: the seed of the shuffle.
    """
    labels = labels_N.numpy()
    shuffled = np.random.RandomState(seed).permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    out = np.zeros(len(labels), dtype=bool)
    # The middle of each of `held` equal intervals, in integers to be exact at any size.
    out[by_class[(2 * np.arange(held) + 1) * len(labels) // (2 * max(held, 1))]] = True
    return torch.from_numpy(np.flatnonzero(~out)), torch.from_numpy(np.flatnonzero(out))


def split_rows(
    labels_N: Int64[Tensor, "rows"], *, test: float, validation: float, seed: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return the row indices of the train, validation and test splits, stratified by label.

    Args:
        labels_N: class of each row; equal labels for a regression.
        test: the fraction of test rows; at least one row.
        validation: the fraction of validation rows; at least one row.
        seed: the seed of the shuffle.

    Raises:
        InputError: for fewer than 3 rows.
    """
    rows = len(labels_N)
    if rows < 3:
        raise InputError(
            "splitting into train, validation and test needs at least 3 rows",
            got=f"{rows}",
            fix="Provide more data",
        )
    rest, out = hold_out(labels_N, max(1, round(test * rows)), seed=seed)
    kept, held = hold_out(labels_N[rest], min(len(rest) - 1, max(1, round(validation * rows))), seed=seed)
    return rest[kept], rest[held], out


def take_rows(split: Split, rows_K: Int64[Tensor, "taken"]) -> Split:
    """Return these rows of the split."""
    return Split(inputs=split.inputs.index_select(0, rows_K), targets=split.targets.index_select(0, rows_K))
