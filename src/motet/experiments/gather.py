"""What the evaluations of a comparison's runs found, side by side."""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from motet._internal.own_code import UntrustedCodeError
from motet.evaluation.aggregate import selective_comparison, side_by_side
from motet.evaluation.comparison_records import SideBySide
from motet.evaluation.records import Evaluation
from motet.experiments.evaluate_runs import load_previous_evaluation
from motet.metrics import COVERAGES, risk_coverage_of
from motet.prediction import Prediction


def gather(folder: Path, record: Mapping[str, Any]) -> SideBySide:
    """The evaluations of a comparison's runs, side by side, and the methods' risk-coverage curves.

    The curves are those of the comparison's record, of the runs' predictions, or of their evaluations, whatever there
    is first.

    Args:
        folder: the comparison's.
        record: the comparison's. A method of which some run was not evaluated is left out.

    Raises:
        InputError: for an ``evaluation.json`` with other content than motet writes, naming the field.
    """
    groups, curves = [], []
    for row in record.get("rows") or []:
        key, label = str(row.get("key") or row.get("method")), str(row.get("label"))
        runs = [folder / name for name in row.get("runs") or []]
        evaluations = [load_previous_evaluation(run) for run in runs]
        groups.append((key, label, evaluations))
        of_runs = row.get("risk_coverage") or list(map(_risks_of, runs, evaluations))
        if of_runs and all(map(_is_curve, of_runs)):
            curves.append((key, label, of_runs))
    return replace(side_by_side(groups), selective=selective_comparison(curves))


def _risks_of(folder: Path, evaluation: Evaluation | None) -> Sequence[float] | None:
    file = folder / "predictions.safetensors"
    if file.is_file():
        # A report executes no file of a likelihood outside motet: then only an evaluation can tell.
        with suppress(UntrustedCodeError):
            curve = risk_coverage_of(Prediction.load(file))
            return None if curve is None else curve.at().tolist()
    if evaluation is None or evaluation.ensemble is None or evaluation.ensemble.risk_coverage is None:
        return None
    return evaluation.ensemble.risk_coverage.risk


def _is_curve(curve: object) -> bool:
    return (
        isinstance(curve, list | tuple)
        and len(curve) == len(COVERAGES)
        and all(isinstance(risk, float | int) and (0 <= risk <= 1 or math.isnan(risk)) for risk in curve)
    )
