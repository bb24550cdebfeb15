"""Evaluate finished runs: load a run, score it, and store the result in its folder."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import TypeVar

import motet
from motet._internal.files import remove_leftovers
from motet._internal.folder_lock import only_process_in
from motet._internal.own_code import changed_file, source_changed
from motet.data import Dataset, describe, load
from motet.ensemble import Ensemble
from motet.errors import InputError
from motet.evaluation.clean import score_clean, score_part
from motet.evaluation.records import Evaluation, read_evaluation, write_evaluation
from motet.evaluation.throughput import score_distinct
from motet.experiments.build import Builder
from motet.experiments.experiment import Experiment
from motet.experiments.provenance import source_of
from motet.experiments.run import Run, load_ensemble
from motet.experiments.threads import run_threads
from motet.grouping import Shared
from motet.methods import METHODS
from motet.training import resolve_device

S = TypeVar("S")

EVALUATION = "evaluation.json"
"""The file name of an evaluation's record in the run's folder."""


def evaluate(
    run: Run, *, distinct: bool = False, data_dir: Path | None = None, device: str = "auto", seed: int = 0
) -> Evaluation:
    """Score a run's test split again; the record is also written to ``evaluation.json`` in the run's folder.

    ``ensemble``: all members on the same input. ``distinct``, if requested: throughput use, a different example for
    each member. Each has its scores, the floating-point operations for one example, and, for classes, the risk-coverage
    curve: error rates (``risk``) at 100 coverages (``coverage``), and the ``area``. Results of previous evaluations
    that are not computed again are kept.

    Args:
        run: the run, see `motet.experiments.find_run`.
        distinct: whether to evaluate throughput use as well.
        data_dir: the folder that is searched for data files first.
        device: see `motet.training.fit`.
        seed: decides which examples are predicted together in throughput use.

    Raises:
        InputError: if members do not have separate inputs, and if data, model or checkpoint are not the run's.
    """
    experiment = experiment_of(run)
    if distinct and experiment.method.members == 1:
        raise InputError(
            "throughput use needs two members or more",
            got=f"{experiment.method}",
            fix="Evaluate it without --distinct",
        )
    with _loaded(run, experiment, data_dir, device) as (ensemble, dataset):
        if distinct and not ensemble.has_distinct_inputs:
            raise InputError(
                "throughput use needs members with separate inputs",
                got=f"{experiment.method}, whose members share one input",
                fix=f"Evaluate it without --distinct, or train a method with an input for each member: {_own_inputs()}",
            )
        found = replace(evaluation_metadata(experiment, ensemble, dataset), ensemble=score_clean(ensemble, dataset))
        if distinct:
            found = replace(found, distinct=score_distinct(ensemble, dataset, seed=seed))
        return keep_evaluation(run, found)


def _own_inputs() -> str:
    """Return the names of motet's methods whose members have separate inputs."""
    return ", ".join(name for name, kind in METHODS.items() if not isinstance(kind().grouping, Shared))


def evaluate_part(
    run: Run,
    *,
    members: int | Sequence[int] | None = None,
    lost: float | Sequence[int] | None = None,
    data_dir: Path | None = None,
    device: str = "auto",
    seed: int = 0,
) -> Evaluation:
    """Score some members on the test split; the result is ``part`` in the run's ``evaluation.json``.

    Args:
        run: the run, see `motet.experiments.find_run`.
        members, lost: see `motet.Ensemble.predict`; lost members are drawn once, for all examples.
        data_dir, device: see `motet.experiments.evaluate`.
        seed: the seed for drawing lost members.

    Returns:
        The record; its ``part`` has the members' indices, their scores, and the operations for one example.

    Raises:
        InputError: for an empty, repeated or invalid choice of members; if data, model or checkpoint are not the run's.
    """
    experiment = experiment_of(run)
    with _loaded(run, experiment, data_dir, device) as (ensemble, dataset):
        part = score_part(ensemble, dataset, members=members, lost=lost, seed=seed)
        found = replace(evaluation_metadata(experiment, ensemble, dataset), part=part)
        return keep_evaluation(run, found)


def load_previous_evaluation(folder: Path) -> Evaluation | None:
    """Return the results of previous evaluations of the run in `folder`; None if there is no readable record.

    Raises:
        InputError: for a record with other content than motet writes, naming the field.
    """
    return read_evaluation(folder / EVALUATION)


def keep_evaluation(run: Run, found: Evaluation) -> Evaluation:
    """Add results to the run's record, write it, and return it as it will be read later."""
    before = load_previous_evaluation(run.folder)
    if before is not None:
        older = dict.fromkeys(_sections(before), before.motet) | (before.older or {})
        older = {name: version for name, version in older.items() if name not in _sections(found)}
        older = {name: version for name, version in older.items() if version != found.motet}
        found = replace(
            found,
            ensemble=found.ensemble or before.ensemble,
            distinct=found.distinct or before.distinct,
            part=found.part or before.part,
            shifts=_joined(before.shifts, found.shifts),
            ood=_joined(before.ood, found.ood),
            older=older or None,
        )
    write_evaluation(run.folder / EVALUATION, found)
    written = load_previous_evaluation(run.folder)
    assert written is not None
    return written


def _sections(found: Evaluation) -> list[str]:
    """Return the names of the results in the record."""
    single = [name for name in ("ensemble", "distinct", "part") if getattr(found, name) is not None]
    by_name = [f"{kind}.{name}" for kind in ("shifts", "ood") for name in getattr(found, kind) or {}]
    return single + by_name


def _joined(before: dict[str, S] | None, found: dict[str, S] | None) -> dict[str, S] | None:
    """Merge sections by name; new ones replace old ones."""
    return before if found is None else {**(before or {}), **found}


def evaluation_metadata(experiment: Experiment, ensemble: Ensemble, dataset: Dataset) -> Evaluation:
    """Return an evaluation's record without results.

    Args:
        experiment: the run's experiment.
        ensemble: its ensemble.
        dataset: its data.
    """
    return Evaluation(
        method=str(experiment.method),
        members=ensemble.members,
        data=describe(dataset),
        motet=motet.__version__,
    )


@contextmanager
def _loaded(run: Run, experiment: Experiment, data_dir: Path | None, device: str) -> Iterator[tuple[Ensemble, Dataset]]:
    """Load the run's ensemble and its data on the device. In this context no other process may evaluate the run, and
    the number of threads is the run's.
    """
    place = resolve_device(device)
    with hold_runs([run]):
        load_previous_evaluation(run.folder)  # a record that cannot be kept raises before anything is evaluated
        dataset = load(experiment.data, data_dir, options=experiment.data_options)
        check_data(run, experiment, dataset)
        with run_threads(experiment, Builder(dataset), place):
            yield load_ensemble(run, dataset).to(place), dataset.to(place)


@contextmanager
def hold_runs(runs: Sequence[Run]) -> Iterator[None]:
    """Let no other process use the folders of these runs, and remove what killed processes left there.

    Args:
        runs: the runs.

    Raises:
        FolderInUseError: if another process is using one of them.
    """
    with ExitStack() as held:
        for run in runs:
            held.enter_context(only_process_in(run.folder))
            remove_leftovers(run.folder)
        yield


def experiment_of(run: Run) -> Experiment:
    """Return the run's experiment. Raises `InputError` if it cannot be read, or if the user's files have
    changed since.
    """
    experiment = run.experiment
    _check_source(run, experiment)
    return experiment


def check_data(run: Run, experiment: Experiment, dataset: Dataset) -> None:
    """Check that a data set is the one that a run was made with, as far as the record tells.

    Args:
        run: the run.
        experiment: its experiment.
        dataset: the data set.

    Raises:
        InputError: if it is another one.
    """
    described, held = describe(dataset), run.record.data
    # The notes are about the settings too, and about what a version of motet tells.
    names = [] if held is None else [item.name for item in fields(held) if item.name != "notes"]
    recorded = {name: value for name in names if (value := getattr(held, name)) is not None}
    if any(getattr(described, name) != value for name, value in recorded.items()):
        raise InputError(
            "a run must be evaluated on its own data",
            got=f"other data called {experiment.data}: {described.test} test rows of "
            f"{list(described.input_shape or ())}",
            fix="Pass the --data-dir of the run",
        )


def _check_source(run: Run, experiment: Experiment) -> None:
    """Check that the user's files are unchanged since the run was made."""
    changed = changed_file(run.record.source, source_of(experiment))
    if changed is not None:
        what = "model" if changed_file(run.record.source, source_of(experiment.model)) else "code"
        raise source_changed(what, changed, run.folder / "run.json")
