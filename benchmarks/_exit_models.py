"""Data sets and models of `default_exits.py`."""

import os
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import motet
from motet import models
from motet.data import Dataset, Split

SUBSETS = {"digits": None, "fashion-mnist": 3000}
"""How many training rows of each data set are used; half as many for validation. None for all."""


class SmallViT(nn.Module):
    """A vision transformer: patches, `blocks` pre-norm blocks, the mean over tokens, a linear head."""

    def __init__(self, channels: int, size: int, patch: int, *, width: int = 48, blocks: int = 6) -> None:
        super().__init__()
        self.patches = nn.Conv2d(channels, width, patch, stride=patch)
        self.positions = nn.Parameter(0.02 * torch.randn(1, (size // patch) ** 2, width))
        self.blocks = nn.Sequential(
            *(
                nn.TransformerEncoderLayer(width, 4, 2 * width, dropout=0.0, batch_first=True, norm_first=True)
                for _ in range(blocks)
            )
        )
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, 10)

    def forward(self, x: Tensor) -> Tensor:
        h = self.blocks(self.patches(x).flatten(2).transpose(1, 2) + self.positions)
        logits: Tensor = self.head(self.norm(h).mean(dim=1))
        return logits


def data_named(name: str) -> Dataset:
    """Return the data set, or a part of its training rows as training and validation rows."""
    folder = os.environ.get("MOTET_DATA")
    data = motet.data.load(name, Path(folder) if folder else None)
    rows = SUBSETS[name]
    if rows is None:
        return data

    def part(split: Split, count: int) -> Split:
        order = torch.randperm(len(split), generator=torch.Generator().manual_seed(0))[:count]
        return Split(inputs=split.inputs[order], targets=split.targets[order])

    return replace(data, train=part(data.train, rows), validation=part(data.validation, rows // 2))


def model_named(name: str, shape: tuple[int, ...]) -> nn.Module:
    """Return a new model called `name` for images of this shape, in 10 classes."""
    channels, size = shape[:2]
    settings: dict[str, Any] = {"num_classes": 10, "in_channels": channels}
    makers: dict[str, Callable[[], nn.Module]] = {
        "small_cnn": partial(models.small_cnn, **settings),
        "small_cnn, width 2": partial(models.small_cnn, **settings, width=2),
        "mlp 128-128": partial(models.mlp, input_shape=shape, num_classes=10),
        "mlp 64 x 6": partial(models.mlp, input_shape=shape, num_classes=10, hidden=(64,) * 6),
        "wrn-10-1": partial(models.wide_resnet, **settings, depth=10, width=1),
        "vit": partial(SmallViT, channels, size, 2),
    }
    return makers[name]()
