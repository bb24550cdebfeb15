"""Find images of one set that occur in another, and so are not out of its distribution."""

import hashlib

import torch
from jaxtyping import Bool, Shaped
from torch import Tensor

from motet.data import ImageFiles, Split
from motet.errors import InputError

_AT_ONCE = 4096  # rows copied to the host at a time


def overlapping(
    rows: Shaped[Tensor, "..."] | ImageFiles, others: Shaped[Tensor, "..."] | ImageFiles
) -> Bool[Tensor, "batch"]:
    """Return which of `rows` equal one of `others`, ``(N,)``.

    Rows are compared by a 128-bit hash of their bytes. An image that was saved or resized again is not found.

    Raises:
        InputError: if the two sets' rows differ in shape or dtype, so that none could be equal.
    """
    if rows.shape[1:] != others.shape[1:] or rows.dtype != others.dtype:
        raise InputError(
            "two sets can overlap only if their rows have the same shape and dtype",
            got=f"{rows.dtype} rows of shape {tuple(rows.shape[1:])} and {others.dtype} of {tuple(others.shape[1:])}",
            fix="Convert both to the same form first",
        )
    known = set(_hashes(others))
    return torch.tensor([each in known for each in _hashes(rows)], dtype=torch.bool, device=rows.device)


def without_overlap(split: Split, *others: Split) -> tuple[Split, int]:
    """Return the rows of `split` that occur in none of the `others`, and how many were removed.

    Raises:
        InputError: if rows differ in shape or dtype, or if no row is left.
    """
    found = torch.zeros(len(split), dtype=torch.bool, device=split.inputs.device)
    for other in others:
        found |= overlapping(split.rows, other.rows)
    if bool(found.all()):
        raise InputError(
            "an out-of-distribution set must contain at least one row that does not occur in the other sets",
            got=f"{len(split)} rows, which all occur in the other sets",
            fix="Choose another data set",
        )
    return Split(inputs=split.inputs[~found], targets=split.targets[~found.to(split.targets.device)]), int(found.sum())


def _hashes(rows: Tensor | ImageFiles) -> list[bytes]:
    found = []
    for part in rows.split(_AT_ONCE):
        array = part.detach().cpu().contiguous().flatten(1).view(torch.uint8).numpy()
        found += [hashlib.blake2b(row.data, digest_size=16).digest() for row in array]
    return found
