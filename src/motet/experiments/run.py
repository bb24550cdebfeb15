"""Run one experiment: data, model, training, predictions, scores, all kept in one folder.

``run.json`` (settings, seed, versions, hardware, commit), ``history.csv``, ``checkpoint/last.safetensors``
(over several processes: see `motet.training.member_checkpoint`), ``predictions.safetensors`` (test outputs and targets)
and ``scores.json``; each is whole or absent.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, final

import motet
from motet._internal.files import read_json, write_json
from motet.data import Dataset, fingerprint, load
from motet.data.batches import steps_per_epoch
from motet.distributed import Grid
from motet.ensemble import Ensemble
from motet.errors import InputError
from motet.evaluation import predict_split
from motet.experiments.build import Builder, build
from motet.experiments.experiment import Experiment
from motet.experiments.folder import abandon, claim_folder
from motet.experiments.likelihood import likelihood_name
from motet.experiments.provenance import provenance, source_of
from motet.experiments.threads import run_threads
from motet.metrics import flops, member_scores, parameters, score
from motet.prediction import Prediction
from motet.training import (
    fit,
    load_run_weights,
    newest_checkpoint,
    read_history,
    resolve_device,
    resolve_precision,
)


@final
@dataclass(frozen=True)
class Run:
    """A finished run's folder, read.

    Attributes:
        folder: where it lies.
        record: the content of ``run.json``.
        scores: the content of ``scores.json``.
        trust_code: whether files that the record names may be executed, to have the classes in them.
    """

    folder: Path
    record: dict[str, Any]
    scores: dict[str, Any]
    trust_code: bool = False

    @property
    def experiment(self) -> Experiment:
        """What was run. Raises `InputError` if that cannot be read."""
        experiment = Experiment.from_record(
            self.record["settings"],
            trust_code=self.trust_code,
            source=self.record.get("source"),
            where=str(self.folder / "run.json"),
        )
        if "likelihood" not in self.record and (self.record.get("data") or {}).get("task") == "regression":
            # Before runs said their likelihood, every regression had unit variance.
            experiment = replace(experiment, likelihood="gaussian")
        return experiment

    @property
    def history(self) -> list[dict[str, Any]]:
        """One row an epoch."""
        return read_history(self.folder / "history.csv")

    @property
    def prediction(self) -> Prediction:
        """Test outputs and targets."""
        return Prediction.load(self.folder / "predictions.safetensors", trust_code=self.trust_code)


def load_run(folder: Path, *, trust_code: bool = False) -> Run | None:
    """The finished run in `folder`; None if it is not finished. Raises `InputError` if its files are damaged.

    Args:
        folder: the run's.
        trust_code: whether files that the run's record names may be executed: those of a method, an objective or a
            likelihood outside motet. If they have been imported already they need no trust.
    """
    if not (folder / "scores.json").exists():
        return None
    record, scores = read_json(folder / "run.json"), read_json(folder / "scores.json")
    if not isinstance(scores, dict) or not {"test", "cost", "epochs"} <= scores.keys():
        raise InputError(
            f"{folder / 'scores.json'} must hold a run's scores",
            got="something else",
            fix="Remove that file and run again: nothing is trained anew",
        )
    return Run(folder, record, scores, trust_code)


def run_experiment(
    experiment: Experiment,
    folder: str | Path,
    *,
    data_dir: Path | None = None,
    device: str = "auto",
    progress: bool = True,
    label: str | None = None,
    dataset: Dataset | None = None,
    say: Callable[[str], None] = lambda _: None,
    grid: Grid | None = None,
    builder: Builder | None = None,
    trained: Callable[[Ensemble], object] | None = None,
) -> Run:
    """Run `experiment` in `folder`, go on where it was stopped, or return it if it is finished.

    Args:
        experiment: what to run.
        folder: where to keep it; made if it does not exist.
        data_dir: where data files are looked for first.
        device: see `motet.training.fit`.
        progress: show a progress bar where standard error is a terminal.
        label: what the bar calls the run; the method's label if None.
        dataset: the experiment's data, where the caller has loaded it already.
        say: told what happens, a line at a time.
        grid: the processes that run it together, from `motet.distributed.start`; each makes the same call.
        builder: builds the ensemble, or has done so already; it must be made for the same data.
        trained: called with the trained ensemble, unless the run was finished before.

    Raises:
        InputError: for bad settings or data, or a folder that holds another run.
        TrainingDivergedError: if the loss becomes NaN or infinite.
        RunInterrupted: after Ctrl-C or SIGTERM; the same call goes on from there.
        LostRankError: if another of the processes has gone.
    """
    folder = Path(folder)
    settings, source = experiment.to_record(), source_of(experiment)
    grid = grid or Grid()
    say = say if grid.is_first else lambda _: None
    grid.agree(
        {"settings": settings, "source": source, "folder": str(folder), "versions": {"motet": motet.__version__}}
    )
    claim = partial(claim_folder, folder, settings, source=source)
    grid.first(claim)
    if grid.first(lambda: load_run(folder) is not None):
        given = dataset.fingerprint if dataset else None
        claim_data = partial(
            claim,
            data=lambda: (
                fingerprint(experiment.data, data_dir, options=experiment.data_options) if given is None else given
            ),
        )
        grid.first(claim_data)
        say(f"{folder} is finished already; nothing to train")
        return _read(folder)
    place = resolve_device(device)
    resolve_precision(experiment.training, place)
    with grid.one_machine_at_a_time():
        dataset = dataset or load(experiment.data, data_dir, options=experiment.data_options, say=say)
    dataset = dataset.to(place)
    known = dataset.fingerprint
    grid.first(partial(claim, data=lambda: known))
    steps_per_epoch(dataset.train, experiment.training.batch_size)
    builder = builder or Builder(dataset)
    with run_threads(experiment, builder, place):
        ensemble = builder.take(experiment, grid=grid).to(place)
        # Whatever can be found wrong before training has been by now: nothing is written for a run that cannot be.
        if grid.is_first and not (folder / "run.json").exists():
            where = provenance(place) | {"precision": resolve_precision(experiment.training, place)}
            if grid.size > 1:
                where |= {"ranks": {"members": grid.member_ranks, "data": grid.data_ranks}}
            about = {"data": describe(dataset), "likelihood": likelihood_name(experiment.likelihood, dataset.spec)}
            write_json(folder / "run.json", {"settings": settings, **where, **about, "source": source})
        elif grid.is_first and newest_checkpoint(folder) is not None:
            say(f"going on from the checkpoint in {folder}")
        try:
            history = fit(
                ensemble,
                dataset,
                experiment.training,
                seed=experiment.seed,
                folder=folder,
                device=device,
                progress=progress,
                label=label or experiment.method.label,
            )
        except Exception:
            if (
                grid.is_first and newest_checkpoint(folder) is None
            ):  # nothing was trained that would be worth protecting from another run
                abandon(folder, "run.json")
            raise
        scores = _finish(ensemble, dataset, folder, history)
        if grid.is_first:
            write_json(folder / "scores.json", scores)
        if trained is not None:
            trained(ensemble)
        grid.everyone.barrier()
    return _read(folder)


def _read(folder: Path) -> Run:
    done = load_run(folder)
    assert done is not None
    return done


def load_ensemble(run: Run, dataset: Dataset) -> Ensemble:
    """A finished run's ensemble, with its trained weights, on the CPU."""
    ensemble = build(run.experiment, dataset.to("cpu"))
    load_run_weights(run.folder, ensemble)
    return ensemble.eval()


def describe(dataset: Dataset) -> dict[str, Any]:
    """A dataset's name, task, classes, sizes and fingerprint, for records and reports."""
    spec = dataset.spec
    return {
        "name": spec.name,
        "task": spec.task,
        "classes": spec.outputs,
        "class_names": list(spec.class_names),
        "input_shape": list(spec.input_shape),
        "train": len(dataset.train),
        "validation": len(dataset.validation),
        "test": len(dataset.test),
        "split": spec.split,
        "notes": list(dataset.notes),
        "fingerprint": dataset.fingerprint,
    }


def _finish(ensemble: Ensemble, dataset: Dataset, folder: Path, history: list[dict[str, Any]]) -> dict[str, Any]:
    """Predict, keep the test predictions, and score both held-out splits."""
    validation = predict_split(ensemble, dataset, dataset.validation)
    test = predict_split(ensemble, dataset, dataset.test)
    share = ensemble.share
    if share is None or share.grid.is_first:
        test.save(folder / "predictions.safetensors")
    example = dataset.prepare(dataset.test.inputs[:1])
    in_own_units = dataset.spec.in_own_units
    counts = {"parameters": parameters(ensemble), "flops": flops(ensemble.fold(), example)}
    if share is not None:
        counts = {name: share.total(count) for name, count in counts.items()}
    scores = {
        "test": in_own_units(score(test)),
        "test_members": _each_in_own_units(member_scores(test), dataset),
        "validation": in_own_units(score(validation)),
        "cost": {
            **counts,
            "train_seconds": sum(row["seconds"] for row in history),
        },
        "epochs": len(history),
    }
    return scores if share is None else scores | {"communication": share.communication(ensemble)}


def _each_in_own_units(scores: dict[str, list[float]], dataset: Dataset) -> dict[str, list[float]]:
    """Lists of scores, one value a member, in the targets' own unit."""
    return {
        name: [dataset.spec.in_own_units({name: value})[name] for value in values] for name, values in scores.items()
    }
