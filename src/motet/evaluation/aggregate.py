"""Combine the evaluations of several methods: means over the seeds of each method."""

import math
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean, stdev
from typing import TypeVar

from motet.evaluation.comparison_records import (
    Measure,
    MethodOOD,
    MethodSelective,
    MethodUnderShift,
    OODComparison,
    OODMeans,
    SelectiveComparison,
    SelectiveCurves,
    ShiftComparison,
    ShiftSelective,
    SideBySide,
)
from motet.evaluation.records import Evaluation, OODSection
from motet.evaluation.shift_records import SeverityPoint, ShiftSection
from motet.metrics import COVERAGES

S = TypeVar("S")

Group = tuple[str, str, Sequence[Evaluation | None]]
"""A method's key, its label, and its runs' evaluations, one for each seed; None for a run that was not evaluated."""

SHOWN = (0.5, 0.8, 0.9, 0.95, 1.0)
"""The coverages in small tables."""


def side_by_side(groups: Sequence[Group]) -> SideBySide:
    """Return means over the seeds of each method, for all methods.

    A method is left out if one of its runs was not evaluated. Results at other severities or on other rows than the
    first method's are left out too, because they cannot be compared.
    """
    shifts, others = _named(groups, lambda each: each.shifts or {}), _named(groups, lambda each: each.ood or {})
    return SideBySide(
        shifts=tuple(
            found for name, complete in shifts.items() if (found := _shift_comparison(name, complete)) is not None
        ),
        ood=tuple(_ood_comparison(name, complete) for name, complete in others.items() if complete),
    )


def _named(
    groups: Sequence[Group], sections_of: Callable[[Evaluation], dict[str, S]]
) -> dict[str, list[tuple[str, str, list[S]]]]:
    """Return, by the name of a section, the groups for which every run has that section, with these sections."""
    held = [(key, label, [{} if run is None else sections_of(run) for run in runs]) for key, label, runs in groups]
    names = dict.fromkeys(name for _, _, runs in held for sections in runs for name in sections)
    return {name: _complete(name, held) for name in names}


def _complete(name: str, held: Sequence[tuple[str, str, list[dict[str, S]]]]) -> list[tuple[str, str, list[S]]]:
    """Return the groups for which every run has a section of that name."""
    return [
        (key, label, [sections[name] for sections in runs])
        for key, label, runs in held
        if runs and all(name in sections for sections in runs)
    ]


def _shift_comparison(name: str, complete: list[tuple[str, str, list[ShiftSection]]]) -> ShiftComparison | None:
    if not complete:
        return None
    first = complete[0][2][0]
    alike = [group for group in complete if all(_measured(section) == _measured(first) for section in group[2])]
    if not alike:
        return None
    return ShiftComparison(
        name=name,
        kind=first.kind,
        rows=first.rows[0].rows,
        severities=first.severities,
        corruptions=first.corruptions,
        averaged=first.averaged,
        coverage=COVERAGES,
        methods=tuple(_under_shift(*group) for group in alike),
    )


def _measured(section: ShiftSection) -> object:
    """Return what sections must share to be comparable."""
    rows = [(row.corruption, row.severity, row.rows) for row in section.rows]
    return section.severities, section.averaged, set(section.clean.scores), rows


def _under_shift(key: str, label: str, sections: Sequence[ShiftSection]) -> MethodUnderShift:
    metrics = list(sections[0].clean.scores)
    references = {section.reference for section in sections}
    reference = references.pop() if len(references) == 1 else None
    mean = _over_seeds([section.mean for section in sections], metrics)
    if reference is not None:
        mean["mce"] = mean_over_seeds([section.mce for section in sections])
    return MethodUnderShift(
        key=key,
        label=label,
        clean=_over_seeds([section.clean.scores for section in sections], metrics),
        mean=mean,
        reference=reference,
        corruptions={
            name: _over_seeds([_corruption_means(section, name) for section in sections], metrics)
            for name in sections[0].corruptions
        },
        curves=tuple(_curve(section, metrics) for section in sections),
        selective=_selective(sections),
    )


def _over_seeds(scores: Sequence[Mapping[str, float]], metrics: Sequence[str]) -> dict[str, Measure]:
    """Return each metric over seeds, from each seed's scores."""
    return {metric: mean_over_seeds([each[metric] for each in scores]) for metric in metrics}


def _corruption_means(section: ShiftSection, name: str) -> dict[str, float]:
    """Return each metric's mean over severities under one corruption; NaN if one of them is not finite."""
    scores = [row.scores for row in section.rows if row.corruption == name]
    return {metric: measure.mean for metric, measure in _over_seeds(scores, list(scores[0])).items()}


def _curve(section: ShiftSection, metrics: Sequence[str]) -> tuple[SeverityPoint, ...]:
    """Return severity 0, the unshifted data, then the means over corruptions at each severity."""
    shifted = [
        SeverityPoint(severity=severity, **{metric: section.by_severity[metric][severity] for metric in metrics})
        for severity in section.severities
    ]
    return (SeverityPoint(severity=0, **section.clean.scores), *shifted)


def _selective(sections: Sequence[ShiftSection]) -> ShiftSelective | None:
    held = [section.risk_coverage for section in sections if section.risk_coverage is not None]
    if len(held) < len(sections):
        return None
    clean, mean = [each.clean for each in held], [each.mean for each in held]
    return ShiftSelective(
        clean=SelectiveCurves(curves=tuple(clean), at=risks_at_shown(clean)),
        mean=SelectiveCurves(curves=tuple(mean), at=risks_at_shown(mean)),
    )


def _ood_comparison(name: str, complete: Sequence[tuple[str, str, Sequence[OODSection]]]) -> OODComparison:
    first = complete[0][2][0]
    return OODComparison(
        dataset=name,
        rows=first.rows,
        dropped=first.dropped,
        methods=tuple(
            MethodOOD(key=key, label=label, scores=_ood_means(sections)) for key, label, sections in complete
        ),
    )


def _ood_means(sections: Sequence[OODSection]) -> dict[str, OODMeans]:
    """Return means over seeds of the scores that every seed has."""
    common = [score for score in sections[0].scores if all(score in section.scores for section in sections)]
    return {
        score: OODMeans(
            auroc=mean_over_seeds([section.scores[score].auroc for section in sections]),
            fpr95=mean_over_seeds([section.scores[score].fpr95 for section in sections]),
        )
        for score in common
    }


def risks_at_shown(curves: Sequence[Sequence[float | None]]) -> dict[str, Measure]:
    """Return mean and standard error over `curves`, one for each seed, at the coverages in small tables: ``{"0.5": ...,
    ...}``.

    Args:
        curves: risks at `motet.metrics.COVERAGES`.
    """
    return {f"{at:g}": mean_over_seeds([curve[COVERAGES.index(at)] for curve in curves]) for at in SHOWN}


def selective_comparison(groups: Sequence[tuple[str, str, Sequence[Sequence[float]]]]) -> SelectiveComparison | None:
    """Return the curves of all methods; None if there are none.

    Args:
        groups: a method's key, its label, and its curves, one for each seed.
    """
    methods = tuple(
        MethodSelective(key=key, label=label, curves=tuple(map(tuple, curves)), at=risks_at_shown(curves))
        for key, label, curves in groups
    )
    return SelectiveComparison(coverage=COVERAGES, methods=methods) if methods else None


def mean_over_seeds(values: Sequence[float | None]) -> Measure:
    """Return mean and standard error of `values`, one for each seed; NaN if a value is missing or not finite.

    >>> mean_over_seeds([1.0, 3.0])
    Measure(mean=2.0, standard_error=1.0)
    """
    known = [value for value in values if value is not None and math.isfinite(value)]
    if not known or len(known) < len(values):
        return Measure(mean=math.nan, standard_error=math.nan)
    error = stdev(known) / math.sqrt(len(known)) if len(known) > 1 else math.nan
    return Measure(mean=fmean(known), standard_error=error)
