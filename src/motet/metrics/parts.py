"""Scores of predictions with so many positions that they are computed for some examples after others."""

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import final

import torch
from torch import Tensor

from motet.metrics.calibration import Reliability, ece_of, reliability_of
from motet.metrics.numbers import LEVELS, coverage, coverage_error
from motet.prediction import Prediction

AT_ONCE = 2**24
"""The number of outputs of all members that are scored at once: 64 MB. One example may have more."""

Scores = Callable[[Prediction], dict[str, float]]
MemberScores = Callable[[Prediction], dict[str, list[float]]]
AsClasses = Callable[[Prediction, Tensor], tuple[Prediction, Tensor]]


def has_parts(prediction: Prediction) -> bool:
    """Whether a prediction has positions, and too many of them to be scored at once."""
    has_positions = prediction.likelihood.output_axis is not None
    return has_positions and prediction.targets is not None and prediction.outputs_BMC.numel() > AT_ONCE


def parts_of(prediction: Prediction) -> Iterator[Prediction]:
    """Yield the prediction's scored positions as rows, a few examples at a time; examples without any are left out."""
    y = prediction.targets
    assert y is not None
    step = max(1, AT_ONCE // max(1, prediction.outputs_BMC[0].numel()))
    for start in range(0, len(y), step):
        chosen = slice(start, start + step)
        rows = replace(prediction, outputs_BMC=prediction.outputs_BMC[chosen], targets=y[chosen]).by_row()
        if len(rows.outputs_BMC):
            yield rows


def score_parts(
    prediction: Prediction, score: Scores, member_scores: MemberScores, as_classes: AsClasses
) -> dict[str, float]:
    """Return what `motet.metrics.score` returns for all positions at once.

    Args:
        prediction: a prediction with positions, of which one or more are scored.
        score: `motet.metrics.score`.
        member_scores: `motet.metrics.member_scores`.
        as_classes: `motet.metrics.scores.as_classes`.
    """
    means, squares, bins, overlap = _Means(), _Means(), _Bins(), _Overlap()
    for part in parts_of(prediction):
        rows, found = len(part.outputs_BMC), score(part)
        means.add(found, rows)
        if part.likelihood.has_order:
            members = {str(m): rmse**2 for m, rmse in enumerate(member_scores(part)["rmse"])}
            squares.add({"rmse": found["rmse"] ** 2, **members}, rows)
        else:
            assert part.targets is not None
            classes, labels = as_classes(part, part.targets)
            probs_BC = classes.mean
            bins.add(probs_BC, labels.long())
            overlap.add(probs_BC.argmax(dim=-1), labels.long(), probs_BC.shape[1])
    found = means.result()
    if prediction.likelihood.has_order:
        mean_square = squares.result()
        found["rmse"] = math.sqrt(mean_square.pop("rmse"))
        found["member_rmse"] = sum(map(math.sqrt, mean_square.values())) / len(mean_square)
        covered = torch.tensor([found[f"coverage_{100 * level:.0f}"] for level in LEVELS])
        found["coverage_error"] = float(coverage_error(covered))
    else:
        error = 1 - found["accuracy"]
        found["ece"], found["mean_iou"] = bins.ece(), overlap.mean_iou()
        found["disagreement_over_error"] = found["disagreement"] / error if error > 0 else math.nan
    return found


def member_score_parts(
    prediction: Prediction, member_scores: MemberScores, as_classes: AsClasses
) -> dict[str, list[float]]:
    """Return what `motet.metrics.member_scores` returns for all positions at once.

    Args:
        prediction, member_scores, as_classes: see `score_parts`.
    """
    each = [(_Means(), _Bins(), _Means()) for _ in range(prediction.members)]
    for part in parts_of(prediction):
        rows, found = len(part.outputs_BMC), member_scores(part)
        for m, (means, bins, covered) in enumerate(each):
            own = {name: values[m] for name, values in found.items()}
            means.add({**own, "rmse": own["rmse"] ** 2} if "rmse" in own else own, rows)
            one = replace(part, outputs_BMC=part.outputs_BMC[:, m : m + 1])
            if part.likelihood.has_order:
                covered.add({str(at): float(share) for at, share in zip(LEVELS, coverage(one), strict=True)}, rows)
            else:
                assert part.targets is not None
                classes, labels = as_classes(one, part.targets)
                bins.add(classes.mean, labels.long())
    result: dict[str, list[float]] = {}
    for means, bins, covered in each:
        own = means.result()
        if prediction.likelihood.has_order:
            own["rmse"] = math.sqrt(own["rmse"])
            own["coverage_error"] = float(coverage_error(torch.tensor(list(covered.result().values()))))
        else:
            own["ece"] = bins.ece()
        for name, value in own.items():
            result.setdefault(name, []).append(value)
    return result


@final
class _Means:
    """Means of scores, weighted with rows, in double precision."""

    def __init__(self) -> None:
        self.rows = 0
        self.sums: dict[str, float] = {}

    def add(self, scores: dict[str, float], rows: int) -> None:
        self.rows += rows
        for name, value in scores.items():
            self.sums[name] = self.sums.get(name, 0.0) + rows * value

    def result(self) -> dict[str, float]:
        return {name: value / self.rows for name, value in self.sums.items()}


@final
class _Bins:
    """The data of a reliability diagram, added up over parts."""

    def __init__(self) -> None:
        self.sums: Tensor | None = None

    def add(self, probs_BC: Tensor, y_B: Tensor) -> None:
        self.diagram = reliability_of(probs_BC.amax(dim=-1), probs_BC.argmax(dim=-1) == y_B)
        count = self.diagram.count.cpu().double()
        means = (self.diagram.confidence, self.diagram.accuracy)
        own = torch.stack([count, *(count * mean.cpu().double().nan_to_num(nan=0.0) for mean in means)])
        self.sums = own if self.sums is None else self.sums + own

    def ece(self) -> float:
        assert self.sums is not None
        count, confidence, accuracy = self.sums
        diagram: Reliability = replace(
            self.diagram, count=count.long(), confidence=confidence / count, accuracy=accuracy / count
        )
        return float(ece_of(diagram))


@final
class _Overlap:
    """Intersections and unions of predicted and true positions of each class, added up over parts."""

    def __init__(self) -> None:
        self.both = self.union = torch.zeros(0, dtype=torch.long)

    def add(self, found: Tensor, truth: Tensor, classes: int) -> None:
        both = torch.bincount(truth[found == truth], minlength=classes)
        union = torch.bincount(found, minlength=classes) + torch.bincount(truth, minlength=classes) - both
        first = len(self.both) == 0
        self.both, self.union = (both, union) if first else (self.both + both, self.union + union)

    def mean_iou(self) -> float:
        present = self.union > 0
        return float((self.both[present].double() / self.union[present].double()).mean())
