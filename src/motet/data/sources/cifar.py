"""CIFAR-10 and CIFAR-100 from their official Python batches."""

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from motet.data._dataset import Dataset, Split
from motet.data._fingerprint import of_tensors
from motet.data._holdout import hold_out, take_rows
from motet.data._spec import DataSpec
from motet.data.formats.pickle_file import read_pickle
from motet.errors import InputError

HELD_OUT = 0.1
"""The fraction of the training images that is held out for validation: 45,000 and 5,000, as in MIMMO and soft
sharing.
"""


@final
@dataclass(frozen=True, kw_only=True)
class _Kind:
    name: str
    title: str
    classes: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    train: tuple[str, ...]
    test: tuple[str, ...]
    meta: str
    labels: str
    label_names: str


_CIFAR10 = _Kind(
    name="cifar10",
    title="CIFAR-10",
    classes=10,
    mean=(0.4914, 0.4822, 0.4465),
    std=(0.2470, 0.2435, 0.2616),
    train=tuple(f"data_batch_{number}" for number in range(1, 6)),
    test=("test_batch",),
    meta="batches.meta",
    labels="labels",
    label_names="label_names",
)
_CIFAR100 = _Kind(
    name="cifar100",
    title="CIFAR-100",
    classes=100,
    mean=(0.5071, 0.4865, 0.4409),
    std=(0.2673, 0.2564, 0.2762),
    train=("train",),
    test=("test",),
    meta="meta",
    labels="fine_labels",
    label_names="fine_label_names",
)


def cifar10(folder: Path, *, validation_share: float = HELD_OUT, seed: int = 0) -> Dataset:
    """CIFAR-10: 60,000 uint8 images ``(3, 32, 32)`` in 10 classes; 45,000/5,000/10,000 rows.

    Test images are the official ones. Validation images are a tenth of the training images (MIMMO: 45,000 for training;
    joint training holds out a fifth), stratified, the same on every machine. Normalised by the training images' mean
    (0.4914, 0.4822, 0.4465) and standard deviation (0.2470, 0.2435, 0.2616).

    Args:
        folder: contains ``data_batch_1`` to ``data_batch_5``, ``test_batch`` and ``batches.meta``.
        validation_share: the fraction of the training images that is held out.
        seed: the seed of the shuffle that chooses them.

    Raises:
        InputError: if a file is missing, damaged, or another one than its name says. The files are pickles, which are
            read without executing code.

    Source: A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009; cs.toronto.edu/~kriz.
    """
    return _load(folder, _CIFAR10, validation_share, seed)


def cifar100(folder: Path, *, validation_share: float = HELD_OUT, seed: int = 0) -> Dataset:
    """CIFAR-100: 60,000 uint8 images ``(3, 32, 32)`` in 100 classes (the fine labels); 45,000/5,000/10,000 rows.

    Like `cifar10`, normalised by mean (0.5071, 0.4865, 0.4409) and standard deviation (0.2673, 0.2564, 0.2762).

    Args:
        folder: contains ``train``, ``test`` and ``meta``.
        validation_share: the fraction of the training images that is held out.
        seed: the seed of the shuffle that chooses them.

    Raises:
        InputError: see `cifar10`.
    """
    return _load(folder, _CIFAR100, validation_share, seed)


def missing_cifar10(folder: Path) -> tuple[str, ...]:
    """Return the names of CIFAR-10's files that are not in `folder`."""
    return _missing(folder, _CIFAR10)


def missing_cifar100(folder: Path) -> tuple[str, ...]:
    """Return the names of CIFAR-100's files that are not in `folder`."""
    return _missing(folder, _CIFAR100)


def _missing(folder: Path, kind: _Kind) -> tuple[str, ...]:
    return tuple(name for name in (*kind.train, *kind.test, kind.meta) if not (folder / name).is_file())


def _load(folder: Path, kind: _Kind, validation_share: float, seed: int) -> Dataset:
    if missing := _missing(folder, kind):
        raise InputError(
            f"{folder} must hold the Python batches of {kind.title}",
            got=f"a folder without {', '.join(missing)}",
            fix="Get them from www.cs.toronto.edu/~kriz/cifar.html",
        )
    full, test = _split(folder, kind.train, kind), _split(folder, kind.test, kind)
    held = min(len(full) - 1, max(1, round(validation_share * len(full))))
    kept, out = hold_out(full.targets, held, seed=seed)
    dataset = Dataset(
        spec=DataSpec(
            name=kind.name,
            input_shape=(3, 32, 32),
            outputs=kind.classes,
            task="classification",
            class_names=_names(folder / kind.meta, kind),
            mean=kind.mean,
            std=kind.std,
            split=f"official test images; {held:,} of the {len(full):,} training images for validation, stratified, "
            f"seed {seed}",
        ),
        train=take_rows(full, kept),
        validation=take_rows(full, out),
        test=test,
    )
    dataset.check()
    return replace(dataset, fingerprint=of_tensors(dataset))


def _split(folder: Path, names: tuple[str, ...], kind: _Kind) -> Split:
    parts = [_batch(folder / name, kind) for name in names]
    return Split(inputs=torch.cat([x for x, _ in parts]), targets=torch.cat([y for _, y in parts]))


def _batch(path: Path, kind: _Kind) -> tuple[Tensor, Tensor]:
    content = read_pickle(path)
    _check_label(path, kind, content.get("batch_label"))
    pixels, labels = content.get("data"), content.get(kind.labels)
    if not isinstance(pixels, Tensor) or pixels.ndim != 2 or pixels.shape[1] != 3072:
        raise _wrong(path, "bytes of shape (N, 3072) under 'data'", _shape(pixels))
    if not isinstance(labels, list) or len(labels) != len(pixels) or not labels:
        raise _wrong(path, f"{len(pixels)} labels under {kind.labels!r}", _shape(labels))
    if not all(isinstance(label, int) and 0 <= label < kind.classes for label in labels):
        raise _wrong(path, f"labels from 0 to {kind.classes - 1}", "others")
    return pixels.view(-1, 3, 32, 32), torch.tensor(labels, dtype=torch.int64)


def _check_label(path: Path, kind: _Kind, label: Any) -> None:
    """Raise for a file with the name of another one. Official batches contain their name: "training batch 2 of 5"."""
    said = label.decode("utf-8", "replace") if isinstance(label, bytes) else str(label)
    own = "testing batch" if path.name in kind.test else "training batch"
    own += f" {path.name[-1]} of" if path.name[-1].isdigit() else ""
    if re.fullmatch(r"(training|testing) batch \d of \d", said) and not said.startswith(own):
        raise _wrong(path, f"the {own.removesuffix(' of')}", f"the {said}")


def _names(path: Path, kind: _Kind) -> tuple[str, ...]:
    names: Any = read_pickle(path).get(kind.label_names)
    if not isinstance(names, list) or len(names) != kind.classes:
        raise _wrong(path, f"{kind.classes} names under {kind.label_names!r}", _shape(names))
    return tuple(name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name) for name in names)


def _shape(value: Any) -> str:
    if value is None:
        return "nothing"
    return f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"


def _wrong(path: Path, expected: str, got: str) -> InputError:
    return InputError(
        f"{path} must hold {expected}", got=got, fix="Check that no files are swapped, or download them again"
    )
