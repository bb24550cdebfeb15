"""The table of each target's score, for comparisons with several targets."""

from dataclasses import replace

from motet.report.columns import Column
from motet.report.record import Comparison, Row
from motet.report.table import Table, build_table


def target_table(comparison: Comparison) -> Table | None:
    """Return a table with a column for each target: accuracy of binary labels, otherwise RMSE; None for one target."""
    data, found = comparison.record.data, [row.record.targets for row in comparison.rows]
    if data is None or not any(found):
        return None
    labels = data.task == "multilabel"
    metric, name = ("accuracy", "Accuracy in %") if labels else ("rmse", "RMSE")
    names = data.class_names if labels else data.target_names or ()
    number = max(len(each[metric]) for each in found if each)
    shown = [names[index] if index < len(names) else f"target {index + 1}" for index in range(number)]
    columns = [
        Column(
            key=str(index),
            head=head,
            better="higher" if labels else "lower",
            kind="percent" if labels else "number",
            explanation=f"{name} of {head}{'' if labels else ', in its own unit'}.",
        )
        for index, head in enumerate(shown)
    ]
    return build_table(comparison, columns, [_with_targets(row, metric) for row in comparison.rows])


def _with_targets(row: Row, metric: str) -> Row:
    scores = (row.record.targets or {}).get(metric, ())
    return replace(row, measures={str(index): value for index, value in enumerate(scores)})
