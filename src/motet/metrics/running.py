"""Scores of predictions, computed batch by batch without storing the predictions."""

from typing import final

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from motet.errors import InputError
from motet.likelihoods.target_scale import TargetScale
from motet.metrics.calibration import ece_of, reliability_of
from motet.metrics.numbers import crps
from motet.metrics.scores import as_classes, checked
from motet.metrics.selective import RiskCoverage, aurc, risk_coverage
from motet.prediction import Prediction


@final
class RunningScores:
    """Scores over all added batches. For classes two numbers per row are stored, for calibration and selective risk.

    >>> from motet import Categorical
    >>> scores = RunningScores()
    >>> scores.add(Prediction(outputs_BMC=torch.zeros(1, 2, 2), likelihood=Categorical(), targets=torch.tensor([0])))
    >>> scores.result()["accuracy"]
    1.0
    """

    def __init__(self) -> None:
        self.rows = 0
        """The number of rows that were added."""
        # "second" is the sum of Brier scores for classes, and of squared errors for numbers.
        self._sums = {"nll": 0.0, "second": 0.0, "crps": 0.0}
        self._confidence: list[Tensor] = []
        self._correct: list[Tensor] = []
        self._classes = True
        self._scale: TargetScale | None = None
        self._targets = 1

    def add(self, prediction: Prediction) -> None:
        """Add a batch with its targets.

        Raises:
            InputError: for no targets, no rows, NaN, and targets that do not fit.
        """
        if self.rows and prediction.target_scale != self._scale:
            raise InputError(
                "all batches must have the same scale of targets",
                got=f"{prediction.target_scale} after {self._scale}",
                fix="Score each ensemble separately",
            )
        self._scale = prediction.target_scale
        if prediction.likelihood.output_axis is not None and prediction.targets is not None:
            prediction = prediction.by_row()
            if len(prediction.outputs_BMC) == 0:  # all positions of this batch are ignored
                return
        prediction, y = checked(prediction.standardised())
        rows = len(y)
        self.rows += rows
        # Sums over batches need double precision, which Python floats have. Sums within a batch do not, and not every
        # device has double precision.
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
            self._targets = y.shape[1]
            second = (prediction.mean - y).square().mean()
            self._sums["crps"] += rows * float(crps(prediction))
        self._sums["second"] += rows * float(second)

    def result(self) -> dict[str, float]:
        """Return scores with the names of `motet.metrics.score`.

        For classes and binary labels: accuracy, nll, ece, brier and aurc. For numbers: rmse, nll and crps,
        in their own units.

        Raises:
            InputError: if nothing was added.
        """
        if self.rows == 0:
            raise InputError("scores need at least one row", got="no rows", fix="Call add with a batch first")
        nll, second = self._sums["nll"] / self.rows, self._sums["second"] / self.rows
        if not self._classes:
            found = {"rmse": second**0.5, "nll": nll, "crps": self._sums["crps"] / self.rows}
            return found if self._scale is None else self._scale.in_own_units(found, targets=self._targets)
        confidence, correct = torch.cat(self._confidence), torch.cat(self._correct)
        return {
            "accuracy": float(correct.double().mean()),
            "nll": nll,
            "ece": float(ece_of(reliability_of(confidence, correct))),
            "brier": second,
            "aurc": float(aurc(confidence, ~correct)),
        }

    def risk_coverage(self) -> RiskCoverage | None:
        """Return the error rate at every coverage; None for numbers. See `motet.metrics.risk_coverage`.

        Raises:
            InputError: if nothing was added.
        """
        if self.rows == 0:
            raise InputError("scores need at least one row", got="no rows", fix="Call add with a batch first")
        return risk_coverage(torch.cat(self._confidence), ~torch.cat(self._correct)) if self._classes else None
