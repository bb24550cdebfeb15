"""Evaluate finished runs under shift and against other data sets."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from motet.data import Dataset, load
from motet.errors import InputError
from motet.evaluation.cache import CACHE_FOLDER, EvaluationCache
from motet.evaluation.out_of_distribution import OODSplit, check_ood, load_ood_split, ood_sections
from motet.evaluation.records import Evaluation
from motet.evaluation.shift_records import ShiftSection
from motet.evaluation.shift_results import Subject
from motet.evaluation.shift_sections import shift_sections, with_mean_corruption_errors
from motet.evaluation.shift_source import ShiftSettings, ShiftSource, find_shift
from motet.experiments.build import Builder
from motet.experiments.evaluate_runs import (
    check_data,
    evaluation_metadata,
    experiment_of,
    hold_runs,
    keep_evaluation,
    load_previous_evaluation,
)
from motet.experiments.experiment import Experiment
from motet.experiments.run import Run, load_ensemble
from motet.experiments.threads import run_threads
from motet.shifts import SEVERITIES
from motet.training import resolve_device

SEED = 0
"""The seed of the corruptions. It is the same for every run, so that all get the same images."""


def evaluate_robustness(
    runs: Sequence[Run],
    *,
    shift: str | None = None,
    severities: Sequence[int] = SEVERITIES,
    ood: Sequence[str] = (),
    reference: Run | None = None,
    data_dir: Path | None = None,
    device: str = "auto",
    say: Callable[[str], None] = lambda _: None,
) -> list[Evaluation]:
    """Evaluate runs on the same data under a shift and against other data; records are also written to
    ``evaluation.json``.

    A record's ``shifts`` contains, by the shift's name, the row of unshifted data, a row for each corruption and
    severity, their means, and risk-coverage curves: on unshifted data, the mean over corruptions and severities, and
    each corruption's mean over severities. ``ood`` contains a row for each other data set and score. Results of
    previous evaluations under other shifts and against other data are kept. Shifted images are made once for all runs.
    After an interruption, the same call continues after the last corruption, severity and data set that was finished,
    see `motet.evaluation.EvaluationCache`.

    Args:
        runs: at least one run, see `find_runs`.
        shift: see `motet.evaluation.find_shift`.
        severities: severities from 1 to 5, each once.
        ood: names or folders of other data sets, see `motet.evaluation.load_ood`.
        reference: a run on the same data, for the mean corruption error. It is evaluated too.
        data_dir: the folder that is searched for data files first.
        device: see `motet.training.fit`.
        say: called with one line about each step.

    Raises:
        InputError: before anything is evaluated, for an unknown shift or data set, severities outside 1..5, a shift
            that does not fit the data (for official files also by their labels and the shape of their images), other
            data whose rows all occur in the run's, runs on different data, and regression where classes are needed.
    """
    severities = _checked(severities)
    source = None if shift is None else find_shift(shift)
    place = resolve_device(device)
    every = [*runs, *([reference] if reference is not None and _index_of(reference, runs) is None else [])]
    with hold_runs(every):
        experiments = [experiment_of(run) for run in every]
        dataset = load(experiments[0].data, data_dir, options=experiments[0].data_options)
        _check_alike(every, experiments, dataset)
        source = _checked_source(source, reference, dataset, say)
        others = _other_data(ood, dataset, data_dir)
        with run_threads(experiments[0], Builder(dataset), place):
            subjects = [_subject(run, dataset, place) for run in every]
            dataset = dataset.to(place)
            found = [
                evaluation_metadata(experiment, subject.ensemble, dataset)
                for experiment, subject in zip(experiments, subjects, strict=True)
            ]
            if source is not None:
                settings = ShiftSettings(severities=severities, seed=SEED)
                sections = shift_sections(subjects, dataset, source, settings, say=say)
                found = _with_shift(found, source.name, _related(sections, reference, every, say))
            if others:
                found = _with_ood(found, runs, subjects, dataset, others, say=say)
        kept = [keep_evaluation(run, each) for run, each in zip(every, found, strict=True)]
        _clear_caches(subjects)
        return kept[: len(runs)]


def _checked(severities: Sequence[int]) -> tuple[int, ...]:
    wrong = [severity for severity in severities if severity not in SEVERITIES]
    if wrong or not severities:
        raise InputError(
            "severities must be integers from 1 to 5",
            got=", ".join(map(str, wrong)) or "none",
            fix="Pass --severities 1 3 5, or leave it out for all five",
        )
    return tuple(sorted(set(severities)))


def _check_alike(runs: Sequence[Run], experiments: Sequence[Experiment], dataset: Dataset) -> None:
    """Check that all runs have that data, and that their previous evaluations can be kept."""
    first = experiments[0]
    for run, experiment in zip(runs, experiments, strict=True):
        if (experiment.data, experiment.data_options) != (first.data, first.data_options):
            raise InputError(
                "runs that are evaluated together must be of the same data",
                got=f"{runs[0].folder} of {first.data} and {run.folder} of {experiment.data}",
                fix="Evaluate them one by one",
            )
        check_data(run, experiment, dataset)
        load_previous_evaluation(run.folder)


def _checked_source(
    source: ShiftSource | None, reference: Run | None, dataset: Dataset, say: Callable[[str], None]
) -> ShiftSource | None:
    """Return the shift for that data. Raises `InputError` if shift or reference do not fit."""
    if source is not None:
        source.check(dataset)
    if reference is not None and (source is None or dataset.spec.task != "classification"):
        raise InputError(
            "a reference run needs a shift and a classification, for the mean corruption error",
            got="no --shift" if source is None else f"{dataset.spec.task_in_words} of {dataset.spec.name}",
            fix="Leave --reference out",
        )
    if source is None:
        return None
    for note in source.notes:
        say(f"note: {note}")
    return source.for_data(dataset)


def _other_data(names: Sequence[str], dataset: Dataset, data_dir: Path | None) -> dict[str, OODSplit]:
    """Return the other data sets by name, in the form of the run's. Raises `InputError` if that is not possible."""
    if names:
        check_ood(dataset)
    return {name: load_ood_split(name, dataset, data_dir=data_dir) for name in dict.fromkeys(names)}


def _subject(run: Run, dataset: Dataset, device: torch.device) -> Subject:
    """Return the run's ensemble on the device, with a cache in the run's folder."""
    ensemble = load_ensemble(run, dataset).to(device)
    cache = EvaluationCache.for_ensemble(run.folder / CACHE_FOLDER, ensemble, dataset, about=run.record.settings)
    return Subject(ensemble=ensemble, cache=cache)


def _with_shift(found: list[Evaluation], name: str, sections: list[ShiftSection]) -> list[Evaluation]:
    return [replace(each, shifts={name: section}) for each, section in zip(found, sections, strict=True)]


def _with_ood(
    found: list[Evaluation],
    runs: Sequence[Run],
    subjects: Sequence[Subject],
    dataset: Dataset,
    others: dict[str, OODSplit],
    *,
    say: Callable[[str], None],
) -> list[Evaluation]:
    """Add each run's sections for the other data sets; a reference run is not evaluated against them."""
    asked = []
    for run, subject, each in zip(runs, subjects, found, strict=False):
        say(f"out of distribution: {run.folder.name}")
        asked.append(replace(each, ood=ood_sections(subject, dataset, others)))
    return [*asked, *found[len(runs) :]]


def _clear_caches(subjects: Sequence[Subject]) -> None:
    for subject in subjects:
        if subject.cache is not None:
            subject.cache.clear()


def _related(
    sections: list[ShiftSection], reference: Run | None, runs: Sequence[Run], say: Callable[[str], None]
) -> list[ShiftSection]:
    """Return the sections with their mean corruption error, if there is a reference among the runs."""
    at = None if reference is None else _index_of(reference, runs)
    if reference is None or at is None:
        return sections
    return with_mean_corruption_errors(sections, at, str(reference.folder), say=say)


def _index_of(run: Run, runs: Sequence[Run]) -> int | None:
    return next((i for i, other in enumerate(runs) if run.folder.resolve() == other.folder.resolve()), None)
