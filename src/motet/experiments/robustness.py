"""Finished runs under shift, and against data that they were not made for."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from motet.data import Dataset, Split, load
from motet.ensemble import Ensemble
from motet.errors import InputError
from motet.experiments.compare import RECORD
from motet.experiments.evaluate import EVALUATION, check_data, earlier, experiment_of, find_run, heading
from motet.experiments.experiment import Experiment
from motet.experiments.ood_sets import check_ood, load_ood
from motet.experiments.run import Run, load_ensemble
from motet.experiments.shift_source import ShiftSource, find_shift
from motet.experiments.threads import run_threads
from motet.files import read_json, write_json
from motet.shifts import SEVERITIES
from motet.training import evaluate_clean, evaluate_ood, evaluate_shifted, resolve_device, summarise_shifts
from motet.training.evaluate_shift import Row
from motet.training.shifted import Shifted

SEED = 0
"""Of the corruptions, the same for every run, so that all are shown the same images."""


def find_runs(folder: Path) -> list[Run]:
    """The finished run in `folder`, or all runs of the finished comparison there, method by method.

    Raises:
        InputError: see `find_run`; and for a comparison that is not finished.
    """
    if not (folder / RECORD).is_file():
        return [find_run(folder)]
    record = read_json(folder / RECORD)
    rows = record.get("rows") if isinstance(record, dict) else None
    if not rows:
        raise InputError(
            "a comparison must be finished to be evaluated",
            got=f"{folder / RECORD} without rows",
            fix="Run its motet compare command again to finish it",
        )
    return [find_run(folder / name) for row in rows for name in row["runs"]]


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
    means; ``ood`` a row for each other data set and score. Other parts of an earlier evaluation are kept. Shifted
    images are made once for all runs.

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
            that does not fit the data, runs of different data, and regression where classes are needed.
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
    if ood:
        check_ood(dataset)
    others = {name: load_ood(name, dataset, data_dir=data_dir) for name in dict.fromkeys(ood)}
    with run_threads(first, dataset, place):
        ensembles = [load_ensemble(run, dataset).to(place) for run in every]
        dataset = dataset.to(place)
        records = [
            earlier(run.folder) | heading(experiment, ensemble, dataset)
            for run, experiment, ensemble in zip(every, experiments, ensembles, strict=True)
        ]
        if source is not None:
            shifted = source.rows(dataset, severities=severities, seed=SEED, device=place)
            sections = _shifted(ensembles, dataset, _told(shifted, source, say), source=source)
            for section in sections:
                section["severities"] = list(severities)
            for record, section in zip(records, sections, strict=True):
                _summarise(section, source)
                record["shifts"] = _part(record, "shifts") | {source.name: section}
            if reference is not None:
                at = next(i for i, run in enumerate(every) if run.folder.resolve() == reference.folder.resolve())
                for section in sections:
                    _relate(section, sections[at], source, str(reference.folder))
        if others:
            for run, record, ensemble in zip(runs, records, ensembles, strict=False):
                say(f"out of distribution: {run.folder.name}")
                held = _part(record, "ood")
                for name, split in others.items():
                    held[name] = _against(name, split.to(place), ensemble, dataset)
                record["ood"] = held
    for run, record in zip(every, records, strict=True):
        write_json(run.folder / EVALUATION, record)
    return [dict(read_json(run.folder / EVALUATION)) for run in runs]


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


def _told(parts: Iterable[Shifted], source: ShiftSource, say: Callable[[str], None]) -> Iterator[Shifted]:
    """The same, saying each new corruption."""
    seen: set[str] = set()
    for name, severity, batches in parts:
        if name not in seen:
            seen.add(name)
            say(f"[{len(seen)}/{len(source.names)}] {name}")
        yield name, severity, batches


def _shifted(
    ensembles: Sequence[Ensemble], dataset: Dataset, parts: Iterable[Shifted], *, source: ShiftSource
) -> list[dict[str, Any]]:
    """A section for each ensemble, with its rows."""
    clean = [_own(evaluate_clean(ensemble, dataset), dataset) for ensemble in ensembles]
    rows: list[list[Row]] = [[] for _ in ensembles]
    for found in evaluate_shifted(ensembles, dataset, parts):
        for row, kept in zip(found, rows, strict=True):
            kept.append(_own(row, dataset))
    seed = None if source.files is not None else SEED
    return [
        {"kind": source.kind, "seed": seed, "clean": before, "rows": kept}
        for before, kept in zip(clean, rows, strict=True)
    ]


def _own(row: Row, dataset: Dataset) -> Row:
    """A row in the targets' own unit."""
    return row | dataset.spec.in_own_units({name: float(row[name]) for name in ("rmse", "nll", "crps") if name in row})


def _averaged(section: Mapping[str, Any], source: ShiftSource) -> list[Row]:
    return [row for row in section["rows"] if row["corruption"] in source.averaged]


def _summarise(section: dict[str, Any], source: ShiftSource) -> None:
    section["averaged"] = list(source.averaged)
    section |= summarise_shifts(_averaged(section, source))


def _relate(section: dict[str, Any], reference: Mapping[str, Any], source: ShiftSource, name: str) -> None:
    related = summarise_shifts(_averaged(section, source), reference=_averaged(reference, source))
    section |= {"mce": related["mce"], "reference": name}


def _against(name: str, split: Split, ensemble: Ensemble, dataset: Dataset) -> dict[str, Any]:
    try:
        rows = evaluate_ood(ensemble, dataset, {name: split})
    except InputError as error:
        raise InputError(f"against {name}, {error.requirement}", got=error.got, fix=error.fix) from error
    scores = {str(row["score"]): {"auroc": row["auroc"], "fpr95": row["fpr95"]} for row in rows}
    return {"rows": rows[0]["rows"], "dropped": rows[0]["dropped"], "scores": scores}


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
