"""Selective prediction: the error rate over coverage, as figures and tables."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from motet.evaluation.comparison_records import SelectiveComparison, SelectiveCurves
from motet.plots.curves import plot_curves
from motet.plots.figure import new_figure, right_margin, svg
from motet.plots.style import style
from motet.plots.tables import number
from motet.report.columns import Column
from motet.report.numbers import NO_BREAK
from motet.report.record import Comparison, Row, measure
from motet.report.table import Table, build_table

_LABEL = "Error rate of kept predictions, %"
_AT_LABEL = "Coverage: fraction of examples kept, %"
_MARGINS = (0.62, 0.36, 0.58)  # left, top, bottom; inches


@dataclass(frozen=True, kw_only=True)
class Selective:
    """The error rate over coverage on unshifted test data: ``[wide, narrow]`` SVG, and the table."""

    figures: Sequence[str]
    table: Table


def selective(
    comparison: Comparison, found: SelectiveComparison | None, *, sizes: Mapping[str, tuple[float, float]]
) -> Selective | None:
    """Return the figure in each of the `sizes`, and the table; None if there are no curves.

    Args:
        comparison: the comparison.
        found: the curves, from `motet.experiments.gather`.
        sizes: names and sizes of the figures, in inches.
    """
    methods = {} if found is None else {method.key: method.risks for method in found.methods}
    shown = [(row, methods[row.key]) for row in comparison.rows if row.key in methods]
    if found is None or not shown:
        return None
    figures = [
        risk_figure(comparison, shown, found.coverage, size=size, prefix=f"selective-{name}")
        for name, size in sizes.items()
    ]
    return Selective(figures=figures, table=risk_table(comparison, shown))


def risk_figure(
    comparison: Comparison,
    shown: Sequence[tuple[Row, SelectiveCurves]],
    coverage: Sequence[float],
    *,
    size: tuple[float, float],
    prefix: str,
) -> str:
    """Return error rates in percent over coverage, one line per method, as SVG.

    Args:
        comparison: the comparison, whose rows determine the colours.
        shown: the rows to draw, each with one curve per seed, which has an error rate for each of `coverage`.
        coverage: the coverages, from 0 to 1.
        size: width and height in inches.
        prefix: see `motet.plots.figure.svg`.
    """
    curves = {row.index: risks.curves for row, risks in shown}
    labels = [row.label for row in comparison.rows]
    histories = [
        [
            [
                {"coverage": round(100 * at), "risk": 100 * number(risk)}
                for at, risk in zip(coverage, curve, strict=True)
            ]
            for curve in curves.get(index, ())
        ]
        for index in range(len(labels))
    ]
    left, top, bottom = _MARGINS
    with style():
        figure, ax = new_figure(size, (left, right_margin([row.label for row, _ in shown]), top, bottom))
        plot_curves(
            ax,
            labels,
            histories,
            value="risk",
            value_label=_LABEL,
            at="coverage",
            at_label=_AT_LABEL,
            log=False,
        )
        ax.set_ylim(bottom=0.0)
        about = "Error rate of kept predictions against the fraction kept, one line per method"
        return svg(figure, label=about, prefix=prefix)


def risk_table(comparison: Comparison, shown: Sequence[tuple[Row, SelectiveCurves]]) -> Table:
    """Return a table of error rates at the coverages that were recorded for tables."""
    coverages = dict.fromkeys(at for _, risks in shown for at in risks.at)
    columns = [
        Column(
            key=f"risk_{at}",
            head=f"{100 * float(at):g}{NO_BREAK}% kept",
            kind="percent",
            explanation=f"Error rate in percent on the {100 * float(at):g} % of examples with the highest "
            "confidence. Lower is better.",
        )
        for at in coverages
    ]
    rows = [
        replace(row, measures={f"risk_{at}": measure(value) for at, value in risks.at.items()}) for row, risks in shown
    ]
    return build_table(comparison, columns, rows)
