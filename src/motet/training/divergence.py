"""Stopping a run whose numbers are no longer finite."""

import math
from pathlib import Path
from typing import final

import torch

from motet.ensemble import Ensemble
from motet.errors import TrainingDivergedError
from motet.training.steps import Steps
from motet.training.together import Together


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
        """Raise `TrainingDivergedError` unless `value` is finite.

        Args:
            what: the name of the value.
            value: the value.
            step: the step that made it, counted from 0; the last one that is finished if None.
        """
        if not math.isfinite(value):
            raise self._error(what, value, self._steps.done - 1 if step is None else step)

    def check_weights(self, ensemble: Ensemble, ranks: Together) -> None:
        """Raise `TrainingDivergedError`, on every rank, unless all trained weights of all ranks are finite.

        The last step's loss may be finite, and its gradient not.
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
