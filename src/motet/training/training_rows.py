"""The rows of the training split: batches, their normalisation and their augmentation."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, final

import torch
from torch import Tensor

from motet._internal.nested import Inputs
from motet.data import Dataset
from motet.data.augment import Augment, step_seed
from motet.data.batches import batches, steps_per_epoch
from motet.training.checkpoint import Position
from motet.training.settings import Training


@final
class TrainingRows:
    """The training split, read batch by batch.

    Batches and augmentations depend only on the seed and the position in the run, so that a resumed run sees what an
    uninterrupted one sees.

    Args:
        dataset: the data, on the device of the training.
        training: the settings, complete (`settings_for`); the batch size and the augmentation are used.
        seed: seed of the batches' order and of the augmentation.
        device: the device of the training.

    Raises:
        InputError: if the augmentation does not suit the data, or if the batch size is above the number of rows.
    """

    def __init__(self, dataset: Dataset, training: Training, *, seed: int, device: torch.device) -> None:
        assert training.batch_size is not None
        assert training.augment is not None
        self._dataset, self._seed = dataset, seed
        self._batch_size, self._resized_crop = training.batch_size, training.augment.resized_crop
        train, augmentation = dataset.train, training.augment
        augmentation.check(dataset.spec, streamed=not isinstance(train.inputs, Tensor))
        self._generator = torch.Generator(device)
        self._augment = augmentation.bind(dataset.spec, self._generator) if augmentation.active else None
        # Floating-point inputs are normalised once, here. uint8 inputs are normalised per batch, because they need a
        # quarter of the memory. An augmentation comes before normalisation, and does both.
        self._split, self._as_stored = train, True
        if isinstance(train.inputs, Tensor) and train.inputs.is_floating_point() and not augmentation.active:
            self._split, self._as_stored = replace(train, inputs=dataset.prepare(train.inputs)), False
        self.steps_per_epoch = steps_per_epoch(train, self._batch_size)

    def __len__(self) -> int:
        return len(self._split)

    def batches(self, position: Position) -> Iterator[tuple[Inputs, Tensor]]:
        """The batches that remain of the current epoch."""
        return batches(
            self._split,
            batch_size=self._batch_size,
            seed=self._seed,
            epoch=position.epoch,
            skip=position.step_in_epoch,
            resized_crop=self._resized_crop,
        )

    def normalised(self, x: Any) -> Any:
        """The inputs of a batch, normalised. Not for batches that `augmentation` changes, which normalises them."""
        return self._dataset.prepare(x) if self._as_stored else x

    def augmentation(self, position: Position) -> Augment | None:
        """The augmentation of the step at this position; None if the settings ask for none."""
        if self._augment is not None:
            self._generator.manual_seed(step_seed(self._seed, position.epoch, position.step_in_epoch))
        return self._augment
