"""The sections of a run's record: rows under one shift, their means, risk-coverage curves, mean corruption error."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from motet.data import Dataset
from motet.errors import InputError
from motet.evaluation.shift_records import ShiftResult, ShiftRisks, ShiftSection
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
    """Return each ensemble's section under one shift; regression scores are in the original unit of the targets.

    Args:
        subjects, dataset, source, settings: see `motet.evaluation.shift_results.shift_results`.
        say: called with one line when a corruption begins.
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
    return [shift_section(source, settings, unshifted, of_one) for unshifted, of_one in zip(clean, found, strict=True)]


def shift_section(
    source: ShiftSource,
    settings: ShiftSettings,
    clean: ShiftResult,
    results: Sequence[ShiftResult],
) -> ShiftSection:
    """Return one ensemble's section from its results.

    Args:
        source: the source of the shifted rows.
        settings: how they are shifted.
        clean: the result on unshifted data.
        results: the results for each corruption and severity.
    """
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


def with_mean_corruption_errors(
    sections: Sequence[ShiftSection], reference: int, name: str, *, say: Callable[[str], None]
) -> list[ShiftSection]:
    """Return the sections with their mean corruption error, which is NaN if the reference makes no errors.

    Args:
        sections: sections of several runs under one shift.
        reference: index of the section whose errors count as 100.
        name: the reference's name in the record.
        say: called with the reason if there is no mean corruption error.
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
    """Return the mean at each coverage."""
    return tuple(torch.tensor(curves, dtype=torch.float64).mean(dim=0).tolist())
