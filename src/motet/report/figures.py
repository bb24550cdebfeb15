"""The figures of the report, as inline SVG."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from motet.plots.coverage import plot_coverage
from motet.plots.curves import plot_curves
from motet.plots.disagreement import plot_disagreement
from motet.plots.figure import new_figure, right_margin, svg
from motet.plots.quality_cost import plot_quality_cost
from motet.plots.reliability import plot_reliability
from motet.plots.style import color, style
from motet.plots.tables import numbers
from motet.report.numbers import TIMES, fixed
from motet.report.record import Comparison, Row

# Sizes in inches. A wide figure is drawn for desktops and again for phones, and the page shows one of the two, because
# a figure that is scaled down would have too small text.
SIZES = {"wide": (7.6, 4.1), "narrow": (4.75, 4.6)}
_RELIABILITY = (3.35, 4.2)
_COVERAGE = (3.35, 3.55)
_MATRIX, _MATRIX_OF_MANY = (2.3, 2.3), (3.35, 3.35)


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One method's figure in a row of panels."""

    row: Row
    note: str
    svg: str


def quality_cost(comparison: Comparison) -> list[str]:
    """Return the plot of the ranking's score against latency as ``[wide, narrow]`` SVG; empty if no method has both."""
    rows, by = comparison.rows, comparison.ranking
    if not any(row.measure(by.key).known and row.measure("latency_ratio").known for row in rows):
        return []
    single = comparison.single
    drawn = []
    with style():
        for name, size in SIZES.items():
            figure, ax = new_figure(size, (0.62, 0.12, 0.36, 0.58))
            plot_quality_cost(
                ax,
                [row.label for row in rows],
                [row.measure("latency_ratio").mean for row in rows],
                [row.measure(by.key).mean for row in rows],
                [row.measure(by.key).standard_error for row in rows],
                cost_ranges=[row.latency_quartiles for row in rows],
                reference=None if single is None else single.index,
                cost_label=f"Latency of one prediction ({TIMES} the single network)",
                score_label=by.title,
            )
            label = f"{by.title} against latency, one point per method; the table above has the numbers"
            drawn.append(svg(figure, label=label, prefix=f"cost-{name}"))
    return drawn


def curves(comparison: Comparison) -> list[str]:
    """Return the training curves as ``[wide, narrow]`` SVG; empty if there is no history.

    They show the ranking's score on the validation data over epochs.
    """
    rows, by = comparison.rows, comparison.ranking
    values = [epoch.get(by.history) for row in rows for run in row.histories for epoch in run]
    if not np.isfinite(numbers(values)).any():
        return []
    labels = [row.label for row in rows]
    drawn = []
    with style():
        for name, size in SIZES.items():
            figure, ax = new_figure(size, (0.62, right_margin(labels), 0.36, 0.58))
            value_label = f"Validation {by.name}"
            plot_curves(ax, labels, [row.histories for row in rows], value=by.history, value_label=value_label)
            label = f"{value_label} over the epochs, one line per method"
            drawn.append(svg(figure, label=label, prefix=f"curves-{name}"))
    return drawn


def reliability(comparison: Comparison) -> list[Panel]:
    """Return a reliability diagram for each method that has bins with predictions."""
    panels = []
    with style():
        for row in comparison.rows:
            if not any(each.count for each in row.reliability):
                continue
            figure, ax = new_figure(_RELIABILITY, (0.55, 0.16, 0.36, 1.4))
            plot_reliability(ax, [asdict(each) for each in row.reliability], color=color(row.index))
            ece = row.measure("ece")
            note = f"ECE {fixed(ece.mean, 3)}" if ece.known else ""
            text = svg(figure, label=f"Reliability diagram of {row.label}. {note}", prefix=f"reliability-{row.index}")
            panels.append(Panel(row=row, note=note, svg=text))
    return panels


def coverage(comparison: Comparison) -> list[Panel]:
    """Return the coverage plot of each method whose coverage was recorded."""
    panels = []
    with style():
        for row in comparison.rows:
            if not row.coverage:
                continue
            figure, ax = new_figure(_COVERAGE, (0.55, 0.16, 0.36, 0.58))
            plot_coverage(ax, [asdict(each) for each in row.coverage], color=color(row.index))
            error = row.measure("coverage_error")
            note = f"coverage error {fixed(error.mean, 3)}" if error.known else ""
            text = svg(figure, label=f"Coverage of the intervals of {row.label}. {note}", prefix=f"cover-{row.index}")
            panels.append(Panel(row=row, note=note, svg=text))
    return panels


def disagreement(comparison: Comparison) -> list[Panel]:
    """Return the disagreement matrix of each method with several members, all with the same colour scale."""
    rows = [row for row in comparison.rows if len(row.disagreement) > 1]
    largest = max((_largest(row.disagreement) for row in rows), default=0.0)
    size = _MATRIX if all(len(row.disagreement) <= 4 for row in rows) else _MATRIX_OF_MANY
    panels = []
    with style():
        for row in rows:
            figure, ax = new_figure(size, (0.25, 0.05, 0.27, 0.03))
            plot_disagreement(ax, row.disagreement, largest=largest)
            mean = row.measure("disagreement")
            note = f"{fixed(100 * mean.mean, 1)}% on average" if mean.known else ""
            label = f"Disagreement of the {len(row.disagreement)} members of {row.label}. {note}"
            panels.append(Panel(row=row, note=note, svg=svg(figure, label=label, prefix=f"members-{row.index}")))
    return panels


def _largest(matrix: Sequence[Sequence[float]]) -> float:
    values = numbers(value for row in matrix for value in row)
    return float(np.nan_to_num(values, nan=0.0).max(initial=0.0))
