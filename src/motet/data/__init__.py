"""Datasets as tensors in memory, batches by index, and loaders for the built-in datasets."""

from motet.data._catalogue import DATASETS, DatasetEntry, load
from motet.data._dataset import Dataset, Split
from motet.data._spec import DataSpec, Task
from motet.data.batches import batches, in_order, steps_per_epoch
from motet.data.digits import digits
from motet.data.idx import fashion_mnist, mnist, read_idx

__all__ = [
    "DATASETS",
    "DataSpec",
    "Dataset",
    "DatasetEntry",
    "Split",
    "Task",
    "batches",
    "digits",
    "fashion_mnist",
    "in_order",
    "load",
    "mnist",
    "read_idx",
    "steps_per_epoch",
]
