"""Tables of the report: the columns that have values, and the text of the cells."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from motet.experiments.records import Measure
from motet.report.columns import Column, columns_for
from motet.report.numbers import MISSING, THIN, TIMES, counted, decimals, duration_unit, fixed, spread
from motet.report.record import Comparison, Row


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A cell of a table. `sort` is the value by which rows are sorted; it is empty if there is no number."""

    text: str
    error: str = ""
    sort: str = ""
    best: bool = False
    title: str = ""


@dataclass(frozen=True, kw_only=True)
class Table:
    """Columns, and one row of cells for each method."""

    columns: Sequence[Column]
    rows: Sequence[tuple[Row, Sequence[Cell]]]


_ERROR = "mean ± standard error over the seeds"


def build_table(comparison: Comparison, columns: Sequence[Column], rows: Sequence[Row] | None = None) -> Table:
    """Return the table of the `columns` for which at least one row has a number.

    Args:
        comparison: the comparison.
        columns: the columns.
        rows: the rows. All rows of the comparison if None.
    """
    shown = comparison.rows if rows is None else rows
    columns = columns_for(comparison.record.data, columns)
    kept = [column for column in columns if any(row.measure(column.key).known for row in shown)]
    by_column = [_cells(column, shown) for column in kept]
    return Table(columns=kept, rows=[(row, [cells[i] for cells in by_column]) for i, row in enumerate(shown)])


def _cells(column: Column, rows: Sequence[Row]) -> list[Cell]:
    measures = [row.measure(column.key) for row in rows]
    write = _WRITERS[column.kind](measures)
    texts = [write(measure) for measure in measures]
    known = [measure.mean for measure in measures if measure.known]
    best = ""
    if column.better != "neither" and len(known) > 1:
        target = min(known) if column.better == "lower" else max(known)
        best = next(text for (text, _), m in zip(texts, measures, strict=True) if m.known and m.mean == target)
    if column.key == "latency_ratio" and _not_apart(rows):
        best = ""
    # All cells with the best text are marked, because the table does not show smaller differences.
    marked = [m.known and text == best for (text, _), m in zip(texts, measures, strict=True)]
    return [
        Cell(
            text=text,
            error=error or _quartiles(column, row),
            sort=repr(measure.mean) if measure.known else "",
            best=mark and not all(marked),
            title=_title(column, row),
        )
        for (text, error), measure, mark, row in zip(texts, measures, marked, rows, strict=True)
    ]


def _not_apart(rows: Sequence[Row]) -> bool:
    """Return whether the lowest latency and another one are not apart: one of them is between the other's quartiles."""
    known = sorted((row for row in rows if row.measure("latency_ratio").known), key=_ratio)
    if not known:
        return False
    lowest = known[0]
    above = lowest.latency_quartiles[1] if lowest.latency_quartiles else -math.inf
    return any(
        _ratio(row) <= above or (row.latency_quartiles is not None and row.latency_quartiles[0] <= _ratio(lowest))
        for row in known[1:]
    )


def _ratio(row: Row) -> float:
    return row.measure("latency_ratio").mean


def _title(column: Column, row: Row) -> str:
    measure = row.measure(column.key)
    if not measure.known:
        return "not measured, or not defined for this method"
    if column.key == "latency_ratio" and row.measure("latency_seconds").known:
        seconds = row.measure("latency_seconds").mean
        size, unit = duration_unit(seconds)
        rounds = row.measure("latency_rounds")
        over = f", the median of {rounds.mean:.0f} rounds" if rounds.mean > 1 else ""
        return f"measured: {seconds / size:.3g} {unit}{over}"
    if column.kind == "count":
        return f"{measure.mean:,.0f}"
    return _ERROR if measure.has_error else ""


def _quartiles(column: Column, row: Row) -> str:
    """Return the quartiles of a measured latency in brackets; nothing for the single network, which is 1."""
    if column.key != "latency_ratio" or row.latency_quartiles is None:
        return ""
    return spread(*row.latency_quartiles)


_Write = Callable[[Measure], tuple[str, str]]


def _number(measures: Sequence[Measure], scale: float = 1.0, unit: str = "", places: int | None = None) -> _Write:
    scaled = [Measure(mean=scale * m.mean, standard_error=scale * m.standard_error) for m in measures]
    digits = decimals(scaled) if places is None else places
    shows_errors = any(m.has_error for m in measures)

    def write(measure: Measure) -> tuple[str, str]:
        if not measure.known:
            return MISSING, ""
        error = ""
        if shows_errors:
            error = f"± {fixed(scale * measure.standard_error, digits) if measure.has_error else MISSING}"
        return fixed(scale * measure.mean, digits) + unit, error

    return write


def _seconds(measures: Sequence[Measure]) -> _Write:
    size, unit = duration_unit(max((m.mean for m in measures if m.known), default=1.0))
    return _number(measures, 1 / size, f"{THIN}{unit}")


def _count(measures: Sequence[Measure]) -> _Write:
    return lambda measure: (counted(measure.mean) if measure.known else MISSING, "")


_WRITERS: Mapping[str, Callable[[Sequence[Measure]], _Write]] = {
    "number": _number,
    "percent": lambda measures: _number(measures, 100.0),
    "count": _count,
    "ratio": lambda measures: _number(measures, places=2, unit=TIMES),
    "seconds": _seconds,
}
