"""What is gained by leaving out the predictions that a network doubts: risk over coverage, as figures and tables."""

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

_LABEL = "Error among those kept, %"
_AT_LABEL = "Coverage: share of examples kept, %"
_MARGINS = (0.62, 0.36, 0.58)  # left, top, bottom; inches


@dataclass(frozen=True, kw_only=True)
class Selective:
    """Risk over coverage on the test data as they are: ``[wide, narrow]`` SVG, and the table."""

    figures: Sequence[str]
    table: Table


def selective(
    comparison: Comparison, found: SelectiveComparison | None, *, sizes: Mapping[str, tuple[float, float]]
) -> Selective | None:
    """The figure in each of `sizes` and the table, of what `motet.experiments.gather` found; None if it found none."""
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
    """Error rates in percent over coverage, one line a method, as SVG.

    Args:
        comparison: whose rows settle the colours.
        shown: rows with their risks at each of `coverage`, a curve a seed.
        coverage: from 0 to 1.
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
        about = "Error rate among the predictions that are kept over how many are kept, one line a method"
        return svg(figure, label=about, prefix=prefix)


def risk_table(comparison: Comparison, shown: Sequence[tuple[Row, SelectiveCurves]]) -> Table:
    """Error rates at the coverages of small tables."""
    coverages = dict.fromkeys(at for _, risks in shown for at in risks.at)
    columns = [
        Column(
            key=f"risk_{at}",
            head=f"{100 * float(at):g}{NO_BREAK}% kept",
            kind="percent",
            explanation=f"Error in percent among the {100 * float(at):g} % of the examples that the network is most "
            "confident about. Lower is better.",
        )
        for at in coverages
    ]
    rows = [
        replace(row, measures={f"risk_{at}": measure(value) for at, value in risks.at.items()}) for row, risks in shown
    ]
    return build_table(comparison, columns, rows)
