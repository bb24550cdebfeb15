"""How far a run has come, counted in steps and epochs, and the learning rate of each step."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from motet.training.checkpoint import Position
from motet.training.history import HistoryRow
from motet.training.settings import Training
from motet.types import Progress


@final
@dataclass(frozen=True)
class Steps:
    """The steps of a run.

    Attributes:
        training: the settings.
        position: how many epochs and steps are finished. It is part of the checkpoint, and is changed here.
        per_epoch: the number of steps in an epoch.
        examples: the number of rows in the training split.
    """

    training: Training
    position: Position
    per_epoch: int
    examples: int

    @property
    def total(self) -> int:
        """Steps in all epochs."""
        return self.training.epochs * self.per_epoch

    @property
    def done(self) -> int:
        """Steps that are finished."""
        return self.position.epoch * self.per_epoch + self.position.step_in_epoch

    @property
    def all_done(self) -> bool:
        """Whether all epochs are finished."""
        return self.position.epoch >= self.training.epochs

    @property
    def epoch_is_over(self) -> bool:
        """Whether all steps of the current epoch are finished, so that `end_epoch` may be called."""
        return self.position.step_in_epoch == self.per_epoch

    @property
    def progress(self) -> Progress:
        """The progress as it is passed to the loss."""
        return Progress(epoch=self.done / self.per_epoch, epochs=self.training.epochs, examples=self.examples)

    def learning_rate(self, step: int) -> float:
        """The learning rate of a step, counted from 0."""
        return learning_rate(self.training, step=step, steps_per_epoch=self.per_epoch)

    def end_epoch(self, scores: Mapping[str, float]) -> HistoryRow:
        """Add a row with the validation scores to the history, and start the next epoch. Returns the row."""
        position = self.position
        row = HistoryRow(
            epoch=position.epoch + 1,
            step=self.done,
            learning_rate=self.learning_rate(self.done - 1),
            train_loss=position.loss_sum / self.per_epoch,
            seconds=position.epoch_seconds,
            **scores,
        )
        position.history.append(row)
        position.epoch += 1
        position.step_in_epoch, position.loss_sum, position.epoch_seconds = 0, 0.0, 0.0
        return row


def learning_rate(training: Training, *, step: int, steps_per_epoch: int) -> float:
    """Return the learning rate of a step. It is a pure function, so that resuming needs no state of a scheduler.

    Warm-up: ``peak * step / warmup steps`` [uncertainty-baselines, schedules.py]. Then the schedule: cosine falls from
    the end of the warm-up to zero at the end of the last epoch; milestones count epochs from the start.

    Args:
        training: the settings.
        step: the step, counted from 0.
        steps_per_epoch: the number of steps in an epoch.

    >>> settings = Training(epochs=4, learning_rate=1.0, schedule="step", milestones=(2.0,), warmup_epochs=1.0)
    >>> [learning_rate(settings, step=step, steps_per_epoch=2) for step in range(8)]
    [0.0, 0.5, 1.0, 1.0, 0.2, 0.2, 0.2, 0.2]
    """
    peak, warmup = training.learning_rate, training.warmup_epochs * steps_per_epoch
    if step < warmup:
        return peak * step / warmup
    if training.schedule == "cosine":
        total = training.epochs * steps_per_epoch
        return peak * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(total - warmup, 1)))
    if training.schedule == "step":
        passed = sum(step >= milestone * steps_per_epoch for milestone in training.milestones)
        return peak * training.decay_factor**passed
    return peak
