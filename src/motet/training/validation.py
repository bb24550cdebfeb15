"""The validation split: its scores, early stopping, and which weights are kept."""

from collections.abc import Mapping
from typing import final

from torch import Tensor, nn

from motet.data import Dataset
from motet.data.batches import in_order
from motet.ensemble import Ensemble
from motet.evaluation.predict import predict_split
from motet.metrics import accuracy, rmse
from motet.metrics.scores import as_classes
from motet.training.checkpoint import Position
from motet.training.losses import Divergence
from motet.training.settings import Training


def validate(ensemble: Ensemble, dataset: Dataset, divergence: Divergence) -> dict[str, float]:
    """Score the ensemble on the validation split.

    Args:
        ensemble: the ensemble.
        dataset: the data.
        divergence: raises if the score is not finite.

    Returns:
        validation_nll, and validation_accuracy for classes and binary labels or validation_rmse for any other task, in
        the targets' own units; for several targets see `motet.metrics.score`.

    Raises:
        TrainingDivergedError: if the negative log-likelihood is not finite.
    """
    if ensemble.likelihood.output_axis is not None:
        return _validate_positions(ensemble, dataset, divergence)
    prediction = predict_split(ensemble, dataset, dataset.validation, combined=True)
    scale, prediction = prediction.target_scale, prediction.standardised()
    assert prediction.targets is not None
    scores = {"nll": float(prediction.nll().mean())}
    divergence.check("validation loss", scores["nll"])
    if dataset.spec.task in ("classification", "multilabel"):
        classes, labels = as_classes(prediction, prediction.targets)
        return {"validation_nll": scores["nll"], "validation_accuracy": float(accuracy(classes.probs, labels))}
    scores["rmse"] = float(rmse(prediction.mean, prediction.targets))
    if scale is not None:
        scores = scale.in_own_units(scores, targets=dataset.spec.outputs)
    return {f"validation_{name}": value for name, value in scores.items()}


_AT_ONCE = 2**25
"""The number of outputs of all members that the validation of positions computes at once: 128 MB."""


def _validate_positions(ensemble: Ensemble, dataset: Dataset, divergence: Divergence) -> dict[str, float]:
    """Score the positions of the validation split batch by batch, because there may be very many."""
    device = next(ensemble.parameters()).device
    first, _ = next(iter(in_order(dataset.validation, batch_size=1)))
    one = ensemble.predict(dataset.prepare(first.to(device))).outputs_BMC.numel()
    positions, nll, right = 0, 0.0, 0.0
    for x, y in in_order(dataset.validation, batch_size=max(1, min(512, _AT_ONCE // one))):
        rows = ensemble.predict(dataset.prepare(x.to(device)), targets=y.to(device)).by_row()
        assert rows.targets is not None
        positions += len(rows.targets)
        nll += float(rows.nll().sum())
        right += float((rows.labels == rows.targets).sum())
    divergence.check("validation loss", nll)
    return {"validation_nll": nll / positions, "validation_accuracy": right / positions}


@final
class EarlyStopping:
    """Keeps the weights of the best epoch, and says when no better epoch has come for long enough.

    It does nothing if ``training.early_stopping`` is None.

    Args:
        training: the settings `early_stopping` and `monitor`.
        position: holds the best scores so far, and is changed here. It is part of the checkpoint.
        best: the best weights so far; empty for a run that begins.

    Attributes:
        best: the best weights so far by their names, on the CPU; empty without early stopping.
    """

    def __init__(self, training: Training, position: Position, best: dict[str, Tensor]) -> None:
        self._patience, self._monitor = training.early_stopping, training.monitor
        self._position = position
        self.best = best

    @property
    def patience_is_over(self) -> bool:
        """Whether the last ``training.early_stopping`` epochs were not better than the best one."""
        waited = self._position.epoch - self._position.best_epoch
        return self._patience is not None and waited >= self._patience

    def update(self, model: nn.Module, scores: Mapping[str, float]) -> None:
        """Compare the scores of the epoch that just ended with the best ones, and keep the weights if they are better.

        Args:
            model: the model that has these scores.
            scores: what `validate` returns.
        """
        if self._patience is None:
            return
        position, nll, error = self._position, scores["validation_nll"], _error(scores)
        if nll < position.best_nll if self._monitor == "nll" else error < position.best_error:
            position.best_nll, position.best_error, position.best_epoch = nll, error, position.epoch
            self.best = {name: value.detach().cpu().clone() for name, value in model.state_dict().items()}

    def load_best(self, model: nn.Module) -> None:
        """Give the model the best weights, if there are any."""
        if self.best:
            model.load_state_dict(self.best)


def _error(scores: Mapping[str, float]) -> float:
    """The error rate of a classification, or the root mean squared error."""
    return 1 - scores["validation_accuracy"] if "validation_accuracy" in scores else scores["validation_rmse"]
