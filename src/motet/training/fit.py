"""Train an ensemble: the loop, from the first batch to the last checkpoint."""

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any, final

from motet._internal.files import remove_leftovers
from motet._internal.folder_lock import only_process_in
from motet.data import Dataset, as_dataset
from motet.ensemble import Ensemble
from motet.errors import RunInterrupted
from motet.training.checkpoint import CHECKPOINT
from motet.training.devices import make_fabric, resolve_device, resolve_precision
from motet.training.for_data import settings_for
from motet.training.history import History, HistoryRow
from motet.training.losses import Divergence, RunningLoss
from motet.training.optimizers import make_optimizer, warm_up
from motet.training.progress import ProgressBar
from motet.training.rank_sync import RankSync
from motet.training.run_folder import RunFolder, checkpoint_path, resume
from motet.training.settings import Training
from motet.training.signals import StopRequest, stop_requests
from motet.training.steps import Steps
from motet.training.train_step import TrainStep
from motet.training.training_rows import TrainingRows
from motet.training.validation import EarlyStopping, validate

# Processes started by torchrun get a terminal's signal twice: directly, and within these seconds from torchrun.
_SAME_SIGNAL = 5.0


def fit(
    ensemble: Ensemble,
    dataset: Any,
    training: Training | None = None,
    *,
    seed: int = 0,
    folder: str | Path | None = None,
    device: str = "auto",
    progress: bool = True,
    label: str = "training",
) -> History:
    """Train `ensemble` in place and return its history, one row for each epoch.

    With a `folder` the run writes ``history.csv`` and ``checkpoint/last.safetensors`` there. Called again with the same
    folder, `fit` resumes from the checkpoint and ends with the same numbers as an uninterrupted run. The first Ctrl-C
    or SIGTERM saves a checkpoint after the current step and raises `RunInterrupted`.

    If the data set's targets are standardised, the ensemble is told (`Ensemble.scale_targets`), so that its predictions
    are in the targets' own units.

    If the ensemble is distributed over several processes (`wrap` with a ``grid``), all of them must call `fit` with the
    same arguments. Rank 0 writes the history, and every rank its part of the checkpoint.

    Args:
        ensemble: the result of a method's `wrap`.
        dataset: a `motet.Dataset`, whose test rows are not used; or the pair ``(inputs, targets)``, a
            `torch.utils.data.Dataset` or a `DataLoader` of such pairs, of which a tenth is held out for validation.
        training: the settings; the defaults if None. Those that are left to the data are chosen by `settings_for`.
        seed: the seed of the order of the batches and of the augmentation. Groupings and dropout draw from torch's
            default generator: to repeat a run, seed it too (`torch.manual_seed`) before wrapping the model.
        folder: the folder of the run; nothing is written if None.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ...
        progress: whether to show a progress bar if standard error is a terminal.
        label: the name of the run in the progress bar.

    Returns:
        Rows with epoch, step, learning_rate, train_loss (mean over the epoch's steps), validation_nll,
        validation_accuracy or validation_rmse, and seconds (of training steps, in this epoch).

    Raises:
        InputError: if the settings, the data and the ensemble do not fit together, or the folder holds the checkpoint
            of another run, or another process is using it.
        TrainingDivergedError: if the loss becomes NaN or infinite.
        RunInterrupted: after Ctrl-C or SIGTERM if there is a folder, also if the last step was already finished.
        LostRankError: if another process of the run is gone.
    """
    dataset = as_dataset(dataset, ensemble, seed=seed)
    with _only_process_in(folder, ensemble):
        return _fit(
            _Run(ensemble, dataset, training or Training(), seed=seed, folder=folder, device=device), progress, label
        )


def _fit(run: "_Run", progress: bool, label: str) -> History:
    ensemble, steps, losses, ranks = run.ensemble, run.steps, run.losses, run.ranks
    show = progress and ranks.is_first
    with ProgressBar(label, total=steps.total, done=steps.done, enabled=show) as bar, run.stop_requests() as asked:
        stop = ranks.stop_request(asked)
        while not run.is_finished and not stop:
            started = time.perf_counter()
            ensemble.train()
            for x, y in run.rows.batches(steps.position):
                losses.add(run.train_step(x, y))
                if losses.should_be_read or stop:
                    losses.read()
                    bar.steps(steps.done)
                if stop:
                    break
            losses.read()
            steps.position.epoch_seconds += time.perf_counter() - started
            if steps.epoch_is_over:
                row = run.validate()
                bar.steps(steps.done)
                bar.epoch(row)
            if run.should_save(stop):
                run.folder.save()
    if stop:
        raise run.interrupted(stop)
    run.early_stopping.load_best(ensemble)
    return History(steps.position.history)


@contextmanager
def _only_process_in(folder: str | Path | None, ensemble: Ensemble) -> Iterator[None]:
    """Let no other run use the folder in this context, and remove what a killed process left there."""
    if folder is None or not RankSync(ensemble.shard).is_first:
        yield
        return
    with only_process_in(Path(folder)):
        remove_leftovers(Path(folder))
        remove_leftovers(Path(folder) / CHECKPOINT.parent, everywhere=True)
        yield


@final
class _Run:
    """The parts of one call of `fit`."""

    def __init__(
        self,
        ensemble: Ensemble,
        dataset: Dataset,
        training: Training,
        *,
        seed: int,
        folder: str | Path | None,
        device: str,
    ) -> None:
        place = resolve_device(device)
        training, _ = settings_for(training, dataset)
        precision = resolve_precision(training, place)
        fabric = make_fabric(place, precision)
        self.ranks = RankSync(ensemble.shard)
        self.ensemble, self.dataset = ensemble, dataset.to(place)
        self.rows = TrainingRows(self.dataset, training, seed=seed, device=place)
        warm_up()
        optimizer = make_optimizer(ensemble.to(place), training)
        model, wrapped_optimizer = fabric.setup(ensemble, optimizer)
        model.mark_forward_method("loss")
        data = f"{dataset.spec.name} ({len(self.rows)} rows)"
        settings = f"{ensemble.description}, {ensemble.objective}, {data}, seed={seed}, {training}"
        self._synchronise(settings, training, precision, seed=seed)
        ensemble.scale_targets(mean=dataset.spec.target_mean, std=dataset.spec.target_std)
        path = None if folder is None else Path(folder)
        position, best = resume(
            path,
            ensemble=ensemble,
            optimizer=optimizer,
            fabric=fabric,
            settings=settings,
            seed=seed,
            ranks=self.ranks,
        )
        self.steps = Steps(training, position, per_epoch=self.rows.steps_per_epoch, examples=len(self.rows))
        self.checkpoint = checkpoint_path(path, ensemble)
        self.divergence = Divergence(self.steps, self.checkpoint)
        self.early_stopping = EarlyStopping(training, position, best)
        self.losses = RunningLoss(self.steps, self.ranks, self.divergence)
        self.train_step = TrainStep(ensemble, model, wrapped_optimizer, fabric, rows=self.rows, steps=self.steps)
        self.folder = RunFolder(
            path,
            ensemble=ensemble,
            optimizer=optimizer,
            fabric=fabric,
            settings=settings,
            steps=self.steps,
            early_stopping=self.early_stopping,
            divergence=self.divergence,
            ranks=self.ranks,
        )

    def _synchronise(self, settings: str, training: Training, precision: str, *, seed: int) -> None:
        """Check that all ranks train the same thing from the same weights, and seed their dropout differently."""
        self.ranks.check(settings, self.dataset, training, precision)
        if self.ensemble.shard is not None:
            self.ensemble.shard.grid.same_weights(self.ensemble.network)
            self.ensemble.shard.grid.seed_apart(seed)

    @property
    def is_finished(self) -> bool:
        """Whether all epochs are done, or early stopping has ended the run."""
        return self.steps.all_done or self.early_stopping.patience_is_over

    def stop_requests(self) -> AbstractContextManager[StopRequest]:
        """Convert Ctrl-C and SIGTERM into requests to stop; not without a folder, because nothing could be saved."""
        if self.checkpoint is None:
            return nullcontext(StopRequest())
        return stop_requests(patience=0.0 if self.ensemble.shard is None else _SAME_SIGNAL)

    def validate(self) -> HistoryRow:
        """Score the validation split and end the epoch. Returns the epoch's row of the history."""
        scores = validate(self.ensemble, self.dataset, self.divergence)
        scores = dict(zip(scores, self.ranks.broadcast_from_first(*scores.values()), strict=True))
        row = self.steps.end_epoch(scores)
        self.early_stopping.update(self.ensemble, scores)
        return row

    def should_save(self, stop: StopRequest) -> bool:
        """Whether to save now, at the end of an epoch or of training. All ranks decide the same."""
        due = self.folder.save_is_due
        self.ranks.agree_on_stop()
        return self.is_finished or bool(stop) or bool(self.ranks.broadcast_from_first(float(due))[0])

    def interrupted(self, stop: StopRequest) -> RunInterrupted:
        """The exception for a run that was asked to stop and has saved its state."""
        assert stop.signal is not None
        return RunInterrupted(
            f"stopped by {stop.signal.name} after step {self.steps.done} of {self.steps.total}; run the "
            f"same command again to continue from {self.checkpoint}",
            stop.signal,
        )
