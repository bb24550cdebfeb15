"""Views of a comparison's record for the report: rows, scores and costs by name, and the ranking.

The records themselves are defined and validated in `motet.experiments.records`.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import final

from motet.experiments import records
from motet.experiments.records import CoverageLevel, LeftOut, Measure, ReliabilityBin, as_comparison
from motet.plots.tables import number
from motet.training import HistoryRow

UNKNOWN = Measure(mean=math.nan, standard_error=math.nan)


@final
@dataclass(frozen=True, kw_only=True)
class Ranking:
    """The score by which methods are ranked. `reason` explains it if it is not the negative log-likelihood."""

    key: str
    name: str
    reason: str = ""

    @property
    def title(self) -> str:
        """The name, with a capital first letter."""
        return self.name[:1].upper() + self.name[1:]

    @property
    def history(self) -> str:
        """The name of the score's column in the training history."""
        return f"validation_{self.key}"


BY_NLL = Ranking(key="nll", name="negative log-likelihood")
BY_RMSE = Ranking(
    key="rmse",
    name="root mean squared error",
    reason="Methods are ranked by root mean squared error, because the negative log-likelihood of a Gaussian with "
    "unit variance measures little else.",
)


@final
@dataclass(frozen=True, kw_only=True)
class Row:
    """One method in the report.

    Attributes:
        index: the position in the comparison, which determines the colour.
        record: the method's row in the comparison's record.
        measures: scores and costs by name. Some tables replace them by other measures.
    """

    index: int
    record: records.ComparisonRow
    measures: Mapping[str, Measure]

    def measure(self, key: str) -> Measure:
        """Return the score or cost named `key`, or `UNKNOWN` if the record does not have it."""
        return self.measures.get(key, UNKNOWN)

    @property
    def key(self) -> str:
        """The row's unique name."""
        return self.record.key

    @property
    def method(self) -> str:
        """The method's name."""
        return self.record.method

    @property
    def label(self) -> str:
        """The row's name in tables and figures."""
        return self.record.label

    @property
    def members(self) -> int:
        """The number of members."""
        return self.record.members

    @property
    def width(self) -> float:
        """The width of the model, relative to the comparison's model."""
        return self.record.width

    @property
    def latency_quartiles(self) -> tuple[float, float] | None:
        """The quartiles of the latency's ratio; None if they were not recorded, and for the single network's 1."""
        low, high = self.measure("latency_ratio_low"), self.measure("latency_ratio_high")
        return (low.mean, high.mean) if low.known and high.known and low.mean != high.mean else None

    @property
    def reliability(self) -> Sequence[ReliabilityBin]:
        """The bins of the reliability diagram; empty if there are none."""
        return self.record.reliability or ()

    @property
    def coverage(self) -> Sequence[CoverageLevel]:
        """The coverage of the intervals; empty if it was not recorded."""
        return self.record.coverage or ()

    @property
    def disagreement(self) -> Sequence[Sequence[float]]:
        """The disagreement matrix of the members; empty if it was not recorded."""
        return self.record.disagreement_matrix or ()

    @property
    def histories(self) -> Sequence[Sequence[HistoryRow]]:
        """The training history of each seed, with one row per epoch."""
        return self.record.histories


@final
@dataclass(frozen=True)
class Comparison:
    """A comparison in the report: its record, and values that are derived from it."""

    record: records.Comparison

    @cached_property
    def rows(self) -> Sequence[Row]:
        """The methods."""
        return [Row(index=i, record=row, measures=_measures(row)) for i, row in enumerate(self.record.rows)]

    @property
    def seeds(self) -> Sequence[int]:
        """The seeds with which each method was trained."""
        return self.record.seeds

    @property
    def left_out(self) -> Sequence[LeftOut]:
        """Methods that were left out because they do not support the model or the data."""
        return self.record.left_out

    @property
    def single(self) -> Row | None:
        """The single network, the reference of the ensembles; None if it was not run at the comparison's own width."""
        whole = [row for row in self.rows if row.width == 1]
        named = [row for row in whole if row.method == "single"]
        return next(iter(named or [row for row in whole if row.members == 1]), None)

    @property
    def ranking(self) -> Ranking:
        """The score of the ranking: RMSE for a Gaussian with unit variance, otherwise NLL.

        In regression records without a likelihood it was the Gaussian with unit variance.
        """
        data = self.record.data
        unsaid = "gaussian" if data is not None and data.task == "regression" else ""
        if (self.record.likelihood or unsaid) != "gaussian":
            return BY_NLL
        return replace(BY_RMSE, name=f"{BY_RMSE.name} in standard deviations") if self.mixes_units else BY_RMSE

    @property
    def mixes_units(self) -> bool:
        """Whether errors are in standard deviations, because targets have different units."""
        return self.record.data is not None and self.record.data.in_standard_deviations

    @property
    def has_latency_quartiles(self) -> bool:
        """Whether any method's latency has recorded quartiles."""
        return any(row.latency_quartiles for row in self.rows)

    def known(self, key: str) -> bool:
        """Return whether any method has a number for `key`."""
        return any(row.measure(key).known for row in self.rows)


def read_comparison(comparison: records.Comparison | Mapping[str, object] | str | Path) -> Comparison:
    """Return the view of a comparison, from any source that `motet.experiments.records.as_comparison` accepts.

    Raises:
        InputError: if there are no rows, or if a field is missing, unknown, of another type or out of range.
    """
    return Comparison(as_comparison(comparison))


def measure(value: Measure | float | int | None) -> Measure:
    """Return a number, such as a cost, as a measure without a standard error. A measure is returned unchanged."""
    return value if isinstance(value, Measure) else Measure(mean=number(value), standard_error=math.nan)


def _measures(row: records.ComparisonRow) -> dict[str, Measure]:
    cost = row.cost
    counts = {"parameters": cost.parameters, "flops": cost.flops, "latency_rounds": cost.latency_rounds}
    times = {
        name: getattr(cost, name)
        for name in ("latency_ratio", "latency_ratio_low", "latency_ratio_high", "latency_seconds")
    }
    return {
        **row.scores,
        **{name: measure(value) for name, value in (counts | times).items()},
        "train_seconds": cost.train_seconds,
    }
