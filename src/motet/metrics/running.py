"""Scores of predictions that come a batch at a time, without keeping them."""

from typing import final

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from motet.errors import InputError
from motet.likelihoods import Categorical
from motet.metrics.calibration import ece_of, reliability_of
from motet.metrics.scores import checked
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
        self._sums = {"nll": 0.0, "second": 0.0}  # second: the Brier score's or the squared error's sum
        self._confidence: list[Tensor] = []
        self._correct: list[Tensor] = []
        self._classes = True

    def add(self, prediction: Prediction) -> None:
        """Add a batch with its targets.

        Raises:
            InputError: no targets, no rows, NaN, targets that do not fit, a likelihood that is neither Categorical nor
                Gaussian.
        """
        prediction, y = checked(prediction)
        mean_BC = prediction.mean
        self.rows += len(y)
        self._classes = isinstance(prediction.likelihood, Categorical)
        if self._classes:
            confidence, label = mean_BC.max(dim=-1)
            self._confidence.append(confidence.cpu())
            self._correct.append((label == y).cpu())
            second = (mean_BC - F.one_hot(y, mean_BC.shape[1])).square().sum(dim=-1)
        else:
            second = (mean_BC - y).square().mean(dim=-1)
        # Double precision does not exist on every device; sums of a batch do not need it, sums of batches do.
        self._sums["nll"] += float(prediction.nll().sum())
        self._sums["second"] += float(second.sum())

    def result(self) -> dict[str, float]:
        """Classification: accuracy, nll, ece, brier as `motet.metrics.score` has them, and aurc. Regression: rmse, nll.

        Raises:
            InputError: if nothing was added.
        """
        if self.rows == 0:
            raise InputError("scores need at least one row", got="none", fix="Check that the data set is not empty")
        nll, second = self._sums["nll"] / self.rows, self._sums["second"] / self.rows
        if not self._classes:
            return {"rmse": second**0.5, "nll": nll}
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
