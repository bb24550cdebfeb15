"""The record of a comparison, read into types: what is absent or null there is NaN, None or empty here."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from motet.errors import InputError
from motet.evaluation import comparison_records
from motet.plots.tables import number


@dataclass(frozen=True, kw_only=True)
class Measure:
    """A number over seeds: its mean and the standard error of that mean, NaN where there is none."""

    mean: float
    error: float = math.nan

    @property
    def known(self) -> bool:
        """Whether there is a mean."""
        return math.isfinite(self.mean)

    @property
    def has_error(self) -> bool:
        """Whether there is a mean with a standard error."""
        return self.known and math.isfinite(self.error)


UNKNOWN = Measure(mean=math.nan)


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


@dataclass(frozen=True, kw_only=True)
class Row:
    """One method: what it is, what it scored, what it cost. `width` is its model's, relative to the comparison's."""

    index: int
    method: str
    key: str
    label: str
    members: int
    summary: str
    settings: str
    width: float
    model: str
    measures: Mapping[str, Measure]
    reliability: Sequence[Mapping[str, Any]]
    coverage: Sequence[Mapping[str, Any]]
    disagreement: Sequence[Sequence[float | int | None]]
    histories: Sequence[Sequence[Mapping[str, Any]]]
    runs: Sequence[str]

    def measure(self, key: str) -> Measure:
        """Score or cost named `key`; `UNKNOWN` where the record has none."""
        return self.measures.get(key, UNKNOWN)


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """All methods, and how they were run. `about` holds the record's other entries, ``{}`` or None where absent.

    `left_out` holds the label of each method that refused the model, and its reason.
    """

    rows: Sequence[Row]
    seeds: Sequence[int]
    data: Mapping[str, Any]
    training: Mapping[str, Any]
    hardware: Mapping[str, Any]
    about: Mapping[str, Any]
    left_out: Sequence[tuple[str, str]]

    @property
    def single(self) -> Row | None:
        """The single network that ensembles are measured against, if it was run: one of the comparison's own width."""
        whole = [row for row in self.rows if row.width == 1]
        named = [row for row in whole if row.method == "single"]
        return next(iter(named or [row for row in whole if row.members == 1]), None)

    @property
    def ranking(self) -> Ranking:
        """What methods are ranked by: the NLL, but for unit variance. Records without a likelihood had that one."""
        unsaid = "gaussian" if self.data.get("task") == "regression" else ""
        return BY_RMSE if (self.about.get("likelihood") or unsaid) == "gaussian" else BY_NLL

    def known(self, key: str) -> bool:
        """Whether any method has a number for `key`."""
        return any(row.measure(key).known for row in self.rows)


def read_comparison(record: Mapping[str, Any]) -> Comparison:
    """Read the record that ``motet compare`` writes.

    Raises:
        InputError: there are no rows, or a row has no method or label.
    """
    rows = record.get("rows") or []
    if not rows:
        raise InputError(
            "a comparison must have at least one row",
            got="no rows",
            fix="Run `motet compare` with at least one method, and pass the record it wrote",
        )
    return Comparison(
        rows=[_row(index, row) for index, row in enumerate(rows)],
        seeds=list(record.get("seeds") or []),
        data=record.get("data") or {},
        training=record.get("training") or {},
        hardware=record.get("hardware") or {},
        about=record,
        left_out=[(str(each.get("label")), str(each.get("reason"))) for each in record.get("left_out") or []],
    )


def _row(index: int, row: Mapping[str, Any]) -> Row:
    for key in ("method", "label"):
        if not row.get(key):
            raise InputError(
                f"every row of a comparison must have a {key}",
                got=f"row {index} with {', '.join(sorted(row)) or 'nothing'}",
                fix="Pass the record that `motet compare` wrote",
            )
    return Row(
        index=index,
        method=str(row["method"]),
        key=str(row.get("key") or row["method"]),
        label=str(row["label"]),
        members=int(row.get("members") or 1),
        summary=str(row.get("summary") or ""),
        settings=str(row.get("settings") or ""),
        width=float(row.get("width") or 1),
        model=str(row.get("model") or ""),
        measures={key: measure(value) for part in ("scores", "cost") for key, value in (row.get(part) or {}).items()},
        reliability=row.get("reliability") or [],
        coverage=row.get("coverage") or [],
        disagreement=row.get("disagreement_matrix") or [],
        histories=row.get("histories") or [],
        runs=[str(run) for run in row.get("runs") or []],
    )


def measure(value: Any) -> Measure:
    """A number of the record: alone, or a mapping of ``mean`` and ``standard_error``, or a record of them."""
    if isinstance(value, comparison_records.Measure):
        return Measure(mean=number(value.mean), error=number(value.standard_error))
    if isinstance(value, Mapping):
        return Measure(mean=number(value.get("mean")), error=number(value.get("standard_error")))
    return Measure(mean=number(value))
