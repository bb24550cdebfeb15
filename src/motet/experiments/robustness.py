"""Finished runs under shift, and against data that they were not made for."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from motet._internal.files import read_json, write_json
from motet.data import Dataset, load
from motet.errors import InputError
from motet.evaluation import summarise_shifts
from motet.experiments.compare import RECORD
from motet.experiments.evaluate import EVALUATION, check_data, earlier, experiment_of, find_run, heading
from motet.experiments.experiment import Experiment
from motet.experiments.ood_sets import check_ood, load_ood
from motet.experiments.parts import Parts, base_of, digest_of_data, digest_of_rows
from motet.experiments.records import Comparison, read_comparison
from motet.experiments.run import Run, load_ensemble
from motet.experiments.sections import Evaluated, Strange, averaged, ood_section, shift_sections
from motet.experiments.shift_source import ShiftSource, find_shift
from motet.experiments.threads import run_threads
from motet.shifts import SEVERITIES, without_overlap
from motet.training import resolve_device


def find_runs(folder: Path) -> list[Run]:
    """The finished run in `folder`, or all runs of the finished comparison there, method by method.

    Raises:
        InputError: see `find_run`; and for a comparison that is not finished.
    """
    if not (folder / RECORD).is_file():
        return [find_run(folder)]
    record = read_comparison(folder / RECORD)
    if not isinstance(record, Comparison):
        raise InputError(
            "a comparison must be finished to be evaluated",
            got=f"{folder / RECORD} without rows",
            fix="Run its motet compare command again to finish it",
        )
    return [find_run(folder / name) for row in record.rows for name in row.runs]


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
) -> list[dict[str, Any]]:
    """Evaluate runs of one data set under a shift and against other data; records also stand in ``evaluation.json``.

    A record's ``shifts`` holds, by the shift's name, the clean row, a row for each corruption and severity, and their
    means, and risk-coverage curves: on the clean rows, the mean over corruptions and severities, and each corruption's
    over severities; ``ood`` a row for each other data set and score. Other parts of an earlier evaluation are kept.
    Shifted images are made once for all runs. Stopped and called again, it goes on after the last corruption, severity
    and data set that was finished, see `motet.experiments.parts.Parts`.

    Args:
        runs: at least one, see `find_runs`.
        shift: see `motet.experiments.shift_source.find_shift`.
        severities: from 1 to 5, each once.
        ood: names or folders of other data sets, see `motet.experiments.ood_sets.load_ood`.
        reference: a run on the same data, for the mean corruption error. It is evaluated too.
        data_dir: where data files are looked for first.
        device: see `motet.training.fit`.
        say: told what happens, a line at a time.

    Raises:
        InputError: before anything is evaluated, for an unknown shift or data set, severities outside 1..5, a shift
            that does not fit the data (official files also by their labels and the shape of their images), data out of
            distribution that all stands in the run's, runs of different data, and regression where classes are needed.
    """
    severities = _checked(severities)
    source = None if shift is None else find_shift(shift)
    place = resolve_device(device)
    every = [*runs, *([reference] if reference is not None and not _among(reference, runs) else [])]
    experiments = [experiment_of(run) for run in every]
    first = experiments[0]
    dataset = load(first.data, data_dir, options=first.data_options)
    _check_alike(every, experiments, dataset)
    if source is not None:
        source.check(dataset)
    if reference is not None and (source is None or dataset.spec.task != "classification"):
        raise InputError(
            "a reference run is for the mean corruption error of a classification",
            got="no --shift" if source is None else f"a regression of {dataset.spec.name}",
            fix="Leave --reference out",
        )
    for note in source.notes if source is not None else ():
        say(f"note: {note}")
    if ood:
        check_ood(dataset)
    others = {name: _strange(name, dataset, data_dir) for name in dict.fromkeys(ood)}
    with run_threads(first, dataset, place):
        ensembles = [load_ensemble(run, dataset).to(place) for run in every]
        digest = digest_of_data(dataset)
        dataset = dataset.to(place)
        evaluated = [
            Evaluated(
                run=run,
                ensemble=ensemble,
                dataset=dataset,
                parts=Parts(run.folder, base_of(run, digest, place)),
            )
            for run, ensemble in zip(every, ensembles, strict=True)
        ]
        sections: list[dict[str, Any]] = []
        if source is not None:
            sections = shift_sections(evaluated, source, severities=severities, device=place, say=say)
            if reference is not None:
                at = next(i for i, run in enumerate(every) if run.folder.resolve() == reference.folder.resolve())
                for section in sections:
                    _relate(section, sections[at], source, str(reference.folder), say)
        found = [ood_section(each, others, say=say) if others else {} for each in evaluated[: len(runs)]]
        heads = [
            heading(experiment, ensemble, dataset) for experiment, ensemble in zip(experiments, ensembles, strict=True)
        ]
    for index, run in enumerate(every):
        record = earlier(run.folder) | heads[index]
        if source is not None:
            record["shifts"] = _part(record, "shifts") | {source.name: sections[index]}
        if index < len(runs) and others:
            record["ood"] = _part(record, "ood") | found[index]
        write_json(run.folder / EVALUATION, record)
    for each in evaluated:
        each.parts.clear()
    return [dict(read_json(run.folder / EVALUATION)) for run in runs]


def _strange(name: str, dataset: Dataset, data_dir: Path | None) -> Strange:
    """Another data set without what overlaps. Raises `InputError` where nothing is left."""
    if not name.strip():
        raise InputError(
            "--ood needs the names or folders of data sets", got=repr(name), fix="Pass --ood cifar100, for example"
        )
    split = load_ood(name, dataset, data_dir=data_dir)
    try:
        kept, dropped = without_overlap(split, dataset.train, dataset.validation, dataset.test)
    except InputError as error:
        raise InputError(f"against {name}, {error.requirement}", got=error.got, fix=error.fix) from error
    return Strange(split=kept, dropped=dropped, digest=digest_of_rows(kept))


def _check_alike(runs: Sequence[Run], experiments: Sequence[Experiment], dataset: Dataset) -> None:
    """Raise `InputError` unless all runs are of that data."""
    first = experiments[0]
    for run, experiment in zip(runs, experiments, strict=True):
        if (experiment.data, experiment.data_options) != (first.data, first.data_options):
            raise InputError(
                "runs that are evaluated together must be of the same data",
                got=f"{runs[0].folder} of {first.data} and {run.folder} of {experiment.data}",
                fix="Evaluate them one by one",
            )
        check_data(run, experiment, dataset)


def _relate(
    section: dict[str, Any],
    reference: Mapping[str, Any],
    source: ShiftSource,
    name: str,
    say: Callable[[str], None],
) -> None:
    """Add the mean corruption error; null, and said why, where the reference makes no error at all."""
    section["reference"] = name
    try:
        related = summarise_shifts(averaged(section, source), reference=averaged(reference, source))
    except InputError as error:
        section["mce"] = None
        note = f"note: no mCE: {error.requirement}, but got {error.got}"
        say(note) if section is reference else None
    else:
        section["mce"] = related["mce"]


def _part(record: Mapping[str, Any], key: str) -> dict[str, Any]:
    part = record.get(key)
    return dict(part) if isinstance(part, dict) else {}


def _among(run: Run, runs: Sequence[Run]) -> bool:
    return any(run.folder.resolve() == other.folder.resolve() for other in runs)


def _checked(severities: Sequence[int]) -> tuple[int, ...]:
    wrong = [severity for severity in severities if severity not in SEVERITIES]
    if wrong or not severities:
        raise InputError(
            "severities must be whole numbers from 1 to 5",
            got=", ".join(map(str, wrong)) or "none",
            fix="Pass --severities 1 3 5, or leave it out for all five",
        )
    return tuple(sorted(set(severities)))
