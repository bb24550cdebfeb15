"""Risk-coverage curves of runs, and of a comparison's methods side by side."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from motet._internal.own_code import UntrustedCodeError
from motet.experiments.evaluate import earlier
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


def side_by_side_selective(folder: Path, record: Mapping[str, Any]) -> dict[str, Any] | None:
    """The curves of a comparison's methods on the test data as they are; None where no run has predictions of classes.

    From the comparison's record, the runs' predictions, or their evaluations, whatever there is first.

    Returns:
        ``coverage``, and ``methods``, each with its ``key``, ``label``, ``curves`` (risks, a list a seed) and ``at``.
    """
    methods = []
    for row in record.get("rows") or []:
        curves = row.get("risk_coverage") or [_of_run(folder / name) for name in row.get("runs") or []]
        if curves and all(_whole(curve) for curve in curves):
            key, label = str(row.get("key") or row.get("method")), str(row.get("label"))
            methods.append({"key": key, "label": label, "curves": curves, "at": risks_at_shown(curves)})
    return {"coverage": list(COVERAGES), "methods": methods} if methods else None


def _whole(curve: object) -> bool:
    return isinstance(curve, list) and len(curve) == len(COVERAGES) and all(isinstance(x, float | int) for x in curve)


def _of_run(folder: Path) -> list[float] | None:
    file = folder / "predictions.safetensors"
    if file.is_file():
        # A report executes no file of a likelihood outside motet: then only an evaluation can tell.
        with suppress(UntrustedCodeError):
            curve = risk_coverage_of(Prediction.load(file))
            return None if curve is None else curve.at().tolist()
    return ((earlier(folder).get("ensemble") or {}).get("risk_coverage") or {}).get("risk")
