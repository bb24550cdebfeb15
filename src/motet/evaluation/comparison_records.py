"""Records of the evaluations of several methods; the report and the command line show them."""

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
        mean: the mean; NaN if the number is missing for a seed.
        standard_error: the standard error of the mean; NaN with one seed.
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
    """Risk-coverage curves of one method, one for each seed, and their mean `at` the coverages in small tables
    ("0.5").
    """

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
        """The curves without the method's name."""
        return SelectiveCurves(curves=self.curves, at=self.at)


@final
@record
class SelectiveComparison:
    """The methods of a comparison on the unshifted test data: risks at each `coverage`."""

    coverage: Coverages
    methods: tuple[MethodSelective, ...]


@final
@record
class ShiftSelective:
    """Risk-coverage curves on unshifted data, and their means under shift."""

    clean: SelectiveCurves
    mean: SelectiveCurves


@final
@record
class MethodUnderShift:
    """One method under one shift.

    Attributes:
        key, label: the method's key and label in its comparison.
        clean: scores on unshifted data.
        mean: means of the scores under shift; with ``mce`` if there is a reference.
        reference: folder of the run whose errors count as 100; None if there is none.
        corruptions: means over severities, by corruption.
        curves: each seed's scores over severity.
        selective: risk-coverage curves, for classes.
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
    """Methods under one shift: `rows` at the same `severities` of the same `corruptions`; means are over the `averaged`
    ones.
    """

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
    """One method against another data set: `OODMeans` by uncertainty score."""

    key: str
    label: str
    scores: dict[str, OODMeans]


@final
@record
class OODComparison:
    """Methods against another data set, of which `dropped` rows overlapped with the run's data."""

    dataset: str
    rows: Size
    dropped: Count
    methods: Annotated[tuple[MethodOOD, ...], Field(min_length=1)]


@final
@record
class SideBySide:
    """Results of several methods: under each shift, against each other data set, and on unshifted data."""

    shifts: tuple[ShiftComparison, ...] = ()
    ood: tuple[OODComparison, ...] = ()
    selective: SelectiveComparison | None = None
