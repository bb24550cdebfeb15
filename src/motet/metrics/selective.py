"""Selective prediction: the risk on the most confident rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from motet.errors import InputError
from motet.prediction import Prediction

COVERAGES = tuple(percent / 100 for percent in range(1, 101))
"""The coverages at which curves are stored and drawn: 1 %, 2 %, ..., 100 %."""


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class RiskCoverage:
    """The risk-coverage curve (El-Yaniv and Wiener 2010).

    Attributes:
        coverage: the fractions 1/N, 2/N, ..., 1 of most confident rows that are kept, ``(N,)``.
        risk: the mean loss over the rows that are kept, ``(N,)``.
    """

    coverage: Float[Tensor, "rows"]
    risk: Float[Tensor, "rows"]

    @property
    def area(self) -> float:
        """AURC, the area under the curve: the mean risk over all coverages. Lower is better."""
        return float(self.risk.mean())

    def at(self, coverages: Sequence[float] = COVERAGES) -> Float[Tensor, "coverages"]:
        """Return the risk at each of `coverages`, in the same order.

        The risk at coverage c is the mean loss over the ``ceil(c N)`` most confident of N rows, without interpolation.
        At least one row is therefore always kept. With fewer rows than coverages, several coverages have the same risk.
        Rows of equal confidence are treated as in `risk_coverage`.

        Raises:
            InputError: for a coverage outside (0, 1].

        >>> curve = risk_coverage(torch.tensor([0.9, 0.8, 0.7, 0.6]), torch.tensor([0, 0, 1, 1]))
        >>> curve.at([0.5, 0.51, 1.0])
        tensor([0.0000, 0.3333, 0.5000], dtype=torch.float64)
        """
        for coverage in coverages:
            if not 0 < coverage <= 1:
                raise InputError(
                    "coverage must lie above 0 and be at most 1", got=f"coverage={coverage}", fix="Pass coverage=0.8"
                )
        # Compare with the ratios k / N: ceil(c * N) may be too large, because 0.07 * 100 is slightly more than 7.
        wanted = torch.tensor(list(coverages), dtype=torch.float64)
        return self.risk[torch.searchsorted(self.coverage, wanted)]


def risk_coverage(confidence_B: Shaped[Tensor, "..."], loss_B: Shaped[Tensor, "..."]) -> RiskCoverage:
    """Return the risk at every coverage.

    If rows have equal confidence, the curve is the exact mean over all orders of these rows. It does not depend on the
    order of the input.

    Args:
        confidence_B: the confidence of each row, ``(B,)``. Rows with higher confidence are kept first.
        loss_B: the loss of each row, ``(B,)``: 0 or 1 (or False and True) for errors, or any loss.

    Raises:
        InputError: for no rows, NaN, and different shapes.

    >>> risk_coverage(torch.tensor([0.9, 0.8, 0.7]), torch.tensor([0.0, 1.0, 0.0])).risk
    tensor([0.0000, 0.5000, 0.3333], dtype=torch.float64)
    """
    if confidence_B.ndim != 1 or confidence_B.shape != loss_B.shape or len(loss_B) == 0:
        raise InputError(
            "a risk-coverage curve needs a confidence and a loss for each row, and at least one row",
            got=f"shapes {tuple(confidence_B.shape)} and {tuple(loss_B.shape)}",
            fix="Pass prediction.confidence and (prediction.labels != y)",
        )
    confidence, loss = confidence_B.detach().cpu().double(), loss_B.detach().cpu().double()
    if bool(confidence.isnan().any() | loss.isnan().any()):
        raise InputError(
            "confidences and losses must not be NaN",
            got=f"{int(confidence.isnan().sum())} and {int(loss.isnan().sum())} NaN",
            fix="Check the inputs for NaN and infinities",
        )
    order = confidence.argsort(descending=True)
    _, group, count = torch.unique_consecutive(confidence[order], return_inverse=True, return_counts=True)
    mean = torch.zeros(len(count), dtype=torch.float64).index_add_(0, group, loss[order]) / count
    taken = torch.arange(1, len(loss) + 1, dtype=torch.float64)
    return RiskCoverage(coverage=taken / len(loss), risk=mean[group].cumsum(0) / taken)


def risk_coverage_of(prediction: Prediction) -> RiskCoverage | None:
    """Return the error rate at every coverage, with the probability of the predicted class as confidence.

    For predictions of numbers and binary labels the result is None.

    Raises:
        InputError: for no targets, no rows, and NaN.
    """
    if prediction.likelihood.target_kind != "class":
        return None
    if prediction.targets is None:
        raise InputError(
            "a risk-coverage curve needs a prediction with targets",
            got="a prediction without targets",
            fix="Pass the targets: ensemble.predict(x, targets=y)",
        )
    prediction = prediction.by_row()
    assert prediction.targets is not None
    return risk_coverage(prediction.confidence, prediction.labels != prediction.targets)


def aurc(confidence_B: Shaped[Tensor, "..."], loss_B: Shaped[Tensor, "..."]) -> Float[Tensor, ""]:
    """The area under the risk-coverage curve (Geifman, Uziel and El-Yaniv 2019); see `risk_coverage`.

    Raises:
        InputError: for no rows, NaN, and different shapes.

    >>> aurc(torch.tensor([0.9, 0.8]), torch.tensor([0, 1]))
    tensor(0.2500, dtype=torch.float64)
    """
    return risk_coverage(confidence_B, loss_B).risk.mean()


def selective_risk(
    confidence_B: Shaped[Tensor, "..."], loss_B: Shaped[Tensor, "..."], coverage: float
) -> Float[Tensor, ""]:
    """Mean loss over the fraction `coverage` of most confident rows, rounded up to an integer number of rows.

    Args:
        confidence_B: see `risk_coverage`.
        loss_B: see `risk_coverage`.
        coverage: the fraction of rows, in (0, 1].

    Raises:
        InputError: for a coverage outside (0, 1], no rows, NaN, and different shapes.

    >>> selective_risk(torch.tensor([0.9, 0.8, 0.7, 0.6]), torch.tensor([0, 0, 1, 1]), 0.5)
    tensor(0., dtype=torch.float64)
    """
    return risk_coverage(confidence_B, loss_B).at([coverage])[0]
