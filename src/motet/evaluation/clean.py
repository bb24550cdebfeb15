"""Scores of the test split as it is, in ensemble use: all members, or some of them, on each example."""

from collections.abc import Sequence

import torch

from motet.data import Dataset
from motet.ensemble import Ensemble
from motet.evaluation.predict import predict_split
from motet.evaluation.records import CleanScores, PartScores, RiskCurve
from motet.inference.subset import chosen_members, surviving_members
from motet.metrics import COVERAGES, flops, risk_coverage_of, score
from motet.prediction import Prediction

SCORES = (
    *("accuracy", "rmse", "nll", "deviance", "crps", "coverage_90", "coverage_error", "interval_width"),
    *("ece", "brier"),
)
"""Those of `motet.metrics.score` that evaluations keep."""
_PART_SCORES = ("accuracy", "rmse", "nll", "ece", "brier")


def score_clean(ensemble: Ensemble, dataset: Dataset) -> CleanScores:
    """Scores, the operations that one example takes, and, where there are classes, the risk-coverage curve.

    Scores of a regression are in the targets' own unit.

    Args:
        ensemble: on any device.
        dataset: on the same device; its test split is scored.
    """
    example = dataset.prepare(dataset.test.inputs[:1])
    return clean_scores(predict_split(ensemble, dataset, dataset.test), dataset, flops=flops(ensemble.fold(), example))


def score_part(
    ensemble: Ensemble,
    dataset: Dataset,
    *,
    members: int | Sequence[int] | None = None,
    lost: float | Sequence[int] | None = None,
    seed: int = 0,
) -> PartScores:
    """Score the members that run and are not lost: their scores, and the operations that one example takes.

    Args:
        ensemble: on any device.
        dataset: on the same device; its test split is scored.
        members, lost: see `motet.Ensemble.predict`; who is lost at random is drawn once, for all examples.
        seed: of who is lost.

    Raises:
        InputError: for members that are none, repeated or not there.
    """
    chosen = tuple(range(ensemble.members)) if members is None else chosen_members(members, ensemble.members)
    if lost is not None:
        chosen = surviving_members(lost, chosen, ensemble.members, generator=torch.Generator().manual_seed(seed))
    part = ensemble.subset(chosen)
    return PartScores(
        members=chosen,
        scores=in_own_units(predict_split(part, dataset, dataset.test), dataset, _PART_SCORES),
        flops=flops(part.fold(), dataset.prepare(dataset.test.inputs[:1])),
    )


def clean_scores(prediction: Prediction, dataset: Dataset, *, flops: int, seed: int | None = None) -> CleanScores:
    """A prediction of the test split, scored."""
    curve = risk_coverage_of(prediction)
    risks = None if curve is None else RiskCurve(coverage=COVERAGES, risk=tuple(curve.at().tolist()), area=curve.area)
    return CleanScores(scores=in_own_units(prediction, dataset, SCORES), risk_coverage=risks, flops=flops, seed=seed)


def in_own_units(prediction: Prediction, dataset: Dataset, names: tuple[str, ...]) -> dict[str, float]:
    """Those scores of a prediction that are called so, in the targets' own unit."""
    scores = dataset.spec.in_own_units(score(prediction))
    return {name: value for name, value in scores.items() if name in names}
