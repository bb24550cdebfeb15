"""Batches by index, from tensors in memory: no workers, no copies between host and device.

Images in files are decoded by threads, a few batches ahead.

The order of the rows depends only on ``(seed, epoch)``, so that a resumed run sees the batches of an uninterrupted one.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64, Shaped
from torch import Tensor

from motet._internal.nested import Inputs
from motet.data._dataset import Split
from motet.data.formats.image_files import ImageFiles
from motet.errors import InputError


def steps_per_epoch(split: Split, batch_size: int) -> int:
    """Return the number of whole batches in the split.

    Raises:
        InputError: if `batch_size` is below 1 or above the number of rows.
    """
    _check_batch_size(batch_size)
    if batch_size > len(split):
        raise InputError(
            f"batch_size must be at most the {len(split)} rows of the split",
            got=f"batch_size={batch_size}",
            fix=f"Pass batch_size={len(split)} or less",
        )
    return len(split) // batch_size


def batches(
    split: Split, *, batch_size: int, seed: int, epoch: int, skip: int = 0, resized_crop: float = 0.0
) -> Iterator[tuple[Any, Shaped[Tensor, "batch ..."]]]:
    """Yield one epoch of shuffled training batches, on the split's device.

    No row occurs twice. The last, partial batch is dropped; because each epoch is shuffled again, all rows are used
    over several epochs. Inputs are not normalised: use `Dataset.prepare`.

    Args:
        split: the rows.
        batch_size: rows per batch.
        seed: the seed of the run, from 0 to 2^64 - 1.
        epoch: the epoch, from 0. The order is a function of ``(seed, epoch)`` and the number of rows.
        skip: the number of batches of this epoch that a resumed run has already seen.
        resized_crop: for images in files: the smallest fraction of the area of a random part; 0 uses the middle.

    Yields:
        Inputs ``(batch_size, ...)`` and their targets ``(batch_size, ...)``.

    Raises:
        InputError: at the call, if `batch_size` is not from 1 to the number of rows, `skip` not from 0 to the number of
            batches, or `seed` or `epoch` not a 64-bit unsigned integer.
    """
    steps = steps_per_epoch(split, batch_size)
    if not 0 <= skip <= steps:
        raise InputError(
            f"skip must lie in 0..{steps}, the number of batches of an epoch",
            got=f"skip={skip}",
            fix="Resume with the data and the batch size of the original run",
        )
    for name, value in (("seed", seed), ("epoch", epoch)):
        if not 0 <= value < 2**64:
            raise InputError(f"{name} must lie in 0..2^64 - 1", got=f"{name}={value}", fix="Pass a smaller integer")
    order_N = _order(len(split), seed=seed, epoch=epoch)
    # Once per epoch, because a copy for each batch would synchronise with the device.
    seen_N = order_N[skip * batch_size : steps * batch_size]
    if isinstance(split.inputs, ImageFiles):
        targets = split.targets.index_select(0, seen_N.to(split.targets.device)).split(batch_size)
        return zip(
            split.inputs.cropped(seen_N, batch_size=batch_size, least_area=resized_crop, seed=seed, epoch=epoch),
            targets,
            strict=True,
        )
    return _pick(split.inputs, split.targets, seen_N.to(split.inputs.device), batch_size)


def in_order(split: Split, batch_size: int) -> Iterator[tuple[Any, Shaped[Tensor, "batch ..."]]]:
    """Yield every row once, in the stored order, for evaluation. The last batch may be smaller.

    Yields:
        Inputs and targets of up to `batch_size` rows: views of the split, not to be changed in place.

    Raises:
        InputError: at the call, if `batch_size` is below 1.
    """
    _check_batch_size(batch_size)
    return zip(split.inputs.split(batch_size), split.targets.split(batch_size), strict=True)


def _pick(
    inputs: Inputs, targets: Tensor, order_N: Int64[Tensor, "rows"], batch_size: int
) -> Iterator[tuple[Any, Tensor]]:
    for start in range(0, len(order_N), batch_size):
        index_B = order_N[start : start + batch_size]
        yield inputs.index_select(0, index_B), targets.index_select(0, index_B)


def _order(rows: int, *, seed: int, epoch: int) -> Int64[Tensor, "rows"]:
    """Return the epoch's permutation of the rows.

    Philox is a counter-based generator with a key of two 64-bit words, here ``(seed, epoch)``. Different pairs are
    different keys, so no two runs or epochs share a stream. torch's CPU generator does not guarantee that, because it
    keeps only the low 32 bits of its seed. The raw words, whose stream NumPy keeps across versions, are sorted, so that
    the order is the same everywhere.
    """
    generator = np.random.Philox(key=np.array([seed, epoch], dtype=np.uint64))
    return torch.from_numpy(np.argsort(generator.random_raw(rows), kind="stable").astype(np.int64, copy=False))


def _check_batch_size(batch_size: int) -> None:
    if batch_size < 1:
        raise InputError("batch_size must be at least 1", got=f"batch_size={batch_size}", fix="Pass 1 or more")
