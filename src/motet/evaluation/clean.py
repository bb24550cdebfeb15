"""Scores on the unshifted test split, in ensemble use: all members, or some of them, on each example."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from motet.data import Dataset
from motet.ensemble import Ensemble
from motet.evaluation.exits import score_exits
from motet.evaluation.predict import predict_split
from motet.evaluation.records import CleanScores, PartScores, RiskCurve
from motet.inference.subset import chosen_members, surviving_members
from motet.metrics import COVERAGES, flops, risk_coverage_of, score, target_scores
from motet.prediction import Prediction

SCORES = (
    *("accuracy", "rmse", "nll", "deviance", "crps", "coverage_90", "coverage_error", "interval_width"),
    *("ece", "brier"),
)
"""The scores of `motet.metrics.score` that evaluations record."""
_PART_SCORES = ("accuracy", "rmse", "nll", "ece", "brier")


def score_clean(ensemble: Ensemble, dataset: Dataset) -> CleanScores:
    """Return scores, the operations for one example, and, for classes, the risk-coverage curve.

    Scores of a regression are in the original unit of the targets.

    Args:
        ensemble: an ensemble on any device.
        dataset: a data set on the same device; its test split is scored.
    """
    example = dataset.prepare(dataset.test.inputs[:1])
    scores = clean_scores(predict_split(ensemble, dataset, dataset.test), flops=flops(ensemble.fold(), example))
    return replace(scores, exits=score_exits(ensemble, dataset, dataset.test))


def score_part(
    ensemble: Ensemble,
    dataset: Dataset,
    *,
    members: int | Sequence[int] | None = None,
    lost: float | Sequence[int] | None = None,
    seed: int = 0,
) -> PartScores:
    """Return scores of some members, and the operations for one example.

    Args:
        ensemble: an ensemble on any device.
        dataset: a data set on the same device; its test split is scored.
        members, lost: see `motet.Ensemble.predict`; lost members are drawn once, for all examples.
        seed: the seed for drawing lost members.

    Raises:
        InputError: for an empty, repeated or invalid choice of members.
    """
    chosen = tuple(range(ensemble.members)) if members is None else chosen_members(members, ensemble.members)
    if lost is not None:
        chosen = surviving_members(lost, chosen, ensemble.members, generator=torch.Generator().manual_seed(seed))
    part = ensemble.subset(chosen)
    return PartScores(
        members=chosen,
        scores=some_scores(predict_split(part, dataset, dataset.test), _PART_SCORES),
        flops=flops(part.fold(), dataset.prepare(dataset.test.inputs[:1])),
    )


def clean_scores(prediction: Prediction, *, flops: int, seed: int | None = None) -> CleanScores:
    """Return the scores of a prediction of the test split.

    Args:
        prediction: a prediction of the test split, with targets.
        flops: floating-point operations for one example.
        seed: the seed of throughput use; None for ensemble use.
    """
    curve = risk_coverage_of(prediction)
    risks = None if curve is None else RiskCurve(coverage=COVERAGES, risk=tuple(curve.at().tolist()), area=curve.area)
    return CleanScores(
        scores=some_scores(prediction, SCORES),
        risk_coverage=risks,
        flops=flops,
        seed=seed,
        targets=scores_of_several(prediction),
    )


def scores_of_several(prediction: Prediction) -> dict[str, tuple[float, ...]] | None:
    """Return the scores of each target, see `motet.metrics.target_scores`; None if there is only one target."""
    found = {name: tuple(values) for name, values in target_scores(prediction).items()}
    return found if found and len(next(iter(found.values()))) > 1 else None


def some_scores(prediction: Prediction, names: tuple[str, ...]) -> dict[str, float]:
    """Return some scores of a prediction.

    Args:
        prediction: a prediction with targets.
        names: names of scores.
    """
    return {name: value for name, value in score(prediction).items() if name in names}
