"""Risk-coverage curves of runs, and of a comparison's methods side by side."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from motet.experiments.evaluate import earlier
from motet.experiments.records import Comparison
from motet.experiments.summary import mean_and_error
from motet.metrics import COVERAGES, risk_coverage_of
from motet.prediction import Prediction

SHOWN = (0.5, 0.8, 0.9, 0.95, 1.0)
"""The coverages of small tables."""


def risks_at_shown(curves: Sequence[Sequence[float | None]]) -> dict[str, dict[str, float | None]]:
    """Mean and standard error over `curves`, one a seed, at the coverages of small tables: ``{"0.5": {...}, ...}``.

    Args:
        curves: risks at `motet.metrics.COVERAGES`.
    """
    return {f"{at:g}": mean_and_error([curve[COVERAGES.index(at)] for curve in curves]) for at in SHOWN}


def side_by_side_selective(folder: Path, comparison: Comparison) -> dict[str, Any] | None:
    """The curves of a comparison's methods on the test data as they are; None where no run has predictions of classes.

    From the comparison's record, the runs' predictions, or their evaluations, whatever there is first.

    Returns:
        ``coverage``, and ``methods``, each with its ``key``, ``label``, ``curves`` (risks, a list a seed) and ``at``.
    """
    methods = []
    for row in comparison.rows:
        held: list[list[float] | None] = [list(curve) for curve in row.risk_coverage or ()]
        curves = held if held else [_of_run(folder / name) for name in row.runs]
        whole = [curve for curve in curves if curve is not None and _whole(curve)]
        if whole and len(whole) == len(curves):
            methods.append({"key": row.key, "label": row.label, "curves": whole, "at": risks_at_shown(whole)})
    return {"coverage": list(COVERAGES), "methods": methods} if methods else None


def _whole(curve: object) -> bool:
    return (
        isinstance(curve, list)
        and len(curve) == len(COVERAGES)
        and all(isinstance(x, float | int) and math.isfinite(x) for x in curve)
    )


def _of_run(folder: Path) -> list[float] | None:
    file = folder / "predictions.safetensors"
    if file.is_file():
        curve = risk_coverage_of(Prediction.load(file))
        return None if curve is None else curve.at().tolist()
    return ((earlier(folder).get("ensemble") or {}).get("risk_coverage") or {}).get("risk")
