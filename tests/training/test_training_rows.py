"""Batches of training rows: when they are normalised, and that position and seed alone decide what they are."""

from dataclasses import replace

import pytest
import torch

from motet import Dataset, InputError, Training
from motet.data import Augmentation, digits
from motet.data.batches import batches
from motet.training.checkpoint import Position
from motet.training.training_rows import TrainingRows

CPU = torch.device("cpu")
TRAINING = Training(batch_size=16)


def rows_of(dataset: Dataset, *, augment: Augmentation | None = None, seed: int = 0) -> TrainingRows:
    training = replace(TRAINING, augment=augment or Augmentation())
    return TrainingRows(dataset, training, seed=seed, device=CPU)


@pytest.mark.parametrize("stored_as", ["numbers", "bytes"])
def test_numbers_are_normalised_once_and_bytes_batch_by_batch(stored_as: str) -> None:
    data = digits()
    if stored_as == "bytes":
        data = replace(data, train=replace(data.train, inputs=data.train.inputs.to(torch.uint8)))
    rows = rows_of(data, seed=3)
    expected, targets = next(batches(data.train, batch_size=16, seed=3, epoch=0))
    x, y = next(rows.batches(Position()))
    assert torch.equal(rows.normalised(x), data.prepare(expected))
    assert torch.equal(y, targets)
    assert torch.equal(x, expected if stored_as == "bytes" else data.prepare(expected))


def test_a_resumed_epoch_has_the_batches_that_remain(blobs: Dataset) -> None:
    rows = rows_of(blobs, seed=3)
    assert (len(rows), rows.steps_per_epoch) == (70, 4)
    whole = list(rows.batches(Position(epoch=2)))
    rest = list(rows_of(blobs, seed=3).batches(Position(epoch=2, step_in_epoch=1)))
    assert len(whole) == 4
    assert all(torch.equal(x, other) for (x, _), (other, _) in zip(whole[1:], rest, strict=True))
    assert not torch.equal(whole[0][0], next(rows.batches(Position(epoch=1)))[0])


def test_the_augmentation_of_a_step_depends_on_seed_and_position_only() -> None:
    data = digits()
    x, y = data.train.inputs[:16], data.train.targets[:16]

    def augmented(position: Position, seed: int = 3, before: int = 0) -> torch.Tensor:
        rows = rows_of(data, augment=Augmentation(crop=2), seed=seed)
        for step in range(before):
            rows.augmentation(Position(step_in_epoch=step))
        augment = rows.augmentation(position)
        assert augment is not None
        return augment(x, y)[0]

    once = augmented(Position(epoch=1, step_in_epoch=2))
    assert torch.equal(once, augmented(Position(epoch=1, step_in_epoch=2), before=3))
    assert not torch.equal(once, augmented(Position(epoch=1, step_in_epoch=3)))
    assert not torch.equal(once, augmented(Position(epoch=1, step_in_epoch=2), seed=4))
    assert rows_of(data).augmentation(Position()) is None


def test_what_does_not_fit_is_refused(blobs: Dataset) -> None:
    with pytest.raises(InputError, match="batch_size must be at most the 70 rows"):
        TrainingRows(blobs, Training(batch_size=71), seed=0, device=CPU)
    with pytest.raises(InputError, match="augmentation needs images"):
        rows_of(blobs, augment=Augmentation(crop=2))
