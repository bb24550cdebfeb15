"""Scores of predictions that come a batch at a time, without keeping them."""

from typing import final

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from motet.errors import InputError
from motet.metrics.calibration import ece_of, reliability_of
from motet.metrics.numbers import crps
from motet.metrics.scores import as_classes, checked
from motet.metrics.selective import RiskCoverage, aurc, risk_coverage
from motet.prediction import Prediction


@final
class RunningScores:
    """Scores of everything that was added. Two numbers a row are kept, for calibration and selective risk.

    >>> from motet import Categorical
    >>> scores = RunningScores()
    >>> scores.add(Prediction(outputs_BMC=torch.zeros(1, 2, 2), likelihood=Categorical(), targets=torch.tensor([0])))
    >>> scores.result()["accuracy"]
    1.0
    """

    def __init__(self) -> None:
        self.rows = 0
        """Number of rows added."""
        # second: the Brier score's or the squared error's sum
        self._sums = {"nll": 0.0, "second": 0.0, "crps": 0.0}
        self._confidence: list[Tensor] = []
        self._correct: list[Tensor] = []
        self._classes = True

    def add(self, prediction: Prediction) -> None:
        """Add a batch with its targets.

        Raises:
            InputError: no targets, no rows, NaN, targets that do not fit.
        """
        prediction, y = checked(prediction)
        rows = len(y)
        self.rows += rows
        # Double precision does not exist on every device; sums of a batch do not need it, sums of batches do.
        self._sums["nll"] += float(prediction.nll().sum())
        self._classes = not prediction.likelihood.has_order
        if self._classes:
            prediction, y = as_classes(prediction, y)
            mean_BC = prediction.mean
            confidence, label = mean_BC.max(dim=-1)
            self._confidence.append(confidence.cpu())
            self._correct.append((label == y).cpu())
            second = (mean_BC - F.one_hot(y, mean_BC.shape[1])).square().sum(dim=-1).mean()
        else:
            second = (prediction.mean - y).square().mean()
            self._sums["crps"] += rows * float(crps(prediction))
        self._sums["second"] += rows * float(second)

    def result(self) -> dict[str, float]:
        """Scores as `motet.metrics.score` has them.

        Of classes and labels accuracy, nll, ece, brier, and aurc; of numbers rmse, nll, crps.

        Raises:
            InputError: if nothing was added.
        """
        if self.rows == 0:
            raise InputError("scores need at least one row", got="none", fix="Check that the data set is not empty")
        nll, second = self._sums["nll"] / self.rows, self._sums["second"] / self.rows
        if not self._classes:
            return {"rmse": second**0.5, "nll": nll, "crps": self._sums["crps"] / self.rows}
        confidence, correct = torch.cat(self._confidence), torch.cat(self._correct)
        return {
            "accuracy": float(correct.double().mean()),
            "nll": nll,
            "ece": float(ece_of(reliability_of(confidence, correct))),
            "brier": second,
            "aurc": float(aurc(confidence, ~correct)),
        }

    def risk_coverage(self) -> RiskCoverage | None:
        """The error rate at every coverage, by confidence; None for regression. See `motet.metrics.risk_coverage`.

        Raises:
            InputError: if nothing was added.
        """
        if self.rows == 0:
            raise InputError("scores need at least one row", got="none", fix="Check that the data set is not empty")
        return risk_coverage(torch.cat(self._confidence), ~torch.cat(self._correct)) if self._classes else None
