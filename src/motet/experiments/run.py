"""Run one experiment: data, model, training, predictions and scores, all in one folder.

The folder contains ``run.json`` (settings, seed, versions, hardware, commit), ``history.csv``,
``checkpoint/last.safetensors`` (with several processes: see `motet.training.member_checkpoint`),
``predictions.safetensors`` (test outputs and targets) and ``scores.json``. Each file is whole or absent.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import final

import motet
from motet._internal.files import remove_leftovers
from motet._internal.folder_lock import clear_leftovers, only_process_in
from motet._internal.own_code import RecordedCode
from motet._internal.typed_records import write_record
from motet.data import Dataset, fingerprint, load
from motet.data.batches import steps_per_epoch
from motet.distributed import Grid
from motet.ensemble import Ensemble
from motet.evaluation import predict_split
from motet.evaluation.clean import scores_of_several
from motet.evaluation.exits import score_exits
from motet.experiments.build import Builder, build
from motet.experiments.continued import begin_or_continue
from motet.experiments.experiment import Experiment
from motet.experiments.folder import RUN, abandon, claim_folder
from motet.experiments.provenance import describe_run, source_of
from motet.experiments.records import Cost, RunRecord, Scores, Settings, Source, read_run_record, read_scores
from motet.experiments.threads import run_threads
from motet.metrics import flops, member_scores, parameters, score
from motet.models import CustomModel
from motet.prediction import Prediction
from motet.training import (
    History,
    HistoryRow,
    Training,
    fit,
    load_run_weights,
    newest_checkpoint,
    read_history,
    resolve_device,
    resolve_precision,
    settings_for,
)

SCORES = "scores.json"
"""The file name of a finished run's scores in its folder."""


@final
@dataclass(frozen=True)
class Run:
    """A finished run, read from its folder.

    Attributes:
        folder: the folder.
        record: the content of ``run.json``.
        scores: the content of ``scores.json``.
        trust_code: whether the user's own code that the record names may be executed, see `load_run`.
    """

    folder: Path
    record: RunRecord
    scores: Scores
    trust_code: bool = field(default=False, compare=False)

    @property
    def experiment(self) -> Experiment:
        """The experiment. Raises `InputError` if it cannot be read, or if its model's function is not trusted."""
        where = str(self.folder / RUN)
        experiment = Experiment.from_record(
            self.record.settings,
            trust_code=self.trust_code,
            source=self.record.source,
            where=where,
        )
        if isinstance(experiment.model, CustomModel):
            code = RecordedCode(trusted=self.trust_code, source=self.record.source, where=where)
            code.check_function(experiment.model.function)
        data = self.record.data
        if self.record.likelihood is None and data is not None and data.task == "regression":
            # Before runs recorded their likelihood, every regression had unit variance.
            experiment = replace(experiment, likelihood="gaussian")
        return experiment

    @property
    def history(self) -> History:
        """One row per epoch."""
        return read_history(self.folder / "history.csv")

    @property
    def prediction(self) -> Prediction:
        """Test outputs and targets."""
        return Prediction.load(self.folder / "predictions.safetensors", trust_code=self.trust_code)


def load_run(folder: Path, *, trust_code: bool = False) -> Run | None:
    """Return the finished run in `folder`; None if it is not finished. Raises `InputError` if its files are damaged.

    Args:
        folder: the run's folder.
        trust_code: whether the user's own code that the run's record names may be executed: the files of a method, an
            objective or a likelihood outside motet, and the function that makes the model. Classes that are already
            imported need no trust, and neither do functions of `motet.models`, timm, torchvision and transformers.
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
    """Run `experiment` in `folder`, continue it if it was interrupted, or return it if it is finished.

    Args:
        experiment: what to run.
        folder: the folder of the run; created if it does not exist.
        data_dir: the folder that is searched for data files first.
        device: see `motet.training.fit`.
        progress: whether to show a progress bar if standard error is a terminal.
        label: the name of the run in the progress bar; the method's label if None.
        dataset: the experiment's data, if the caller has already loaded it.
        say: called with one line about each step.
        grid: the processes that run it together, from `motet.distributed.start`; each makes the same call.
        builder: builds the ensemble, or has already built it; it must be made for the same data.
        trained: called with the trained ensemble, unless the run was finished before.

    Raises:
        InputError: for invalid settings or data, or a folder that holds another run, a run that another minor version
            of motet began, or that another process is using.
        TrainingDivergedError: if the loss becomes NaN or infinite.
        RunInterrupted: after Ctrl-C or SIGTERM; the same call continues from there.
        LostRankError: if another of the processes has failed.
    """
    folder, grid = Path(folder), grid or Grid()
    say = say if grid.is_first else lambda _: None
    settings, source = experiment.to_record(), source_of(experiment)
    _agree(grid, folder, settings, source)
    claim = partial(_claim, grid, folder, settings, source)
    claim()
    with ExitStack() as held:
        if not _is_finished(folder, grid):
            _hold(folder, grid, held)
            claim()  # another process may have begun or finished a run there since
        if _is_finished(folder, grid):
            given = dataset
            claim(
                lambda: (
                    fingerprint(experiment.data, data_dir, options=experiment.data_options)
                    if given is None
                    else given.fingerprint
                )
            )
            grid.first(partial(clear_leftovers, folder))
            say(f"{folder} is already finished; nothing to train")
            return _read(folder)
        place = resolve_device(device)
        resolve_precision(experiment.training, place)
        with grid.one_machine_at_a_time():
            if dataset is None:
                dataset = load(experiment.data, data_dir, options=experiment.data_options, say=say)
                say_notes(with_notes(experiment.training, dataset), say)
        dataset = with_notes(experiment.training, dataset.to(place))
        training, _ = settings_for(experiment.training, dataset)
        known = dataset.fingerprint
        claim(lambda: known)
        assert training.batch_size is not None
        steps_per_epoch(dataset.train, training.batch_size)
        builder = builder or Builder(dataset)
        held.enter_context(run_threads(replace(experiment, training=training), builder, place))
        ensemble = builder.take(experiment, grid=grid).to(place)
        # All errors that can be found before training have been raised by now, so that nothing is written for an
        # invalid run.
        now = describe_run(
            experiment, dataset, training=training, place=place, grid=grid, settings=settings, source=source
        )
        grid.first(partial(begin_or_continue, folder, now, say))
        with _given_back_on_failure(folder, grid):
            history = fit(
                ensemble,
                dataset,
                training,
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


def with_notes(training: Training, dataset: Dataset) -> Dataset:
    """Return the data with notes on the training settings that are chosen for them."""
    _, notes = settings_for(training, dataset)
    return replace(dataset, notes=tuple(dict.fromkeys((*dataset.notes, *notes))))


def say_notes(dataset: Dataset, say: Callable[[str], None]) -> None:
    """Say the notes of the data, one line each."""
    for note in dataset.notes:
        say(note if note.startswith("warning: ") else f"note: {note}")


def _agree(grid: Grid, folder: Path, settings: Settings, source: Sequence[Source]) -> None:
    """Check that all processes run the same experiment."""
    hashes, versions = {each.file: each.sha256 for each in source}, {"motet": motet.__version__}
    grid.agree({"settings": settings, "source": hashes, "folder": str(folder), "versions": versions})


def _claim(
    grid: Grid, folder: Path, settings: Settings, source: Sequence[Source], data: Callable[[], str] = str
) -> None:
    """Call `claim_folder` in the first process, for all."""

    def claim() -> None:
        claim_folder(folder, settings, source=source, data=data)

    grid.first(claim)


def _is_finished(folder: Path, grid: Grid) -> bool:
    return grid.first(lambda: load_run(folder) is not None)


def _hold(folder: Path, grid: Grid, held: ExitStack) -> None:
    """Let no other run use the folder until `held` is closed, and remove what a killed process left there."""

    def hold() -> None:
        held.enter_context(only_process_in(folder))
        remove_leftovers(folder, everywhere=True)

    grid.first(hold)


@contextmanager
def _given_back_on_failure(folder: Path, grid: Grid) -> Iterator[None]:
    """Free the folder again if training fails before the first checkpoint."""
    try:
        yield
    except Exception:
        # Nothing was trained that would need protection from another run.
        if grid.is_first and newest_checkpoint(folder) is None:
            abandon(folder, RUN)
        raise


def _read(folder: Path) -> Run:
    done = load_run(folder, trust_code=True)  # its settings are those that the caller has made
    assert done is not None
    return done


def load_ensemble(run: Run, dataset: Dataset) -> Ensemble:
    """Return a finished run's ensemble, with its trained weights, on the CPU."""
    ensemble = build(run.experiment, dataset.to("cpu"))
    # Checkpoints of older versions do not contain the scale.
    ensemble.scale_targets(mean=dataset.spec.target_mean, std=dataset.spec.target_std)
    load_run_weights(run.folder, ensemble)
    return ensemble.eval()


def _score(ensemble: Ensemble, dataset: Dataset, folder: Path, history: Sequence[HistoryRow]) -> Scores:
    """Predict, save the test predictions in `folder`, and score both held-out splits."""
    validation = predict_split(ensemble, dataset, dataset.validation)
    test = predict_split(ensemble, dataset, dataset.test)
    shard = ensemble.shard
    if shard is None or shard.grid.is_first:
        test.save(folder / "predictions.safetensors")
    example = dataset.prepare(dataset.test.inputs[:1])
    counts = parameters(ensemble), flops(ensemble.fold(), example)
    learned, operations = counts if shard is None else map(shard.total, counts)
    return Scores(
        test=score(test),
        test_members=_tuples(member_scores(test)),
        test_targets=scores_of_several(test),
        test_exits=score_exits(ensemble, dataset, dataset.test),
        validation=score(validation),
        cost=Cost(parameters=learned, flops=operations, train_seconds=sum(row.seconds for row in history)),
        epochs=len(history),
        communication=None if shard is None else shard.communication(ensemble),
    )


def _tuples(scores: Mapping[str, Sequence[float]]) -> dict[str, tuple[float, ...]]:
    return {name: tuple(values) for name, values in scores.items()}
