"""The epoch's loss is summed from time to time, and a loss that is not finite stops the run."""

import math

import pytest
import torch

from motet import Training
from motet.errors import TrainingDivergedError
from motet.training.checkpoint import Position
from motet.training.losses import Divergence, RunningLoss
from motet.training.rank_sync import RankSync
from motet.training.steps import Steps


def running(ranks: RankSync) -> tuple[RunningLoss, Position]:
    steps = Steps(Training(epochs=2), Position(), per_epoch=20, examples=70)
    return RunningLoss(steps, ranks, Divergence(steps, None)), steps.position


def make_steps(losses: RunningLoss, position: Position, values: list[float]) -> None:
    for value in values:
        losses.add(torch.tensor(value))
        position.step_in_epoch += 1


def test_losses_are_summed_when_they_are_read() -> None:
    ranks = RankSync(None)
    ranks.read_every = 3
    losses, position = running(ranks)
    make_steps(losses, position, [1.0, 2.0])
    assert (losses.should_be_read, position.loss_sum) == (False, 0.0)
    make_steps(losses, position, [4.0])
    assert losses.should_be_read
    losses.read()
    assert (losses.should_be_read, position.loss_sum) == (False, 7.0)
    make_steps(losses, position, [8.0])
    losses.read()
    losses.read()
    assert position.loss_sum == 15.0, "each loss once"


def test_the_first_loss_that_is_not_finite_is_named() -> None:
    losses, position = running(RankSync(None))
    make_steps(losses, position, [1.0, 2.0])
    losses.read()
    make_steps(losses, position, [4.0, math.inf, math.nan])
    with pytest.raises(TrainingDivergedError, match="the loss became inf at step 4 of 40"):
        losses.read()
