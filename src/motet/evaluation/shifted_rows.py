"""Test rows under shift, in batches: one corruption at one severity after the other."""

from collections.abc import Iterable, Iterator, Sequence

import torch
from torch import Tensor

from motet.data import Dataset, Split
from motet.data.batches import in_order
from motet.errors import InputError
from motet.shifts import (
    SEVERITIES,
    TABLE_SHIFTS,
    CifarC,
    Constants,
    Corruption,
    ImageNetC,
    corrupt,
    corruptions,
    shift_table,
)

Batches = Iterable[tuple[Tensor, Tensor]]
"""Inputs as the data set stores them, and their targets."""
Shifted = tuple[str, int, Batches]
"""A corruption's name, its severity, and the rows under it."""


def shifted_images(
    dataset: Dataset,
    shifts: str | Sequence[str | Corruption],
    *,
    split: Split | None = None,
    severities: Sequence[int] = SEVERITIES,
    seed: int = 0,
    batch_size: int = 512,
    constants: Constants | None = None,
    device: torch.device | str = "cpu",
) -> Iterator[Shifted]:
    """Yield corrupted images.

    Images stored as floats are converted to uint8 by `DataSpec.to_bytes`, corrupted, and converted back.

    Args:
        dataset, shifts, split, severities, seed, batch_size, constants: see `motet.evaluation.evaluate_shift`.
        device: the device on which images are corrupted.
    """
    chosen = [each for item in ([shifts] if isinstance(shifts, str) else shifts) for each in _corruptions(item)]
    rows, spec = split or dataset.test, dataset.spec

    def corrupted(corruption: Corruption, severity: int) -> Batches:
        first = 0
        for x, y in in_order(rows, batch_size):
            index = torch.arange(first, first + len(x))
            first += len(x)
            images = corrupt(
                spec.to_bytes(x.to(device)), corruption, severity=severity, seed=seed, index=index, constants=constants
            )
            yield (images if x.dtype == torch.uint8 else spec.from_bytes(images)), y

    for corruption in chosen:
        for severity in severities:
            yield corruption.name, severity, corrupted(corruption, severity)


def shifted_files(
    dataset: Dataset,
    source: CifarC | ImageNetC,
    names: Sequence[str] | None = None,
    *,
    severities: Sequence[int] = SEVERITIES,
    batch_size: int = 512,
) -> Iterator[Shifted]:
    """Yield the images of an official corrupted set, on the scale on which `dataset` stores its images.

    Args:
        dataset, source, names, severities, batch_size: see `motet.evaluation.evaluate_official`.
    """
    spec, as_bytes = dataset.spec, dataset.train.rows.dtype == torch.uint8
    if not as_bytes:
        spec.to_bytes(dataset.train.rows[:1])  # raises for floats of unknown scale
    for name in source.names if names is None else names:
        for severity in severities:
            batches = source.batches(name, severity, batch_size=batch_size)
            yield name, severity, batches if as_bytes else ((spec.from_bytes(x), y) for x, y in batches)


def shifted_table(
    dataset: Dataset,
    names: Sequence[str] = tuple(TABLE_SHIFTS),
    *,
    split: Split | None = None,
    severities: Sequence[int] = SEVERITIES,
    seed: int = 0,
    batch_size: int = 512,
) -> Iterator[Shifted]:
    """Yield shifted rows of a table.

    Args:
        dataset, names, split, severities, seed, batch_size: see `motet.evaluation.evaluate_table_shift`.

    Raises:
        InputError: if the inputs are not a table of floats.
    """
    rows, train = split or dataset.test, dataset.train.inputs
    if not isinstance(train, Tensor) or train.ndim != 2 or not train.is_floating_point():
        raise InputError(
            "shifts of tables need floating-point inputs of shape (rows, features)",
            got=f"{str(train.dtype).removeprefix('torch.')} of shape {tuple(train.shape)}",
            fix="Use evaluate_shift for images",
        )
    mean, std = train.mean(dim=0), train.std(dim=0, correction=0)

    def shifted(name: str, severity: int) -> Batches:
        first = 0
        for x, y in in_order(rows, batch_size):
            index = torch.arange(first, first + len(x), device=x.device)
            first += len(x)
            yield shift_table(x, name, severity=severity, mean=mean, std=std, seed=seed, index=index), y

    for name in names:
        for severity in severities:
            yield name, severity, shifted(name, severity)


def _corruptions(item: str | Corruption) -> tuple[Corruption, ...]:
    return corruptions(item) if isinstance(item, str) else (item,)
