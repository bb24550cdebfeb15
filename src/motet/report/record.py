"""A comparison's record as the report shows it: rows, measures by name, and what methods are ranked by.

Thin views: what they hold is `motet.experiments.records`, where it is validated.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
    """The score that methods are ranked by. `reason` says why, where that is not the negative log-likelihood."""

    key: str
    name: str
    reason: str = ""

    @property
    def title(self) -> str:
        """The name with a capital."""
        return self.name[:1].upper() + self.name[1:]

    @property
    def history(self) -> str:
        """The history's column of it."""
        return f"validation_{self.key}"


BY_NLL = Ranking(key="nll", name="negative log-likelihood")
BY_RMSE = Ranking(
    key="rmse",
    name="root mean squared error",
    reason="Methods are ranked by root mean squared error: they were trained under a Gaussian of unit variance, whose "
    "likelihood says little else.",
)


@final
@dataclass(frozen=True, kw_only=True)
class Row:
    """One method as it is shown.

    Attributes:
        index: its place in the comparison, which settles its colour.
        record: what is known of it.
        measures: scores and costs by name; a table of its own has others.
    """

    index: int
    record: records.ComparisonRow
    measures: Mapping[str, Measure]

    def measure(self, key: str) -> Measure:
        """Score or cost named `key`; `UNKNOWN` where the record has none."""
        return self.measures.get(key, UNKNOWN)

    @property
    def key(self) -> str:
        """What tells the row from others."""
        return self.record.key

    @property
    def method(self) -> str:
        """The method's name."""
        return self.record.method

    @property
    def label(self) -> str:
        """The row's name for people."""
        return self.record.label

    @property
    def members(self) -> int:
        """How many members it has."""
        return self.record.members

    @property
    def width(self) -> float:
        """How much wider than the comparison's model its model is."""
        return self.record.width

    @property
    def reliability(self) -> Sequence[ReliabilityBin]:
        """The bins of its reliability diagram, if any."""
        return self.record.reliability or ()

    @property
    def coverage(self) -> Sequence[CoverageLevel]:
        """The coverage of its intervals, if any."""
        return self.record.coverage or ()

    @property
    def disagreement(self) -> Sequence[Sequence[float]]:
        """The matrix of shares on which members disagree, if any."""
        return self.record.disagreement_matrix or ()

    @property
    def histories(self) -> Sequence[Sequence[HistoryRow]]:
        """A row an epoch for each seed."""
        return self.record.histories


@final
@dataclass(frozen=True)
class Comparison:
    """A comparison as it is shown: its record, and what follows from it."""

    record: records.Comparison

    @cached_property
    def rows(self) -> Sequence[Row]:
        """The methods."""
        return [Row(index=i, record=row, measures=_measures(row)) for i, row in enumerate(self.record.rows)]

    @property
    def seeds(self) -> Sequence[int]:
        """Each method was trained with each of them."""
        return self.record.seeds

    @property
    def left_out(self) -> Sequence[LeftOut]:
        """Methods that refused the model."""
        return self.record.left_out

    @property
    def single(self) -> Row | None:
        """The single network that ensembles are measured against, if it was run: one of the comparison's own width."""
        whole = [row for row in self.rows if row.width == 1]
        named = [row for row in whole if row.method == "single"]
        return next(iter(named or [row for row in whole if row.members == 1]), None)

    @property
    def ranking(self) -> Ranking:
        """What methods are ranked by: the NLL, but for unit variance. Records without a likelihood had that one."""
        data = self.record.data
        unsaid = "gaussian" if data is not None and data.task == "regression" else ""
        return BY_RMSE if (self.record.likelihood or unsaid) == "gaussian" else BY_NLL

    def known(self, key: str) -> bool:
        """Whether any method has a number for `key`."""
        return any(row.measure(key).known for row in self.rows)


def read_comparison(comparison: records.Comparison | Mapping[str, object] | str | Path) -> Comparison:
    """The view of a comparison: of its record, or of what `motet.experiments.records.as_comparison` reads.

    Raises:
        InputError: there are no rows, or a field is missing, unknown, of another type or out of range.
    """
    return Comparison(as_comparison(comparison))


def measure(value: Measure | float | int | None) -> Measure:
    """A number without an error, such as a cost, as a measure; a measure as it is."""
    return value if isinstance(value, Measure) else Measure(mean=number(value), standard_error=math.nan)


def _measures(row: records.ComparisonRow) -> dict[str, Measure]:
    cost = row.cost
    counts = {"parameters": cost.parameters, "flops": cost.flops}
    times = {
        name: getattr(cost, name)
        for name in ("latency_ratio", "latency_ratio_low", "latency_ratio_high", "latency_seconds")
    }
    return {
        **row.scores,
        **{name: measure(value) for name, value in (counts | times).items()},
        "train_seconds": cost.train_seconds,
    }
