"""What evaluations found of several methods, side by side, as records: what report and command line show."""

import math
from typing import Annotated, Literal, final

from pydantic import Field

from motet._internal.typed_records import Amount, Count, Number, absent, record
from motet.evaluation.shift_records import Coverages, Risks, Severity, SeverityPoint, Size


@final
@record
class Measure:
    """A number over seeds.

    Attributes:
        mean: its mean; NaN where it is missing for some seed.
        standard_error: of that mean; NaN with one seed.
    """

    mean: Number
    standard_error: Amount

    @property
    def known(self) -> bool:
        """Whether there is a mean."""
        return math.isfinite(self.mean)

    @property
    def has_error(self) -> bool:
        """Whether there is a mean with a standard error."""
        return self.known and math.isfinite(self.standard_error)


@final
@record
class SelectiveCurves:
    """Risk-coverage curves of one method, one a seed, and their mean `at` the coverages of small tables ("0.5")."""

    curves: tuple[Risks, ...]
    at: dict[str, Measure]


@final
@record
class MethodSelective:
    """`SelectiveCurves` of one method of a comparison."""

    key: str
    label: str
    curves: tuple[Risks, ...]
    at: dict[str, Measure]

    @property
    def risks(self) -> SelectiveCurves:
        """Without the method's name."""
        return SelectiveCurves(curves=self.curves, at=self.at)


@final
@record
class SelectiveComparison:
    """A comparison's methods on the test data as they are: risks at each of `coverage`."""

    coverage: Coverages
    methods: tuple[MethodSelective, ...]


@final
@record
class ShiftSelective:
    """Risk-coverage curves on the data as they are, and the means under shift."""

    clean: SelectiveCurves
    mean: SelectiveCurves


@final
@record
class MethodUnderShift:
    """One method under one shift.

    Attributes:
        key, label: the method's in its comparison.
        clean: scores on the data as they are.
        mean: their means under shift; with ``mce`` where there is one reference.
        reference: folder of the run whose errors count as 100; None without one.
        corruptions: means over severities, by corruption.
        curves: each seed's scores over severity.
        selective: where there are classes.
    """

    key: str
    label: str
    clean: dict[str, Measure]
    mean: dict[str, Measure]
    reference: str | None
    corruptions: dict[str, dict[str, Measure]]
    curves: tuple[tuple[SeverityPoint, ...], ...]
    selective: ShiftSelective | None = absent()


@final
@record
class ShiftComparison:
    """Methods under one shift: `rows` each at `severities` of `corruptions`, means over those that are `averaged`."""

    name: str
    kind: Literal["images", "table", "files"]
    rows: Size
    severities: tuple[Severity, ...]
    corruptions: tuple[str, ...]
    averaged: tuple[str, ...]
    coverage: Coverages
    methods: Annotated[tuple[MethodUnderShift, ...], Field(min_length=1)]


@final
@record
class OODMeans:
    """`motet.evaluation.records.OODScores` over seeds."""

    auroc: Measure
    fpr95: Measure


@final
@record
class MethodOOD:
    """One method asked about another data set: `OODMeans` by uncertainty score."""

    key: str
    label: str
    scores: dict[str, OODMeans]


@final
@record
class OODComparison:
    """Methods asked about another data set, of which `dropped` rows overlapped."""

    dataset: str
    rows: Size
    dropped: Count
    methods: Annotated[tuple[MethodOOD, ...], Field(min_length=1)]


@final
@record
class SideBySide:
    """Methods side by side: under each shift, against each other data set, and on the data as they are."""

    shifts: tuple[ShiftComparison, ...] = ()
    ood: tuple[OODComparison, ...] = ()
    selective: SelectiveComparison | None = None
