"""A run's section under one shift: rows, their means, risk-coverage curves, and the mean corruption error."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from motet.data import Dataset, DataSpec
from motet.errors import InputError
from motet.evaluation.shift_records import ShiftResult, ShiftRisks, ShiftRow, ShiftSection
from motet.evaluation.shift_results import Subject, clean_results, shift_results
from motet.evaluation.shift_source import ShiftSettings, ShiftSource
from motet.evaluation.shifted import mce_of, means_of
from motet.metrics import COVERAGES


def shift_sections(
    subjects: Sequence[Subject],
    dataset: Dataset,
    source: ShiftSource,
    settings: ShiftSettings,
    *,
    say: Callable[[str], None],
) -> list[ShiftSection]:
    """Each ensemble's section under one shift; regression scores are in the targets' own unit.

    Args:
        subjects, dataset, source, settings: see `motet.evaluation.shift_results.shift_results`.
        say: told when a corruption begins, a line at a time.
    """
    clean = clean_results(subjects, dataset, settings)
    found: list[list[ShiftResult]] = [[] for _ in subjects]
    expected = [(name, severity) for name in source.names for severity in settings.severities]
    results = shift_results(subjects, dataset, source, settings)
    for name, severity in expected:
        if severity == settings.severities[0]:
            say(f"[{1 + source.names.index(name)}/{len(source.names)}] {name}")
        for kept, result in zip(found, next(results), strict=True):
            kept.append(result)
    return [
        shift_section(source, settings, unshifted, of_one, dataset.spec)
        for unshifted, of_one in zip(clean, found, strict=True)
    ]


def shift_section(
    source: ShiftSource,
    settings: ShiftSettings,
    clean: ShiftResult,
    results: Sequence[ShiftResult],
    spec: DataSpec,
) -> ShiftSection:
    """One ensemble's section, of its results on the data as they are and under each corruption at each severity."""
    clean, results = _in_own_units(clean, spec), [_in_own_units(result, spec) for result in results]
    averaged = [result.row.to_row() for result in results if result.row.corruption in source.averaged]
    mean, by_severity = means_of(averaged)
    return ShiftSection(
        kind=source.kind,
        seed=settings.seed if source.files is None else None,
        clean=clean.row,
        rows=tuple(result.row for result in results),
        averaged=source.averaged,
        mean=mean,
        by_severity=by_severity,
        severities=tuple(settings.severities),
        risk_coverage=_risks(source, clean, results),
    )


def relate(
    sections: Sequence[ShiftSection], reference: int, name: str, *, say: Callable[[str], None]
) -> list[ShiftSection]:
    """The sections with their mean corruption error, NaN where the reference makes no error at all.

    Args:
        sections: of several runs under one shift.
        reference: index of the section whose errors count as 100.
        name: the reference's name in the record.
        say: told why there is no mean corruption error.
    """
    against = [row.to_row() for row in sections[reference].averaged_rows]
    related = []
    for index, section in enumerate(sections):
        try:
            error = mce_of([row.to_row() for row in section.averaged_rows], against)
        except InputError as reason:
            error = float("nan")
            if index == reference:
                say(f"note: no mCE: {reason.requirement}, but got {reason.got}")
        related.append(replace(section, reference=name, mce=error))
    return related


def _in_own_units(result: ShiftResult, spec: DataSpec) -> ShiftResult:
    row, scores = result.row, spec.in_own_units(result.row.scores)
    row = ShiftRow(corruption=row.corruption, severity=row.severity, rows=row.rows, **scores)
    return ShiftResult(row=row, risk=result.risk)


def _risks(source: ShiftSource, clean: ShiftResult, results: Sequence[ShiftResult]) -> ShiftRisks | None:
    if clean.risk is None:
        return None
    by_name: dict[str, list[Sequence[float]]] = {}
    for result in results:
        by_name.setdefault(result.row.corruption, []).append(result.risk or ())
    corruptions = {name: _mean(curves) for name, curves in by_name.items()}
    return ShiftRisks(
        coverage=COVERAGES,
        clean=clean.risk,
        mean=_mean([corruptions[name] for name in source.averaged]),
        corruptions=corruptions,
    )


def _mean(curves: Sequence[Sequence[float]]) -> tuple[float, ...]:
    """The mean at each coverage."""
    return tuple(torch.tensor(curves, dtype=torch.float64).mean(dim=0).tolist())
