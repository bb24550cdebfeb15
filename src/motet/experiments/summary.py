"""One row of a comparison, put together: its runs over all seeds."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

import torch

from motet.experiments.entry import Entry
from motet.experiments.run import Run
from motet.likelihoods import Categorical
from motet.metrics import disagreement_matrix, reliability, risk_coverage_of


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
        "disagreement_matrix": None,
        "histories": [run.history for run in runs],
        "runs": [run.folder.name for run in runs],
    }
    if isinstance(predictions[0].likelihood, Categorical):
        targets = torch.cat([prediction.targets for prediction in predictions if prediction.targets is not None])
        row["reliability"] = bins(torch.cat([prediction.probs for prediction in predictions]), targets)
        curves = [risk_coverage_of(prediction) for prediction in predictions]
        row["risk_coverage"] = [curve.at().tolist() for curve in curves if curve is not None]
        matrices = torch.stack([disagreement_matrix(prediction.outputs_BMC) for prediction in predictions])
        row["disagreement_matrix"] = matrices.mean(dim=0).tolist()
    return row


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
