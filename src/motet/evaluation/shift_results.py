"""Score ensembles under shift, with or without a cache. Every evaluation under shift uses this module."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar, final

from motet.data import Dataset
from motet.data.batches import in_order
from motet.ensemble import Ensemble
from motet.evaluation.cache import EvaluationCache
from motet.evaluation.predict import prediction_of
from motet.evaluation.shift_records import ShiftResult, ShiftRow
from motet.evaluation.shift_source import ShiftSettings, ShiftSource
from motet.evaluation.shifted_rows import Batches, Shifted
from motet.metrics.running import RunningScores

T = TypeVar("T")


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """An ensemble that is evaluated, and the cache for its results, if there is one."""

    ensemble: Ensemble
    cache: EvaluationCache | None = None

    def find(self, kind: type[T], key: Mapping[str, object] | None) -> T | None:
        """Return the cached result for `key`; None if there is no result, no cache, or no key."""
        return None if self.cache is None or key is None else self.cache.find(kind, **key)

    def keep(self, found: object, key: Mapping[str, object] | None) -> None:
        """Store a result in the cache under `key`, if there are both."""
        if self.cache is not None and key is not None:
            self.cache.keep(found, **key)


def shift_results(
    subjects: Sequence[Subject], dataset: Dataset, source: ShiftSource, settings: ShiftSettings
) -> Iterator[list[ShiftResult]]:
    """Yield, for each corruption and severity, the result of each ensemble.

    Shifted rows are made once for all ensembles, and only if a result is not in a cache.

    Args:
        subjects: ensembles of the same data on one device.
        dataset: normalises the inputs.
        source: the source of the shifted rows.
        settings: how they are shifted.
    """
    cached = any(subject.cache is not None for subject in subjects)
    device = next(subjects[0].ensemble.parameters()).device
    for name, severity, batches in source.rows(dataset, settings, device):
        key = source.key(name, severity, settings) if cached else None
        yield score_shifted(subjects, dataset, (name, severity, batches), key)


def clean_results(subjects: Sequence[Subject], dataset: Dataset, settings: ShiftSettings) -> list[ShiftResult]:
    """Return the result of each ensemble on unshifted data.

    Args:
        subjects: see `shift_results`.
        dataset: see `shift_results`.
        settings: see `shift_results`.
    """
    cached = any(subject.cache is not None for subject in subjects)
    batches = in_order(settings.split or dataset.test, settings.batch_size)
    key = {"shift": None, **settings.key, "seed": None, "constants": None} if cached else None
    return score_shifted(subjects, dataset, ("none", 0, batches), key)


def score_shifted(
    subjects: Sequence[Subject], dataset: Dataset, shifted: Shifted, key: Mapping[str, object] | None
) -> list[ShiftResult]:
    """Return the result of each ensemble on some rows, from its cache or computed and stored there.

    Args:
        subjects: see `shift_results`.
        dataset: see `shift_results`.
        shifted: the corruption, the severity, and the rows.
        key: the key in the caches; None to use no cache.
    """
    name, severity, batches = shifted
    results = [subject.find(ShiftResult, key) for subject in subjects]
    missing = [index for index, result in enumerate(results) if result is None]
    if missing:
        scored = score_batches([subjects[index].ensemble for index in missing], dataset, batches)
        for index, scores in zip(missing, scored, strict=True):
            results[index] = result_of(name, severity, scores)
            subjects[index].keep(results[index], key)
    return [result for result in results if result is not None]


def score_batches(ensembles: Sequence[Ensemble], dataset: Dataset, batches: Batches) -> list[RunningScores]:
    """Return the scores of several ensembles of the same data on the same rows, which are made once for all of them.

    Args:
        ensembles: ensembles on one device.
        dataset: normalises the inputs.
        batches: inputs as the data set stores them, and their targets.
    """
    scores = [RunningScores() for _ in ensembles]
    device = next(ensembles[0].parameters()).device
    for x, y in batches:
        inputs, targets = dataset.prepare(x.to(device)), y.to(device)
        for ensemble, each in zip(ensembles, scores, strict=True):
            each.add(prediction_of(ensemble, dataset, ensemble.predict(inputs).outputs_BMC, targets))
    return scores


def result_of(name: str, severity: int, scores: RunningScores) -> ShiftResult:
    """Return the result for a corruption at a severity.

    Args:
        name: the corruption.
        severity: the severity.
        scores: the scores of all batches.
    """
    curve = scores.risk_coverage()
    return ShiftResult(
        row=ShiftRow(corruption=name, severity=severity, rows=scores.rows, **scores.result()),
        risk=None if curve is None else tuple(curve.at().tolist()),
    )
