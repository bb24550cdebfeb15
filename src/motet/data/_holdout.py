"""Holding rows out, class by class."""

import numpy as np
import torch
from jaxtyping import Int64
from torch import Tensor

from motet.data._dataset import Split


def hold_out(labels_N: Int64[Tensor, "rows"], held: int, *, seed: int) -> tuple[Tensor, Tensor]:
    """Row numbers, ascending, that stay and that are held out, stratified by label.

    The rows are shuffled, sorted by label, and every (N / held)-th of them is taken. So each class is held out in
    its own proportion to within one row, exactly `held` rows are, and classes of a single row need no special case.
    The shuffle is `numpy.random.RandomState`'s, whose stream NumPy has frozen: a published split stays as it is.

    Args:
        labels_N: class of each row, on the CPU.
        held: how many rows to hold out, from 0 to N.
        seed: of the shuffle.
    """
    labels = labels_N.numpy()
    shuffled = np.random.RandomState(seed).permutation(len(labels))
    by_class = shuffled[np.argsort(labels[shuffled], kind="stable")]
    out = np.zeros(len(labels), dtype=bool)
    # The middle of each of `held` equal stretches, in whole numbers to be exact at any size.
    out[by_class[(2 * np.arange(held) + 1) * len(labels) // (2 * max(held, 1))]] = True
    return torch.from_numpy(np.flatnonzero(~out)), torch.from_numpy(np.flatnonzero(out))


def take(split: Split, rows_K: Int64[Tensor, "taken"]) -> Split:
    """Those rows of the split."""
    return Split(inputs=split.inputs.index_select(0, rows_K), targets=split.targets.index_select(0, rows_K))
