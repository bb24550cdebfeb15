"""Summarise the runs of one method over all seeds: one row of a comparison."""

from collections.abc import Sequence

import torch

from motet.errors import InputError
from motet.evaluation.aggregate import mean_over_seeds
from motet.experiments.entry import Entry
from motet.experiments.records import (
    ComparisonCost,
    ComparisonExit,
    ComparisonRow,
    CoverageLevel,
    Measure,
    ReliabilityBin,
)
from motet.experiments.run import Run
from motet.metrics import Latency, coverage, disagreement_matrix, reliability, risk_coverage_of
from motet.metrics.scores import as_classes, checked
from motet.prediction import Prediction

_LEVELS = tuple(round(0.05 * step, 2) for step in range(1, 20))


def summarise(entry: Entry, runs: Sequence[Run], latency: Latency, *, model: str) -> ComparisonRow:
    """Return scores with their standard errors over seeds, cost, and the tables for the report's figures.

    Args:
        entry: the method and the width of its model.
        runs: its finished runs, one for each seed.
        latency: the latency of its network, relative to the single network's.
        model: the row's model, in words.

    Raises:
        InputError: if runs do not have the same scores.
    """
    method = entry.method
    _check_alike(runs)
    predictions = [run.prediction for run in runs]
    ordered = predictions[0].likelihood.has_order
    classes = [] if ordered else [as_classes(*checked(prediction)) for prediction in predictions]
    return ComparisonRow(
        method=method.name,
        key=entry.key,
        label=entry.label,
        width=entry.width,
        model=model,
        members=method.members,
        summary=method.summary,
        settings=str(method),
        scores={name: mean_over_seeds([run.scores.test[name] for run in runs]) for name in runs[0].scores.test},
        cost=ComparisonCost(
            parameters=runs[0].scores.cost.parameters,
            flops=runs[0].scores.cost.flops,
            latency_ratio=latency.ratio,
            latency_ratio_low=latency.low,
            latency_ratio_high=latency.high,
            latency_seconds=latency.seconds,
            train_seconds=mean_over_seeds([run.scores.cost.train_seconds for run in runs]),
            latency_rounds=latency.rounds,
        ),
        reliability=_all_bins(classes) if classes else None,
        risk_coverage=_risks([each for each, _ in classes]) if classes else None,
        coverage=covered(predictions) if ordered else None,
        disagreement_matrix=_disagreements([each for each, _ in classes]) if classes else None,
        histories=tuple(tuple(run.history) for run in runs),
        runs=tuple(run.folder.name for run in runs),
        targets=_targets(runs),
        exits=_exits(runs),
    )


def _targets(runs: Sequence[Run]) -> dict[str, tuple[Measure, ...]] | None:
    """Return the scores of each of several targets, mean over seeds; None for one target."""
    found = [run.scores.test_targets for run in runs]
    if not all(found):
        return None
    return {
        name: tuple(map(mean_over_seeds, zip(*(each[name] for each in found if each is not None), strict=True)))
        for name in found[0] or ()
    }


def _exits(runs: Sequence[Run]) -> tuple[ComparisonExit, ...] | None:
    """Return the scores of each exit, means over seeds; None for a method without exits, or if a run lacks them."""
    found = [run.scores.test_exits or () for run in runs]
    if len({tuple(each.place for each in exits) for exits in found}) != 1:
        return None
    same_exit = list(zip(*found, strict=True))
    return (
        tuple(
            ComparisonExit(
                place=exits[0].place,
                depth=exits[0].depth,
                weight=mean_over_seeds([each.weight for each in exits]),
                scores={name: mean_over_seeds([each.scores[name] for each in exits]) for name in exits[0].scores},
            )
            for exits in same_exit
        )
        or None
    )


def covered(predictions: Sequence[Prediction]) -> tuple[CoverageLevel, ...]:
    """Return the fraction of targets inside central intervals of 19 levels, mean over seeds."""
    share = torch.stack([coverage(prediction, _LEVELS) for prediction in predictions]).mean(dim=0)
    return tuple(CoverageLevel(level=at, coverage=value) for at, value in zip(_LEVELS, share.tolist(), strict=True))


def bins(probs: torch.Tensor, targets: torch.Tensor) -> tuple[ReliabilityBin, ...]:
    """Return the reliability diagram's bins."""
    table = reliability(probs, targets)
    columns = {name: getattr(table, name).tolist() for name in ("low", "high", "count", "confidence", "accuracy")}
    return tuple(
        ReliabilityBin(**dict(zip(columns, values, strict=True))) for values in zip(*columns.values(), strict=True)
    )


def _all_bins(classes: Sequence[tuple[Prediction, torch.Tensor]]) -> tuple[ReliabilityBin, ...]:
    """Return the bins of all seeds' predictions together."""
    return bins(torch.cat([each.probs for each, _ in classes]), torch.cat([targets for _, targets in classes]))


def _risks(predictions: Sequence[Prediction]) -> tuple[tuple[float, ...], ...]:
    """Return each seed's error rate over coverage."""
    curves = [risk_coverage_of(prediction) for prediction in predictions]
    return tuple(tuple(curve.at().tolist()) for curve in curves if curve is not None)


def _disagreements(predictions: Sequence[Prediction]) -> tuple[tuple[float, ...], ...]:
    """Return the fractions of rows on which members disagree, mean over seeds."""
    matrices = torch.stack([disagreement_matrix(prediction.outputs_BMC) for prediction in predictions])
    return tuple(tuple(line) for line in matrices.mean(dim=0).tolist())


def _check_alike(runs: Sequence[Run]) -> None:
    """Raise `InputError` if a run lacks scores that another has, because its file was changed."""
    names = runs[0].scores.test.keys()
    for run in runs:
        if odd := sorted(names ^ run.scores.test.keys()):
            raise InputError(
                f"{run.folder / 'scores.json'} must have the same scores as {runs[0].folder / 'scores.json'}",
                got=f"{odd[0]} in one of them",
                fix="Remove both scores.json and run again: the scores are computed again, nothing is trained",
            )
