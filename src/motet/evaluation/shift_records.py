"""Records of evaluations under shift, and the types of fields that all evaluations' records share."""

import math
from itertools import product
from typing import Annotated, Any, Literal, final

from pydantic import AfterValidator, BeforeValidator, Field

from motet._internal.typed_records import Amount, Number, Share, absent, record
from motet.metrics import COVERAGES

Row = dict[str, str | int | float]
"""``{"corruption": "fog", "severity": 3, "rows": 10000, "accuracy": ..., "nll": ..., "ece": ..., ...}``."""

_SHARES = ("accuracy", "ece", "aurc", "coverage_90")
_NOT_NEGATIVE = (*_SHARES, "rmse", "brier", "crps", "interval_width")


def _in_range(scores: dict[str, float]) -> dict[str, float]:
    for name, value in scores.items():
        if name in _NOT_NEGATIVE and value < 0:
            raise ValueError(f"scores with {name} at least 0")
        if name in _SHARES and value > 1 + 1e-4:  # a mean of float32 values may be slightly larger
            raise ValueError(f"scores with {name} at most 1")
    return scores


def _each_in_range(by_severity: dict[str, dict[int, float]]) -> dict[str, dict[int, float]]:
    for name, values in by_severity.items():
        for value in values.values():
            _in_range({name: value})
    return by_severity


def _is_coverages(coverage: tuple[float, ...]) -> tuple[float, ...]:
    if coverage != COVERAGES:
        raise ValueError("the coverages 0.01, 0.02, ..., 1")
    return coverage


def _one_a_coverage(risks: tuple[float, ...]) -> tuple[float, ...]:
    if len(risks) != len(COVERAGES):
        raise ValueError(f"a risk at each of {len(COVERAGES)} coverages")
    return risks


def _null_is_nan(value: object, info: Any) -> object:
    return math.nan if value is None and info.mode == "json" else value


Scores = Annotated[dict[str, Number], AfterValidator(_in_range)]
"""Numbers by the name of their metric."""
Severity = Annotated[int, Field(ge=1, le=5)]
Size = Annotated[int, Field(ge=1, le=2**63 - 1)]
BySeverity = Annotated[dict[str, dict[Severity, Number]], AfterValidator(_each_in_range)]
"""Numbers by the name of their metric and by severity."""
Coverages = Annotated[tuple[float, ...], AfterValidator(_is_coverages)]
Risks = Annotated[tuple[Share, ...], AfterValidator(_one_a_coverage)]
"""Error rates at `motet.metrics.COVERAGES`."""
# Absent if the metric does not apply; null, read as NaN, if it has no finite value.
OptionalNumber = Annotated[Number | None, BeforeValidator(_null_is_nan)]
OptionalAmount = Annotated[Amount | None, BeforeValidator(_null_is_nan)]
OptionalShare = Annotated[Share | None, BeforeValidator(_null_is_nan)]


_METRICS = ("accuracy", "rmse", "nll", "crps", "ece", "brier", "aurc")


@final
@record
class ShiftRow:
    """Scores under one corruption at one severity; ``"none"`` and 0 for unshifted data.

    Metrics of other tasks than the run's are absent.
    """

    corruption: str
    severity: Annotated[int, Field(ge=0, le=5)]
    rows: Size
    accuracy: OptionalShare = absent()
    rmse: OptionalAmount = absent()
    nll: OptionalNumber = absent()
    crps: OptionalAmount = absent()
    ece: OptionalShare = absent()
    brier: OptionalAmount = absent()
    aurc: OptionalShare = absent()

    @property
    def scores(self) -> dict[str, float]:
        """The metrics that are present, by name."""
        return present_metrics(self)

    def to_row(self) -> Row:
        """Return the row as a dictionary."""
        return {"corruption": self.corruption, "severity": self.severity, "rows": self.rows, **self.scores}


@final
@record
class SeverityPoint:
    """Means over corruptions at one severity; 0 is unshifted data. Metrics as in `ShiftRow`."""

    severity: Annotated[int, Field(ge=0, le=5)]
    accuracy: OptionalShare = absent()
    rmse: OptionalAmount = absent()
    nll: OptionalNumber = absent()
    crps: OptionalAmount = absent()
    ece: OptionalShare = absent()
    brier: OptionalAmount = absent()
    aurc: OptionalShare = absent()

    @property
    def scores(self) -> dict[str, float]:
        """The metrics that are present, by name."""
        return present_metrics(self)


def present_metrics(found: ShiftRow | SeverityPoint) -> dict[str, float]:
    """Return the metrics that are not absent, by name."""
    every = {name: getattr(found, name) for name in _METRICS}
    return {name: value for name, value in every.items() if value is not None}


@final
@record
class ShiftRisks:
    """Risk-coverage curves: on unshifted data, each corruption's mean over severities, and the mean of those."""

    coverage: Coverages
    clean: Risks
    mean: Risks
    corruptions: dict[str, Risks]


@final
@record
class ShiftSection:
    """A run under one shift.

    Attributes:
        kind: the source of the shifted rows: corrupted images, a shifted table, or official files.
        seed: the seed of the corruptions; None for files.
        clean: scores on unshifted data.
        rows: the scores for each corruption and severity.
        averaged: the corruptions that means are taken over.
        mean: each metric's mean over corruptions, then over severities.
        by_severity: each metric's mean over corruptions at each severity.
        severities: the severities that were measured.
        risk_coverage: risk-coverage curves, for classes.
        reference: folder of the run whose errors count as 100.
        mce: mean corruption error relative to the reference; NaN if the reference makes no errors.
    """

    kind: Literal["images", "table", "files"]
    seed: int | None
    clean: ShiftRow
    rows: Annotated[tuple[ShiftRow, ...], Field(min_length=1)]
    averaged: Annotated[tuple[str, ...], Field(min_length=1)]
    mean: Scores
    by_severity: BySeverity
    severities: Annotated[tuple[Severity, ...], Field(min_length=1)]
    risk_coverage: ShiftRisks | None = absent()
    reference: str | None = absent()
    mce: OptionalAmount = absent()

    @property
    def corruptions(self) -> tuple[str, ...]:
        """The corruptions that were measured, in order."""
        return tuple(dict.fromkeys(row.corruption for row in self.rows))

    @property
    def averaged_rows(self) -> tuple[ShiftRow, ...]:
        """The rows that means are taken over."""
        return tuple(row for row in self.rows if row.corruption in self.averaged)

    def __post_init__(self) -> None:
        """Check that the parts are consistent; pydantic converts the ValueError into its own."""
        self._check_rows()
        self._check_means()
        if self.risk_coverage is not None and set(self.risk_coverage.corruptions) != set(self.corruptions):
            raise ValueError("a section whose risk_coverage has the corruptions of its rows")

    def _check_rows(self) -> None:
        measured = [(row.corruption, row.severity) for row in self.rows]
        if sorted(measured) != sorted(product(self.corruptions, set(self.severities))):
            raise ValueError("a section whose rows hold each corruption once at each of its severities")
        if any(set(row.scores) != set(self.clean.scores) for row in self.rows):
            raise ValueError("a section whose rows have the metrics of the row named clean")
        if not set(self.averaged) <= set(self.corruptions):
            raise ValueError("a section whose averaged are among the corruptions of its rows")

    def _check_means(self) -> None:
        metrics = set(self.clean.scores)
        if set(self.mean) != metrics or set(self.by_severity) != metrics:
            raise ValueError("a section whose mean and by_severity have the metrics of its rows")
        if any(set(each) != set(self.severities) for each in self.by_severity.values()):
            raise ValueError("a section whose by_severity has each of its severities")


@final
@record
class ShiftResult:
    """Scores under one corruption at one severity; `risk` is absent if there are no classes."""

    row: ShiftRow
    risk: Risks | None = absent()
