"""The one way in which ensembles are scored under shift, with or without a cache."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar, final

from motet.data import Dataset
from motet.data.batches import in_order
from motet.ensemble import Ensemble
from motet.evaluation.cache import EvaluationCache
from motet.evaluation.shift_records import ShiftResult, ShiftRow
from motet.evaluation.shift_source import ShiftSettings, ShiftSource
from motet.evaluation.shifted_rows import Batches, Shifted
from motet.metrics.running import RunningScores

T = TypeVar("T")


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Subject:
    """An ensemble that is evaluated, and where its results are kept until all are there, if anywhere."""

    ensemble: Ensemble
    cache: EvaluationCache | None = None

    def find(self, kind: type[T], key: Mapping[str, object] | None) -> T | None:
        """The result that is in the cache under `key`; None if there is none, no cache, or no key."""
        return None if self.cache is None or key is None else self.cache.find(kind, **key)

    def keep(self, found: object, key: Mapping[str, object] | None) -> None:
        """Keep a result in the cache under `key`, if there are both."""
        if self.cache is not None and key is not None:
            self.cache.keep(found, **key)


def shift_results(
    subjects: Sequence[Subject], dataset: Dataset, source: ShiftSource, settings: ShiftSettings
) -> Iterator[list[ShiftResult]]:
    """For each corruption and severity, the result of each ensemble.

    Shifted rows are made once for all ensembles, and only for those whose cache does not have their result.

    Args:
        subjects: ensembles of the same data on one device.
        dataset: normalises the inputs.
        source: where shifted rows come from.
        settings: how they are shifted.
    """
    cached = any(subject.cache is not None for subject in subjects)
    device = next(subjects[0].ensemble.parameters()).device
    for name, severity, batches in source.rows(dataset, settings, device):
        key = source.key(name, severity, settings) if cached else None
        yield score_shifted(subjects, dataset, (name, severity, batches), key)


def clean_results(subjects: Sequence[Subject], dataset: Dataset, settings: ShiftSettings) -> list[ShiftResult]:
    """The result of each ensemble on the data as they are. Arguments as of `shift_results`."""
    cached = any(subject.cache is not None for subject in subjects)
    batches = in_order(settings.split or dataset.test, settings.batch_size)
    key = {"shift": None, **settings.key, "seed": None, "constants": None} if cached else None
    return score_shifted(subjects, dataset, ("none", 0, batches), key)


def score_shifted(
    subjects: Sequence[Subject], dataset: Dataset, shifted: Shifted, key: Mapping[str, object] | None
) -> list[ShiftResult]:
    """The result of each ensemble on some rows: found in its cache under `key`, or scored and kept there."""
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
    """The scores of several ensembles of the same data on the same rows, which are made once for all of them.

    Args:
        ensembles: on one device.
        dataset: normalises the inputs.
        batches: inputs as the data set stores them, and their targets.
    """
    scores = [RunningScores() for _ in ensembles]
    device = next(ensembles[0].parameters()).device
    for x, y in batches:
        inputs, targets = dataset.prepare(x.to(device)), y.to(device)
        for ensemble, each in zip(ensembles, scores, strict=True):
            each.add(ensemble.predict(inputs, targets=targets))
    return scores


def result_of(name: str, severity: int, scores: RunningScores) -> ShiftResult:
    """What was found for a corruption at a severity."""
    curve = scores.risk_coverage()
    return ShiftResult(
        row=ShiftRow(corruption=name, severity=severity, rows=scores.rows, **scores.result()),
        risk=None if curve is None else tuple(curve.at().tolist()),
    )
