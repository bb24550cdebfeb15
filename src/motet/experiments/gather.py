"""Collect the evaluations of a comparison's runs."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from motet._internal.own_code import UntrustedCodeError
from motet.evaluation.aggregate import selective_comparison, side_by_side
from motet.evaluation.comparison_records import SideBySide
from motet.evaluation.records import Evaluation
from motet.experiments.evaluate_runs import load_previous_evaluation
from motet.experiments.records import Comparison, as_comparison
from motet.metrics import risk_coverage_of
from motet.prediction import Prediction


def gather(folder: Path, record: Comparison | Mapping[str, object]) -> SideBySide:
    """Return the evaluations of a comparison's runs, method by method, and their risk-coverage curves.

    The curves are taken from the first source that has them: the comparison's record, the runs' predictions, or their
    evaluations.

    Args:
        folder: the comparison's folder.
        record: the comparison's record. A method is left out if one of its runs was not evaluated.

    Raises:
        InputError: for a comparison or an ``evaluation.json`` with other content than motet writes, naming the field.
    """
    groups, curves = [], []
    for row in as_comparison(record).rows:
        runs = [folder / name for name in row.runs]
        evaluations = [load_previous_evaluation(run) for run in runs]
        groups.append((row.key, row.label, evaluations))
        of_runs: Sequence[Sequence[float] | None] = row.risk_coverage or list(map(_risks_of, runs, evaluations))
        known = [curve for curve in of_runs if curve is not None]
        if known and len(known) == len(of_runs):
            curves.append((row.key, row.label, known))
    return replace(side_by_side(groups), selective=selective_comparison(curves))


def _risks_of(folder: Path, evaluation: Evaluation | None) -> Sequence[float] | None:
    file = folder / "predictions.safetensors"
    if file.is_file():
        # A report does not execute the file of a likelihood outside motet, so the curves come from evaluations only.
        with suppress(UntrustedCodeError):
            curve = risk_coverage_of(Prediction.load(file))
            return None if curve is None else curve.at().tolist()
    if evaluation is None or evaluation.ensemble is None or evaluation.ensemble.risk_coverage is None:
        return None
    return evaluation.ensemble.risk_coverage.risk
