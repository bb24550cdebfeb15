"""The table of the exits, for comparisons with methods that have exits at several depths."""

import math
from dataclasses import replace

from motet.experiments.records import ComparisonExit, Measure
from motet.report.columns import COMPARED, Column
from motet.report.record import Comparison, Row
from motet.report.table import Table, build_table

_DEPTH = Column(
    key="depth",
    head="Layers before it",
    better="neither",
    kind="percent",
    explanation="Percentage of the network's layers that come before the exit.",
)
_WEIGHT = Column(
    key="weight",
    head="Weight",
    better="neither",
    explanation="Weight of the exit in the ensemble's prediction, mean over members: equal, or learned.",
)
_SCORES = [column for column in COMPARED if column.key in ("accuracy", "rmse", "nll", "crps", "ece")]


def exit_table(comparison: Comparison) -> Table | None:
    """Return a table with a row for each exit of each method; None if no method has exits."""
    rows = [
        _with_exit(row, number, each)
        for row in comparison.rows
        for number, each in enumerate(row.record.exits or (), start=1)
    ]
    return build_table(comparison, [_DEPTH, _WEIGHT, *_SCORES], rows) if rows else None


def _with_exit(row: Row, number: int, each: ComparisonExit) -> Row:
    place = f"after {each.place}" if each.place else "at the end"
    measures = {"depth": Measure(mean=each.depth, standard_error=math.nan), "weight": each.weight, **each.scores}
    label = f"{row.label}, exit {number}, {place}"
    return replace(row, record=replace(row.record, label=label, members=1), measures=measures)
