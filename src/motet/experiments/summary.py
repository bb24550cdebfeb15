"""One row of a comparison, put together: its runs over all seeds."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

import torch

from motet.experiments.entry import Entry
from motet.experiments.run import Run
from motet.metrics import coverage, disagreement_matrix, reliability, risk_coverage_of
from motet.metrics.scores import as_classes, checked
from motet.prediction import Prediction

_LEVELS = tuple(round(0.05 * step, 2) for step in range(1, 20))


def summarise(entry: Entry, runs: Sequence[Run], latency: Mapping[str, float], *, model: str) -> dict[str, Any]:
    """Scores with their standard errors over seeds, cost, and the tables behind the report's figures.

    Args:
        entry: the method and the width of its model.
        runs: its finished runs, one a seed.
        latency: ratio, seconds, low and high, as `motet.metrics.Latency` has them.
        model: the row's model, for people to read.
    """
    method = entry.method
    scores = [run.scores["test"] for run in runs]
    predictions = [run.prediction for run in runs]
    row: dict[str, Any] = {
        "method": method.name,
        "key": entry.key,
        "label": entry.label,
        "width": entry.width,
        "model": model,
        "members": method.size,
        "summary": method.summary,
        "settings": str(method),
        "scores": {key: mean_and_error([score[key] for score in scores]) for key in scores[0]},
        "cost": {
            "parameters": runs[0].scores["cost"]["parameters"],
            "flops": runs[0].scores["cost"]["flops"],
            "latency_ratio": latency["ratio"],
            "latency_ratio_low": latency["low"],
            "latency_ratio_high": latency["high"],
            "latency_seconds": latency["seconds"],
            "train_seconds": mean_and_error([run.scores["cost"]["train_seconds"] for run in runs]),
        },
        "reliability": None,
        "risk_coverage": None,
        "coverage": None,
        "disagreement_matrix": None,
        "histories": [run.history for run in runs],
        "runs": [run.folder.name for run in runs],
    }
    if predictions[0].likelihood.has_order:
        row["coverage"] = covered(predictions)
    else:
        classes = [as_classes(*checked(prediction)) for prediction in predictions]
        row["reliability"] = bins(torch.cat([each.probs for each, _ in classes]), torch.cat([y for _, y in classes]))
        curves = [risk_coverage_of(each) for each, _ in classes]
        row["risk_coverage"] = [curve.at().tolist() for curve in curves if curve is not None]
        matrices = torch.stack([disagreement_matrix(each.outputs_BMC) for each, _ in classes])
        row["disagreement_matrix"] = matrices.mean(dim=0).tolist()
    return row


def covered(predictions: Sequence[Prediction]) -> list[dict[str, float]]:
    """The share of targets inside central intervals of 19 levels, mean over seeds."""
    share = torch.stack([coverage(prediction, _LEVELS) for prediction in predictions]).mean(dim=0)
    return [{"level": level, "coverage": value} for level, value in zip(_LEVELS, share.tolist(), strict=True)]


def mean_and_error(values: Sequence[float | None]) -> dict[str, float | None]:
    """Mean and standard error over seeds; null where a value is missing, or with one seed for the error.

    >>> mean_and_error([1.0, 3.0])
    {'mean': 2.0, 'standard_error': 1.0}
    """
    known = [value for value in values if value is not None and math.isfinite(value)]
    if not known or len(known) < len(values):
        return {"mean": None, "standard_error": None}
    error = stdev(known) / math.sqrt(len(known)) if len(known) > 1 else None
    return {"mean": fmean(known), "standard_error": error}


def bins(probs: torch.Tensor, targets: torch.Tensor) -> list[dict[str, float]]:
    """The reliability diagram's bins, one dictionary each."""
    table = reliability(probs, targets)
    columns = {name: getattr(table, name).tolist() for name in ("low", "high", "count", "confidence", "accuracy")}
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]
