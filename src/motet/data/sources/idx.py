"""MNIST and Fashion-MNIST from their four IDX files, which share names, shapes and sizes."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import torch
from jaxtyping import Shaped
from torch import Tensor

from motet.data._dataset import Dataset, Split
from motet.data._fingerprint import of_tensors
from motet.data._holdout import hold_out, take_rows
from motet.data._spec import DataSpec
from motet.data.formats.idx_file import read_idx
from motet.errors import InputError

__all__ = ["FASHION_MNIST_SOURCE", "MNIST_SOURCE", "SPLIT_SEED", "fashion_mnist", "missing_files", "mnist", "read_idx"]

FASHION_MNIST_SOURCE = "github.com/zalandoresearch/fashion-mnist"
MNIST_SOURCE = "yann.lecun.com/exdb/mnist"

SPLIT_SEED = 0
"""The seed of the shuffle that holds out validation images from the training files."""

_FILES = {
    "train images": ("train-images", "idx3-ubyte"),
    "train labels": ("train-labels", "idx1-ubyte"),
    "test images": ("t10k-images", "idx3-ubyte"),
    "test labels": ("t10k-labels", "idx1-ubyte"),
}
_FULL, _HELD_OUT = 60_000, 10_000


@final
@dataclass(frozen=True, kw_only=True)
class _Kind:
    name: str
    mean: float
    std: float
    class_names: tuple[str, ...]
    first_labels: tuple[int, ...]
    first_test_labels: tuple[int, ...]
    source: str


_FASHION = _Kind(
    name="fashion-mnist",
    mean=0.2860,
    std=0.3530,
    class_names=(
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    ),
    first_labels=(9, 0, 0, 3, 0, 2, 7, 2, 5, 5),
    first_test_labels=(9, 2, 1, 1, 6, 1, 4, 6, 5, 7),
    source=FASHION_MNIST_SOURCE,
)
_MNIST = _Kind(
    name="mnist",
    mean=0.1307,
    std=0.3081,
    class_names=tuple(str(digit) for digit in range(10)),
    first_labels=(5, 0, 4, 1, 9, 2, 1, 3, 1, 4),
    first_test_labels=(7, 2, 1, 0, 4, 1, 4, 9, 5, 9),
    source=MNIST_SOURCE,
)


def fashion_mnist(folder: Path) -> Dataset:
    """Fashion-MNIST: 70,000 uint8 images ``(1, 28, 28)`` of clothes in 10 classes; 50,000/10,000/10,000 rows.

    Validation images are 10,000 of the training files' 60,000, the same on every machine: `hold_out`, stratified, with
    seed `SPLIT_SEED`. If the training files are smaller, a sixth is held out. `Dataset.prepare` scales pixels to 0..1
    and normalises them by mean 0.2860 and standard deviation 0.3530.

    Args:
        folder: contains ``train-images-idx3-ubyte``, ``train-labels-idx1-ubyte``, ``t10k-images-idx3-ubyte`` and
            ``t10k-labels-idx1-ubyte``, each with or without ``.gz``, or spelt ``train-images.idx3-ubyte``.

    Raises:
        InputError: if a file is missing, damaged or another one than its name says, if images and labels differ in
            number, if labels are outside 0..9, or if the files are MNIST's.

    Source: H. Xiao, K. Rasul, R. Vollgraf, arXiv:1708.07747; github.com/zalandoresearch/fashion-mnist.
    """
    return _load(folder, _FASHION, other=_MNIST)


def mnist(folder: Path) -> Dataset:
    """MNIST: 70,000 uint8 images ``(1, 28, 28)`` of handwritten digits; 50,000/10,000/10,000 rows.

    Like `fashion_mnist`, with mean 0.1307 and standard deviation 0.3081.

    Args:
        folder: contains the four files, named as for `fashion_mnist`.

    Raises:
        InputError: see `fashion_mnist`; also if the files are Fashion-MNIST's.

    Source: Y. LeCun, C. Cortes, C. J. C. Burges; yann.lecun.com/exdb/mnist.
    """
    return _load(folder, _MNIST, other=_FASHION)


def missing_files(folder: Path) -> tuple[str, ...]:
    """Return the official names of the four files that are not in `folder` under any spelling."""
    return tuple(f"{stem}-{kind}.gz" for stem, kind in _FILES.values() if _find(folder, stem, kind) is None)


def _find(folder: Path, stem: str, kind: str) -> Path | None:
    spellings = (folder / f"{stem}{joint}{kind}{suffix}" for joint in "-." for suffix in ("", ".gz"))
    return next((path for path in spellings if path.is_file()), None)


def _load(folder: Path, kind: _Kind, *, other: _Kind) -> Dataset:
    if missing := missing_files(folder):
        raise InputError(
            f"{folder} must hold the four files of {kind.name}",
            got=f"a folder without {', '.join(missing)}",
            fix=f"Get them from {kind.source}",
        )
    full, test = _read_split(folder, "train"), _read_split(folder, "test")
    for split, first, part in (
        (full, other.first_labels, "those"),
        (test, other.first_test_labels, "the test files"),
    ):
        if tuple(split.targets[:10].tolist()) == first:
            raise InputError(
                f"{folder} must hold the files of {kind.name}",
                got=f"{part} of {other.name}, which have the same names",
                fix=f"Get {kind.name} from {kind.source}, and keep each dataset in a separate folder",
            )
    held = _HELD_OUT if len(full) >= _FULL else max(1, len(full) // 6)
    kept, validation = hold_out(full.targets, held, seed=SPLIT_SEED)
    dataset = Dataset(
        spec=DataSpec(
            name=kind.name,
            input_shape=(1, 28, 28),
            outputs=10,
            task="classification",
            class_names=kind.class_names,
            mean=(kind.mean,),
            std=(kind.std,),
        ),
        train=take_rows(full, kept),
        validation=take_rows(full, validation),
        test=test,
    )
    dataset.check()
    return replace(dataset, fingerprint=of_tensors(dataset))


def _read_split(folder: Path, name: str) -> Split:
    images_path, images = _read_part(folder, f"{name} images", (28, 28))
    labels_path, labels = _read_part(folder, f"{name} labels", ())
    if len(images) != len(labels):
        raise InputError(
            f"{images_path} and {labels_path.name} must have as many images as labels",
            got=f"{len(images)} images and {len(labels)} labels",
            fix="Download both files again, from one source",
        )
    if int(labels.max()) > 9:
        raise InputError(
            f"labels in {labels_path} must lie in 0..9",
            got=f"{int((labels > 9).sum())} labels above 9, up to {int(labels.max())}",
            fix="Load other datasets with read_idx and Dataset.from_tensors",
        )
    return Split(inputs=images.unsqueeze(1), targets=labels.long())


def _read_part(folder: Path, part: str, row_shape: tuple[int, ...]) -> tuple[Path, Shaped[Tensor, "rows ..."]]:
    path = _find(folder, *_FILES[part])
    assert path is not None, "missing_files has looked"
    array = read_idx(path)
    if array.dtype != torch.uint8 or array.shape[1:] != row_shape:
        shape = str(("N", *row_shape)).replace("'", "")
        raise InputError(
            f"{path} must hold uint8 {part} of shape {shape}",
            got=f"{str(array.dtype).removeprefix('torch.')} of shape {tuple(array.shape)}",
            fix="Check that no files are swapped; load other datasets with read_idx and Dataset.from_tensors",
        )
    return path, array
