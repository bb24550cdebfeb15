"""Batches by index, straight from tensors in memory: no workers, no copies between host and device.

Images that stay in their files are decoded by threads, a few batches ahead.

The order of the rows depends on nothing but ``(seed, epoch)``, so that a resumed run sees the batches that an
uninterrupted one would have seen.
"""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Int64, Shaped
from torch import Tensor

from motet.data._dataset import Split
from motet.data.formats.image_files import ImageFiles
from motet.errors import InputError


def steps_per_epoch(split: Split, batch_size: int) -> int:
    """How many whole batches the split holds.

    Raises:
        InputError: when `batch_size` is below 1 or above the number of rows.
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
) -> Iterator[tuple[Shaped[Tensor, "batch ..."], Shaped[Tensor, "batch ..."]]]:
    """One epoch of shuffled training batches, on the split's device.

    No row comes twice. The last, partial batch is dropped; since each epoch shuffles anew, no row is left out for
    good. Inputs come as they are stored: normalise them with `Dataset.prepare`.

    Args:
        split: the rows.
        batch_size: rows a batch.
        seed: of the run, from 0 to 2^64 - 1.
        epoch: counted from 0. The order is a function of ``(seed, epoch)`` and the number of rows.
        skip: how many batches a resumed run has already seen of this epoch.
        resized_crop: of images in files: the least share of its area that a random part shows; 0 shows the middle.

    Yields:
        inputs ``(batch_size, ...)`` and their targets ``(batch_size, ...)``.

    Raises:
        InputError: at the call, when `batch_size` is not from 1 to the number of rows, `skip` not from 0 to the
            number of batches, or `seed` or `epoch` not a 64-bit unsigned integer.
    """
    steps = steps_per_epoch(split, batch_size)
    if not 0 <= skip <= steps:
        raise InputError(
            f"skip must lie in 0..{steps}, the number of batches of an epoch",
            got=f"skip={skip}",
            fix="Resume with the data and the batch size that the run began with",
        )
    for name, value in (("seed", seed), ("epoch", epoch)):
        if not 0 <= value < 2**64:
            raise InputError(f"{name} must lie in 0..2^64 - 1", got=f"{name}={value}", fix="Pass a smaller integer")
    order_N = _order(len(split), seed=seed, epoch=epoch)
    # Once an epoch: a copy for each batch would make the host wait for the device.
    seen_N = order_N[skip * batch_size : steps * batch_size]
    if isinstance(split.inputs, ImageFiles):
        targets = split.targets.index_select(0, seen_N.to(split.targets.device)).split(batch_size)
        return zip(
            split.inputs.cropped(seen_N, batch_size=batch_size, least_area=resized_crop, seed=seed, epoch=epoch),
            targets,
            strict=True,
        )
    return _pick(split.inputs, split.targets, seen_N.to(split.inputs.device), batch_size)


def in_order(
    split: Split, batch_size: int
) -> Iterator[tuple[Shaped[Tensor, "batch ..."], Shaped[Tensor, "batch ..."]]]:
    """Every row once, in the stored order, for evaluation. The last batch may be smaller.

    Yields:
        inputs and targets of up to `batch_size` rows: views of the split, not to be changed in place.

    Raises:
        InputError: at the call, when `batch_size` is below 1.
    """
    _check_batch_size(batch_size)
    return zip(split.inputs.split(batch_size), split.targets.split(batch_size), strict=True)


def _pick(
    inputs: Tensor, targets: Tensor, order_N: Int64[Tensor, "rows"], batch_size: int
) -> Iterator[tuple[Tensor, Tensor]]:
    for start in range(0, len(order_N), batch_size):
        index_B = order_N[start : start + batch_size]
        yield inputs.index_select(0, index_B), targets.index_select(0, index_B)


def _order(rows: int, *, seed: int, epoch: int) -> Int64[Tensor, "rows"]:
    """The epoch's permutation of the rows.

    Philox is a counter-based generator with a key of two 64-bit words, here ``(seed, epoch)``: different pairs are
    different keys, so no two runs or epochs share a stream. torch's own CPU generator cannot promise that: it keeps
    only the low 32 bits of its seed. Sorting the raw words, whose stream NumPy keeps across versions, rather than
    asking for a permutation, makes the order the same everywhere.
    """
    generator = np.random.Philox(key=np.array([seed, epoch], dtype=np.uint64))
    return torch.from_numpy(np.argsort(generator.random_raw(rows), kind="stable").astype(np.int64, copy=False))


def _check_batch_size(batch_size: int) -> None:
    if batch_size < 1:
        raise InputError("batch_size must be at least 1", got=f"batch_size={batch_size}", fix="Pass 1 or more")
