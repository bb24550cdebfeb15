"""Calibration: whether predictions with confidence p are correct with frequency p."""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Bool, Float, Int, Integer
from torch import Tensor

from motet.errors import InputError
from motet.metrics._checks import check_labels, check_probs, widen


@final
@dataclass(frozen=True, kw_only=True)
class Reliability:
    """The data of a reliability diagram: one value for each confidence bin.

    Attributes:
        low: lower edges, ``(bins,)``. A confidence equal to an edge is in the bin above it.
        high: upper edges, ``(bins,)``. Only the last bin includes its upper edge: confidence 1.
        count: number of rows in each bin, ``(bins,)``.
        confidence: mean confidence of a bin's rows, ``(bins,)``; NaN in an empty bin.
        accuracy: accuracy of a bin's rows, ``(bins,)``; NaN in an empty bin.
    """

    low: Float[Tensor, "bins"]
    high: Float[Tensor, "bins"]
    count: Int[Tensor, "bins"]
    confidence: Float[Tensor, "bins"]
    accuracy: Float[Tensor, "bins"]


def reliability(probs_BC: Float[Tensor, "batch out"], y_B: Integer[Tensor, "batch"], bins: int = 15) -> Reliability:
    """Sort rows by the probability of their most probable class into equal-width bins on [0, 1].

    Args:
        probs_BC: class probabilities ``(B, C)``.
        y_B: class labels ``(B,)``.
        bins: number of bins.

    Raises:
        InputError: for fewer than one bin, no rows, NaN, values that are not probabilities, and labels that have
            another shape or are out of range.

    >>> reliability(torch.tensor([[0.9, 0.1], [0.8, 0.2]]), torch.tensor([0, 1]), bins=2).count
    tensor([0, 2])
    """
    if bins < 1:
        raise InputError("a reliability diagram needs at least 1 bin", got=f"bins={bins}", fix="Pass bins=15")
    check_probs(probs_BC)
    check_labels(y_B, rows=probs_BC.shape[0], classes=probs_BC.shape[1])
    return reliability_of(probs_BC.detach().amax(dim=-1), probs_BC.argmax(dim=-1) == y_B, bins)


def reliability_of(confidence: Float[Tensor, "batch"], correct: Bool[Tensor, "batch"], bins: int = 15) -> Reliability:
    """Return the data of a reliability diagram, computed from confidences and correctness.

    Args:
        confidence: each row's confidence, ``(B,)``.
        correct: whether each row's prediction is correct, ``(B,)``.
        bins: number of bins.
    """
    # The vectors are small, so they are moved to the CPU: double precision is available and sums have a fixed order.
    confidence_B, correct_B = confidence.cpu().double(), correct.cpu().double()
    # Edges are rounded to the dtype of the probabilities, so that 0.2 in float32 equals the edge 3/15, although neither
    # is exactly a fifth. linspace multiplies by a step, and some of its edges are rounded differently.
    edges = (torch.arange(bins + 1, dtype=torch.float64) / bins).to(confidence.dtype).double()
    # Only the inner edges are searched, so that a confidence of 1 (or slightly more, by rounding) is in the last bin.
    bin_B = torch.bucketize(confidence_B, edges[1:-1], right=True)
    count = torch.bincount(bin_B, minlength=bins)
    mean_confidence = torch.bincount(bin_B, weights=confidence_B, minlength=bins) / count
    mean_accuracy = torch.bincount(bin_B, weights=correct_B, minlength=bins) / count
    like = widen(confidence)
    return Reliability(
        low=edges[:-1].to(like),
        high=edges[1:].to(like),
        count=count.to(like.device),
        confidence=mean_confidence.to(like),
        accuracy=mean_accuracy.to(like),
    )


def ece(probs_BC: Float[Tensor, "batch out"], y_B: Integer[Tensor, "batch"], bins: int = 15) -> Float[Tensor, ""]:
    """Expected calibration error, ``sum_b n_b / N |accuracy_b - confidence_b|``. From 0 (best) to 1.

    See Guo et al. 2017 (On Calibration of Modern Neural Networks, https://arxiv.org/abs/1706.04599), equation (3). Bins
    are closed on the left, as in uncertainty-baselines and robustness-metrics.

    Args:
        probs_BC: class probabilities ``(B, C)``.
        y_B: class labels ``(B,)``.
        bins: number of bins.

    Raises:
        InputError: see `reliability`.

    >>> ece(torch.tensor([[0.75, 0.25]]), torch.tensor([0]))
    tensor(0.2500)
    """
    return ece_of(reliability(probs_BC, y_B, bins))


def ece_of(diagram: Reliability) -> Float[Tensor, ""]:
    """Return the expected calibration error, computed from the data of a reliability diagram."""
    gap = (diagram.accuracy - diagram.confidence).abs().nan_to_num(nan=0.0)  # an empty bin has weight 0
    return (diagram.count / diagram.count.sum() * gap).sum()
