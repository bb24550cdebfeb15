"""A tiny data set."""

import pytest
import torch
from torch import Tensor

from motet import Dataset


@pytest.fixture
def blobs() -> Dataset:
    """Three overlapping clouds of points."""

    def split(rows: int, seed: int) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(seed)
        labels = torch.arange(rows) % 3
        centres = torch.tensor([[0.0, 2.0, 0.0, 1.0], [2.0, 0.0, 0.0, -1.0], [0.0, 0.0, 2.0, 0.0]])
        return centres[labels] + torch.randn(rows, 4, generator=generator), labels

    return Dataset.from_tensors("blobs", train=split(70, 1), validation=split(40, 2), test=split(20, 3))
