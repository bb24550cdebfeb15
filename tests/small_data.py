"""Small data sets that several tests use."""

import math

import torch
from torch import Tensor

from motet import Dataset, Likelihood


def _split(rows: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(rows) % 3
    centres = torch.tensor([[0.0, 2.0, 0.0, 1.0], [2.0, 0.0, 0.0, -1.0], [0.0, 0.0, 2.0, 0.0]])
    return centres[labels] + torch.randn(rows, 4, generator=generator), labels


def random_targets(likelihood: Likelihood, rows: int, outputs: int) -> Tensor:
    """Labels, or real numbers for a likelihood of a regression."""
    return torch.randint(outputs, (rows,)) if likelihood.target_kind == "class" else torch.randn(rows, outputs)


def make_blobs() -> Dataset:
    """Three overlapping clouds of points: 70 training, 40 validation and 20 test rows."""
    return Dataset.from_tensors("blobs", train=_split(70, 1), validation=_split(40, 2), test=_split(20, 3))


def idx_bytes(shape: tuple[int, ...], values: bytes | None = None, *, code: int = 0x08) -> bytes:
    """An IDX file with this shape: the given values, or zeros."""
    header = bytes([0, 0, code, len(shape)]) + b"".join(size.to_bytes(4, "big") for size in shape)
    return header + (bytes(math.prod(shape)) if values is None else values)
