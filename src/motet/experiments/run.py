"""Run one experiment: data, model, training, predictions, scores, all kept in one folder.

``run.json`` (settings, seed, versions, hardware, commit), ``history.csv``, ``checkpoint/last.safetensors``
(over several processes: see `motet.training.member_checkpoint`), ``predictions.safetensors`` (test outputs and targets)
and ``scores.json``; each is whole or absent.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import final

import motet
from motet._internal.typed_records import write_record
from motet.data import Dataset, fingerprint, load
from motet.data.batches import steps_per_epoch
from motet.distributed import Grid
from motet.ensemble import Ensemble
from motet.evaluation import predict_split
from motet.experiments.build import Builder, build
from motet.experiments.experiment import Experiment
from motet.experiments.folder import RUN, abandon, claim_folder
from motet.experiments.provenance import describe_run, source_of
from motet.experiments.records import Cost, RunRecord, Scores, Settings, Source, read_run_record, read_scores
from motet.experiments.threads import run_threads
from motet.metrics import flops, member_scores, parameters, score
from motet.prediction import Prediction
from motet.training import (
    HistoryRow,
    fit,
    load_run_weights,
    newest_checkpoint,
    read_history,
    resolve_device,
    resolve_precision,
)

SCORES = "scores.json"
"""A finished run's scores in its folder."""


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
    record: RunRecord
    scores: Scores
    trust_code: bool = False

    @property
    def experiment(self) -> Experiment:
        """What was run. Raises `InputError` if that cannot be read."""
        experiment = Experiment.from_record(
            self.record.settings,
            trust_code=self.trust_code,
            source=self.record.source,
            where=str(self.folder / RUN),
        )
        data = self.record.data
        if self.record.likelihood is None and data is not None and data.task == "regression":
            # Before runs said their likelihood, every regression had unit variance.
            experiment = replace(experiment, likelihood="gaussian")
        return experiment

    @property
    def history(self) -> list[HistoryRow]:
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
    if not (folder / SCORES).exists():
        return None
    return Run(folder, read_run_record(folder / RUN), read_scores(folder / SCORES), trust_code)


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
    folder, grid = Path(folder), grid or Grid()
    say = say if grid.is_first else lambda _: None
    settings, source = experiment.to_record(), source_of(experiment)
    _agree(grid, folder, settings, source)
    claim = partial(_claim, grid, folder, settings, source)
    claim()
    if grid.first(lambda: load_run(folder) is not None):
        given = dataset
        claim(
            lambda: (
                fingerprint(experiment.data, data_dir, options=experiment.data_options)
                if given is None
                else given.fingerprint
            )
        )
        say(f"{folder} is finished already; nothing to train")
        return _read(folder)
    place = resolve_device(device)
    resolve_precision(experiment.training, place)
    with grid.one_machine_at_a_time():
        dataset = dataset or load(experiment.data, data_dir, options=experiment.data_options, say=say)
    dataset = dataset.to(place)
    known = dataset.fingerprint
    claim(lambda: known)
    steps_per_epoch(dataset.train, experiment.training.batch_size)
    builder = builder or Builder(dataset)
    with run_threads(experiment, builder, place):
        ensemble = builder.take(experiment, grid=grid).to(place)
        # Whatever can be found wrong before training has been by now: nothing is written for a run that cannot be.
        if grid.is_first and not (folder / RUN).exists():
            write_record(
                folder / RUN,
                describe_run(experiment, dataset, place=place, grid=grid, settings=settings, source=source),
            )
        elif grid.is_first and newest_checkpoint(folder) is not None:
            say(f"going on from the checkpoint in {folder}")
        with _given_back_on_failure(folder, grid):
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
        scores = _score(ensemble, dataset, folder, history)
        if grid.is_first:
            write_record(folder / SCORES, scores)
        if trained is not None:
            trained(ensemble)
        grid.everyone.barrier()
    return _read(folder)


def _agree(grid: Grid, folder: Path, settings: Settings, source: Sequence[Source]) -> None:
    """Raise `InputError` unless all processes run the same experiment."""
    hashes, versions = {each.file: each.sha256 for each in source}, {"motet": motet.__version__}
    grid.agree({"settings": settings, "source": hashes, "folder": str(folder), "versions": versions})


def _claim(
    grid: Grid, folder: Path, settings: Settings, source: Sequence[Source], data: Callable[[], str] = str
) -> None:
    """`claim_folder` by the first process, for all."""

    def claim() -> None:
        claim_folder(folder, settings, source=source, data=data)

    grid.first(claim)


@contextmanager
def _given_back_on_failure(folder: Path, grid: Grid) -> Iterator[None]:
    """Where training fails before the first checkpoint, the folder is free again."""
    try:
        yield
    except Exception:
        # Nothing was trained that would be worth protecting from another run.
        if grid.is_first and newest_checkpoint(folder) is None:
            abandon(folder, RUN)
        raise


def _read(folder: Path) -> Run:
    done = load_run(folder)
    assert done is not None
    return done


def load_ensemble(run: Run, dataset: Dataset) -> Ensemble:
    """A finished run's ensemble, with its trained weights, on the CPU."""
    ensemble = build(run.experiment, dataset.to("cpu"))
    load_run_weights(run.folder, ensemble)
    return ensemble.eval()


def _score(ensemble: Ensemble, dataset: Dataset, folder: Path, history: Sequence[HistoryRow]) -> Scores:
    """Predict, keep the test predictions in `folder`, and score both held-out splits."""
    validation = predict_split(ensemble, dataset, dataset.validation)
    test = predict_split(ensemble, dataset, dataset.test)
    share = ensemble.share
    if share is None or share.grid.is_first:
        test.save(folder / "predictions.safetensors")
    example = dataset.prepare(dataset.test.inputs[:1])
    in_own_units = dataset.spec.in_own_units
    counts = parameters(ensemble), flops(ensemble.fold(), example)
    learned, operations = counts if share is None else map(share.total, counts)
    return Scores(
        test=in_own_units(score(test)),
        test_members=_each_in_own_units(member_scores(test), dataset),
        validation=in_own_units(score(validation)),
        cost=Cost(parameters=learned, flops=operations, train_seconds=sum(row.seconds for row in history)),
        epochs=len(history),
        communication=None if share is None else share.communication(ensemble),
    )


def _each_in_own_units(scores: dict[str, list[float]], dataset: Dataset) -> dict[str, tuple[float, ...]]:
    """Scores of each member, in the targets' own unit."""
    return {
        name: tuple(dataset.spec.in_own_units({name: value})[name] for value in values)
        for name, values in scores.items()
    }
