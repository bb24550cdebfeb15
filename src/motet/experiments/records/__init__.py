"""The records of runs and comparisons: dataclasses that are used for writing and for reading.

``run.json`` is a `RunRecord`, ``scores.json`` `Scores`, ``compare.json`` a `Comparison`, or a `StartedComparison` until
it is finished; a row of ``history.csv`` is a `motet.training.HistoryRow`.
"""

from motet._internal.own_code import Source
from motet.evaluation.comparison_records import Measure
from motet.experiments.records.comparison import (
    Comparison,
    ComparisonCost,
    ComparisonExit,
    ComparisonRow,
    CoverageLevel,
    LeftOut,
    ReliabilityBin,
    StartedComparison,
    as_comparison,
    read_comparison,
)
from motet.experiments.records.run import (
    Continuation,
    Cost,
    Hardware,
    Provenance,
    Ranks,
    RunRecord,
    Scores,
    Settings,
    read_run_record,
    read_scores,
)

__all__ = [
    "Comparison",
    "ComparisonCost",
    "ComparisonExit",
    "ComparisonRow",
    "Continuation",
    "Cost",
    "CoverageLevel",
    "Hardware",
    "LeftOut",
    "Measure",
    "Provenance",
    "Ranks",
    "ReliabilityBin",
    "RunRecord",
    "Scores",
    "Settings",
    "Source",
    "StartedComparison",
    "as_comparison",
    "read_comparison",
    "read_run_record",
    "read_scores",
]
