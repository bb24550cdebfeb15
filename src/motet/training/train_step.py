"""One training step: the learning rate, the loss, its gradient, and the optimiser's update."""

from typing import TYPE_CHECKING, Any, final

from torch import Tensor

from motet._internal.nested import Inputs
from motet.ensemble import Ensemble
from motet.errors import InputError
from motet.training.optimizers import set_learning_rate
from motet.training.steps import Steps
from motet.training.training_rows import TrainingRows

if TYPE_CHECKING:
    from lightning_fabric import Fabric


@final
class TrainStep:
    """Makes the training steps of a run.

    Args:
        ensemble: the ensemble that is trained.
        model: the ensemble as `fabric` has wrapped it, with ``loss`` marked as a forward method.
        optimizer: the optimiser as `fabric` has wrapped it.
        fabric: runs the loss and the gradient in the run's precision.
        rows: normalises and augments the batches.
        steps: counts the steps, and gives their learning rates.
    """

    def __init__(
        self, ensemble: Ensemble, model: Any, optimizer: Any, fabric: "Fabric", *, rows: TrainingRows, steps: Steps
    ) -> None:
        self._ensemble, self._model, self._optimizer, self._fabric = ensemble, model, optimizer, fabric
        self._rows, self._steps = rows, steps

    def __call__(self, x: Inputs, y: Tensor) -> Tensor:
        """Train on a batch of stored inputs. Returns the loss, which stays on the device.

        Raises:
            InputError: if the batch has too few rows for batch normalisation.
        """
        set_learning_rate(self._optimizer, self._steps.learning_rate(self._steps.done))
        try:
            # Fabric applies the precision only to forward(), unless it wraps a data-parallel module.
            with self._fabric.autocast():
                loss = self._loss(x, y)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise InputError(
                "a model with batch normalisation needs at least 2 rows in a training step",
                got=f"batch_size={self._steps.training.batch_size}",
                fix="Raise the batch size",
            ) from error
        self._fabric.backward(loss)
        if self._ensemble.shard is not None:
            self._ensemble.shard.grid.average_gradients(self._ensemble)
        self._optimizer.step()
        self._optimizer.zero_grad()
        self._steps.position.step_in_epoch += 1
        return loss.detach()

    def _loss(self, x: Any, y: Tensor) -> Tensor:
        shard, augment = self._ensemble.shard, self._rows.augmentation(self._steps.position)
        loss: Tensor
        if augment is None:
            x = self._rows.normalised(x)
        if shard is None or shard.grid.data_ranks == 1:
            loss = self._model.loss(x, y, progress=self._steps.progress, augment=augment)
            return loss
        part = shard.grid.rows(len(x))
        if augment is not None:
            # Each rank augments the whole batch, with the same random numbers, before it takes its rows.
            x, y = augment(x, y)
        share_of_rows: float = (part.stop - part.start) / len(x)
        loss = share_of_rows * self._model.loss(x[part], y[part], progress=self._steps.progress)
        return loss
