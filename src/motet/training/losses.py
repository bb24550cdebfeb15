"""The training loss: its sum over an epoch, and an error when it is no longer finite."""

import math
from pathlib import Path
from typing import final

import torch
from torch import Tensor

from motet.ensemble import Ensemble
from motet.errors import TrainingDivergedError
from motet.training.rank_sync import RankSync
from motet.training.steps import Steps


@final
class Divergence:
    """Raises `TrainingDivergedError` for numbers that are NaN or infinite.

    Args:
        steps: the steps of the run; the message names the step, its epoch and its learning rate.
        checkpoint: the file with the run's last good state, which the message names if it exists; None without one.
    """

    def __init__(self, steps: Steps, checkpoint: Path | None) -> None:
        self._steps, self._checkpoint = steps, checkpoint

    def check(self, what: str, value: float, *, step: int | None = None) -> None:
        """Check that a value is finite.

        Args:
            what: the name of the value.
            value: the value.
            step: the step that computed it, counted from 0; the last finished one if None.

        Raises:
            TrainingDivergedError: if it is NaN or infinite.
        """
        if not math.isfinite(value):
            raise self._error(what, value, self._steps.done - 1 if step is None else step)

    def check_weights(self, ensemble: Ensemble, ranks: RankSync) -> None:
        """Check that all trained weights of all ranks are finite; the last step's loss may be finite and its gradient
        not.

        Raises:
            TrainingDivergedError: on every rank, if a weight is not finite.
        """
        trained = (parameter for parameter in ensemble.parameters() if parameter.requires_grad)
        if not ranks.all(all(bool(torch.isfinite(parameter).all()) for parameter in trained)):
            raise self._error("network's weights", math.nan, self._steps.done - 1)

    def _error(self, what: str, value: float, step: int) -> TrainingDivergedError:
        kept = self._checkpoint if self._checkpoint is not None and self._checkpoint.exists() else "none yet"
        return TrainingDivergedError(
            f"the {what} became {value} at step {step + 1} of {self._steps.total} "
            f"(epoch {step // self._steps.per_epoch + 1}) with learning rate {self._steps.learning_rate(step):.3g}. "
            f"Last good checkpoint: {kept}. Lower the learning rate or lengthen the warm-up."
        )


@final
class RunningLoss:
    """Collects the losses of the steps, and adds them to the epoch's sum every few steps.

    Losses are not read at every step, because that synchronises with the device and with the other ranks.

    Args:
        steps: the steps of the run; their position holds the sum.
        ranks: reads the losses; if members are on several ranks, those of the whole ensemble.
        divergence: raises for a loss that is not finite.
    """

    def __init__(self, steps: Steps, ranks: RankSync, divergence: Divergence) -> None:
        self._steps, self._ranks, self._divergence = steps, ranks, divergence
        self._unread: list[Tensor] = []

    def add(self, loss: Tensor) -> None:
        """Collect the loss of the latest step."""
        self._unread.append(loss)

    @property
    def should_be_read(self) -> bool:
        """Whether enough losses have been collected."""
        return len(self._unread) >= self._ranks.read_every

    def read(self) -> None:
        """Add the collected losses to the epoch's sum. Ranks also agree whether to stop.

        Raises:
            TrainingDivergedError: at the first loss that is not finite.
        """
        losses = self._ranks.read(self._unread)
        for step, loss in enumerate(losses, start=self._steps.done - len(losses)):
            self._divergence.check("loss", loss, step=step)
            self._steps.position.loss_sum += loss
        self._unread.clear()
