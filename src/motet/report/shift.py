"""Robustness: scores under distribution shift, as figures and tables, and out-of-distribution detection."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import numpy as np

from motet.evaluation.comparison_records import (
    Measure,
    MethodOOD,
    MethodUnderShift,
    OODComparison,
    ShiftComparison,
    SideBySide,
)
from motet.plots.curves import plot_curves
from motet.plots.figure import new_figure, right_margin, svg
from motet.plots.style import style
from motet.plots.tables import number, numbers
from motet.report.columns import COMPARED, Column
from motet.report.numbers import NO_BREAK
from motet.report.record import Comparison, Row, measure
from motet.report.selective import risk_figure, risk_table
from motet.report.table import Table, build_table

_SIZE = (4.75, 4.1)  # inches; the width of a phone, and a third of a desktop's
_FIGURES = (
    ("accuracy", "Accuracy, %", 100.0),
    ("rmse", "RMSE", 1.0),
    ("nll", "Negative log-likelihood", 1.0),
    ("ece", "Expected calibration error", 1.0),
)
_AURC = Column(
    key="aurc",
    head="AURC",
    explanation="Area under the risk-coverage curve: the error rate of the most confident predictions, averaged over "
    "the fraction of predictions that are kept. Lower is better.",
)
_MCE = Column(
    key="mce",
    head="mCE",
    explanation="Mean corruption error: errors in percent of the errors of the reference run, averaged over "
    "corruptions. Lower is better.",
)
_SHOWN = {"accuracy", "rmse", "nll", "crps", "ece", "brier"}
_MEANS = (*(column for column in COMPARED if column.key in _SHOWN), _AURC, _MCE)
_SEVERITY = "Severity (0: unshifted data)"
_UNCERTAINTIES = {
    "max_probability": "confidence",
    "entropy": "entropy",
    "mutual_information": "mutual information",
}
_OOD: tuple[tuple[str, str, Literal["lower", "higher"], str], ...] = (
    (
        "auroc",
        f"AUROC{NO_BREAK}%",
        "higher",
        "Probability that an out-of-distribution image has a higher uncertainty than an "
        "in-distribution one (50 is chance)",
    ),
    (
        "fpr95",
        f"FPR95{NO_BREAK}%",
        "lower",
        "Fraction of out-of-distribution images accepted at the threshold that "
        "accepts 95 % of the in-distribution images",
    ),
)

Method = TypeVar("Method", MethodUnderShift, MethodOOD)


@dataclass(frozen=True, kw_only=True)
class Shift:
    """The section of one shift: its name, description, figures and tables."""

    name: str
    about: str
    metric: str
    figures: Sequence[str]
    means: Table
    corruptions: Table
    selective: Table | None
    reference: str


@dataclass(frozen=True, kw_only=True)
class OtherData:
    """The section of another data set: how well each method detects it as out of distribution."""

    name: str
    about: str
    table: Table


def shifts(comparison: Comparison, found: SideBySide | None) -> list[Shift]:
    """Return the section of each shift under which a method was evaluated.

    Args:
        comparison: the comparison.
        found: the result of `motet.experiments.gather`, or None if there are no evaluations.
    """
    return [] if found is None else [_shift(index, each, comparison) for index, each in enumerate(found.shifts)]


def other_data(comparison: Comparison, found: SideBySide | None) -> list[OtherData]:
    """Return the section of each other data set on which a method was evaluated."""
    return [] if found is None else [_other(each, comparison) for each in found.ood]


def _shift(index: int, found: ShiftComparison, comparison: Comparison) -> Shift:
    shown = _rows(found.methods, comparison)
    classes = any("accuracy" in method.clean for _, method in shown)
    kept = [(row, method.selective.mean) for row, method in shown if method.selective is not None]
    figures = _figures(index, shown, comparison)
    if kept:
        figures.append(risk_figure(comparison, kept, found.coverage, size=_SIZE, prefix=f"shift-{index}-risk"))
    references = dict.fromkeys(method.reference for _, method in shown if method.reference)
    return Shift(
        name=found.name,
        about=_about(found),
        metric="Accuracy in %" if classes else _rmse(comparison),
        figures=figures,
        means=build_table(comparison, _MEANS, [_with(row, method.mean) for row, method in shown]),
        corruptions=_corruption_table(comparison, found, shown, classes=classes),
        selective=risk_table(comparison, kept) if kept else None,
        reference=", ".join(references),
    )


def _about(found: ShiftComparison) -> str:
    several = len(found.severities) > 1
    severities = f"severit{'ies' if several else 'y'} {', '.join(map(str, found.severities))}"
    averaged, measured = found.averaged, found.corruptions
    count = f"{len(averaged)} shifts" if len(averaged) > 1 else averaged[0].replace("_", " ")
    if len(averaged) != len(measured):
        count += f" of the {len(measured)} measured"
    return f"means over {count} at {severities}; {found.rows:,} examples each"


def _corruption_table(
    comparison: Comparison, found: ShiftComparison, shown: Sequence[tuple[Row, MethodUnderShift]], *, classes: bool
) -> Table:
    """Return a table of means over severities, with one column per corruption and one row per method."""
    metric, name = ("accuracy", "Accuracy in %") if classes else ("rmse", _rmse(comparison))
    columns = [
        Column(
            key=each,
            head=each.removeprefix("mimmo_").replace("_", " "),
            better="higher" if classes else "lower",
            kind="percent" if classes else "number",
            explanation=f"{name} under {each.replace('_', ' ')}, its mean over severities.",
        )
        for each in found.corruptions
    ]
    rows = [
        _with(row, {each: scores[metric] for each, scores in method.corruptions.items() if metric in scores})
        for row, method in shown
    ]
    return build_table(comparison, columns, rows)


def _figures(index: int, shown: Sequence[tuple[Row, MethodUnderShift]], comparison: Comparison) -> list[str]:
    """Return one figure per score, with the score over severity and one line per method, as SVG."""
    curves = {row.index: method.curves for row, method in shown}
    labels = [row.label for row in comparison.rows]
    drawn = []
    with style():
        for metric, name, scale in _FIGURES:
            histories = [
                [
                    [{"severity": point.severity, metric: scale * number(point.scores.get(metric))} for point in run]
                    for run in curves.get(at, ())
                ]
                for at in range(len(labels))
            ]
            if not np.isfinite(numbers(p[metric] for runs in histories for run in runs for p in run)).any():
                continue
            label = _rmse(comparison) if metric == "rmse" else name
            figure, ax = new_figure(_SIZE, (0.55, right_margin([row.label for row, _ in shown]), 0.36, 0.58))
            plot_curves(ax, labels, histories, value=metric, value_label=label, at="severity", at_label=_SEVERITY)
            about = f"{label} over severity, one line per method; the table has the means"
            drawn.append(svg(figure, label=about, prefix=f"shift-{index}-{metric}"))
    return drawn


def _other(found: OODComparison, comparison: Comparison) -> OtherData:
    rows = [_with(row, _ood_scores(row, method)) for row, method in _rows(found.methods, comparison)]
    columns = [
        Column(
            key=f"{metric}_{name}",
            head=f"{head} {by}",
            better=better,
            kind="percent",
            explanation=f"{meaning}, by {by}. {better.capitalize()} is better.",
        )
        for metric, head, better, meaning in _OOD
        for name, by in _UNCERTAINTIES.items()
    ]
    dropped = found.dropped
    about = f"{found.rows:,} images" + (
        f"; {dropped:,} that occur in the data of the runs were removed" * bool(dropped)
    )
    return OtherData(name=found.dataset, about=about, table=build_table(comparison, columns, rows))


def _ood_scores(row: Row, method: MethodOOD) -> dict[str, Measure]:
    return {
        f"{metric}_{name}": value
        for name, values in method.scores.items()
        if row.members > 1 or name != "mutual_information"  # one member has no mutual information
        for metric, value in (("auroc", values.auroc), ("fpr95", values.fpr95))
    }


def _rows(methods: Sequence[Method], comparison: Comparison) -> list[tuple[Row, Method]]:
    """Return the rows of the comparison that were evaluated, each with its results."""
    found = {method.key: method for method in methods}
    return [(row, found[row.key]) for row in comparison.rows if row.key in found]


def _rmse(comparison: Comparison) -> str:
    return "RMSE (std)" if comparison.mixes_units else "RMSE"


def _with(row: Row, values: Mapping[str, Measure]) -> Row:
    """Return a copy of the row with other measures, for another table."""
    return replace(row, measures={key: measure(value) for key, value in values.items()})
