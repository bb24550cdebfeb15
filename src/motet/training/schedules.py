"""The learning rate as a pure function of the step, so that resuming needs no scheduler state."""

import math

from motet.training.settings import Training


def learning_rate(training: Training, *, step: int, steps_per_epoch: int) -> float:
    """Learning rate of step `step`, counted from 0.

    Warm-up: ``peak * step / warmup steps`` [uncertainty-baselines, schedules.py]. Then by schedule; cosine falls
    from the end of the warm-up to zero at the end of the last epoch, steps count epochs from the start.

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
