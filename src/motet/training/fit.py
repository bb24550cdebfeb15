"""Train an ensemble: the loop, from the first batch to the last checkpoint."""

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from motet.data import Dataset
from motet.data.augment import Augment, step_seed
from motet.data.batches import batches, steps_per_epoch
from motet.ensemble import Ensemble
from motet.errors import InputError, RunInterrupted, TrainingDivergedError
from motet.evaluation.predict import predict_split
from motet.metrics import accuracy, rmse
from motet.metrics.scores import as_classes
from motet.training.checkpoint import CHECKPOINT, Position, save_checkpoint
from motet.training.devices import make_fabric, resolve_device, resolve_precision
from motet.training.history import HistoryRow, write_history
from motet.training.member_checkpoint import POINTER, drop_members, restore, save_members
from motet.training.optimizers import make_optimizer, set_learning_rate, warm_up
from motet.training.progress import ProgressBar
from motet.training.schedules import learning_rate
from motet.training.settings import Training
from motet.training.signals import StopRequest, stop_requests
from motet.training.together import Together
from motet.types import Progress

# Checkpoints take at most this share of the time between them.
_CHECKPOINT_SHARE = 0.05
# Seconds in which torchrun may pass on a signal that its processes have had from the terminal.
_SAME_SIGNAL = 5.0


def fit(
    ensemble: Ensemble,
    dataset: Dataset,
    training: Training | None = None,
    *,
    seed: int = 0,
    folder: str | Path | None = None,
    device: str = "auto",
    progress: bool = True,
    label: str = "training",
) -> list[HistoryRow]:
    """Train `ensemble` in place and return its history, one row an epoch.

    With a `folder` the run keeps ``history.csv`` and ``checkpoint/last.safetensors`` there. Called again with the same
    folder it goes on from the checkpoint and ends with the same numbers as a run that never stopped; the first
    Ctrl-C or SIGTERM saves a checkpoint at the next step and raises `RunInterrupted`.

    An ensemble over several processes (`wrap` with a ``grid``) is trained by all of them, each calling `fit` with the
    same arguments; rank 0 writes the history, and every rank its part of the checkpoint.

    Args:
        ensemble: what a method's `wrap` returned.
        dataset: training and validation rows; the test rows are not touched.
        training: the settings; the defaults if None.
        seed: orders the batches. Groupings and dropout draw from torch's default generator: seed that too
            (`torch.manual_seed`) before wrapping the model, to repeat a run.
        folder: where to keep the run; nowhere if None.
        device: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ...
        progress: show a progress bar where standard error is a terminal.
        label: what the bar calls the run.

    Returns:
        Rows with epoch, step, learning_rate, train_loss (mean over the epoch's steps), validation_nll,
        validation_accuracy or validation_rmse, and seconds (of training steps, in this epoch).

    Raises:
        InputError: if settings, data and ensemble do not fit, or the folder holds another run's checkpoint.
        TrainingDivergedError: if the loss becomes NaN or infinite.
        RunInterrupted: after Ctrl-C or SIGTERM, if there is a folder; also when the last step was done by then.
        LostRankError: if a process that holds other members has gone.
    """
    run = _Fit(ensemble, dataset, training or Training(), seed=seed, folder=folder, device=device)
    with ProgressBar(label, total=run.total_steps, done=run.steps_done, enabled=progress and run.ranks.is_first) as bar:
        if folder is None:
            run.to_the_end(run.ranks.stop_request(StopRequest()), bar)
        else:
            with stop_requests(patience=0.0 if ensemble.share is None else _SAME_SIGNAL) as asked:
                stop = run.ranks.stop_request(asked)
                run.to_the_end(stop, bar)
            if stop:
                raise run.interrupted(stop)
    return run.finish()


@final
class _Fit:
    """The state of one call of `fit`."""

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
        precision = resolve_precision(training, place)
        self.fabric = make_fabric(place, precision)
        self.ranks = Together(ensemble.share)
        self.ensemble, self.training, self.seed = ensemble, training, seed
        self.dataset = dataset.to(place)
        train = self.dataset.train
        streamed = not isinstance(train.inputs, Tensor)
        training.augment.check(dataset.spec, streamed=streamed)
        # Bytes are normalised batch by batch, for they take a quarter of the memory; numbers once and for all, unless
        # augmentation comes before.
        self.generator = torch.Generator(place)
        self.augment: Augment | None = (
            training.augment.bind(dataset.spec, self.generator) if training.augment.active else None
        )
        self.as_stored = streamed or not train.inputs.is_floating_point() or training.augment.active
        self.train = (
            replace(train, inputs=self.dataset.prepare(train.inputs))
            if isinstance(train.inputs, Tensor) and not self.as_stored
            else train
        )
        self.steps_per_epoch = steps_per_epoch(dataset.train, training.batch_size)
        warm_up()
        optimizer = make_optimizer(ensemble.to(place), training)
        self.model, self.optimizer = self.fabric.setup(ensemble, optimizer)
        self.model.mark_forward_method("loss")
        self.folder = None if folder is None else Path(folder)
        data = f"{dataset.spec.name} ({len(train)} rows)"
        self.settings = f"{ensemble.description}, {ensemble.objective}, {data}, seed={seed}, {training}"
        self.position, self.best = Position(), dict[str, Tensor]()
        self.ranks.check(self.settings, dataset, training, precision)
        if ensemble.share is not None:
            ensemble.share.grid.same_weights(ensemble)
            ensemble.share.grid.seed_apart(seed)
        self.steps_before = 0
        if self.folder is not None and (
            held := restore(self.folder, model=ensemble, optimizer=optimizer, settings=self.settings, seed=seed)
        ):
            self.position, self.best, scaler = held
            if scaler:
                self.fabric.strategy.precision.load_state_dict(scaler)
            self.steps_before = self.steps_done
            # The checkpoint is written before the history: whoever was killed in between has an older one.
            self.write_history()
        self.saved_at, self.saving_took = -math.inf, 0.0

    @property
    def checkpoint(self) -> Path | None:
        return None if self.folder is None else self.folder / (CHECKPOINT if self.ensemble.share is None else POINTER)

    @property
    def total_steps(self) -> int:
        return self.training.epochs * self.steps_per_epoch

    @property
    def steps_done(self) -> int:
        return self.position.epoch * self.steps_per_epoch + self.position.step_in_epoch

    @property
    def progress(self) -> Progress:
        epoch = self.steps_done / self.steps_per_epoch
        return Progress(epoch=epoch, epochs=self.training.epochs, examples=len(self.train))

    @property
    def finished(self) -> bool:
        patience = self.training.early_stopping
        waited = self.position.epoch - self.position.best_epoch
        return self.position.epoch >= self.training.epochs or (patience is not None and waited >= patience)

    def to_the_end(self, stop: StopRequest, bar: ProgressBar) -> None:
        while not self.finished and not stop:
            self.epoch(stop, bar)
            if self.position.step_in_epoch == self.steps_per_epoch:
                self.validate()
                bar.steps(self.steps_done)
                bar.epoch(self.position.history[-1])
            due = float(time.monotonic() - self.saved_at > self.saving_took / _CHECKPOINT_SHARE)
            self.ranks.last_look()
            if self.finished or stop or self.ranks.as_first(due)[0]:
                self.save()

    def epoch(self, stop: StopRequest, bar: ProgressBar) -> None:
        """Train to the end of the epoch that is under way, or to the first step after a stop was asked for."""
        optimizer, position, share = self.optimizer, self.position, self.ensemble.share
        unread: list[Tensor] = []
        started = time.perf_counter()
        self.ensemble.train()
        skip = position.step_in_epoch
        for x, y in batches(
            self.train,
            batch_size=self.training.batch_size,
            seed=self.seed,
            epoch=position.epoch,
            skip=skip,
            resized_crop=self.training.augment.resized_crop,
        ):
            rate = learning_rate(self.training, step=self.steps_done, steps_per_epoch=self.steps_per_epoch)
            set_learning_rate(optimizer, rate)
            loss = self.step_loss(x, y)
            self.fabric.backward(loss)
            if share is not None:
                share.grid.average_gradients(self.ensemble)
            optimizer.step()
            optimizer.zero_grad()
            unread.append(loss.detach())
            position.step_in_epoch += 1
            if len(unread) >= self.ranks.look_every or stop:
                self.read(unread)
                bar.steps(self.steps_done)
            if stop:
                break
        self.read(unread)
        position.epoch_seconds += time.perf_counter() - started

    def step_loss(self, x: Tensor, y: Tensor) -> Tensor:
        share = self.ensemble.share
        rows = None if share is None or share.grid.data_ranks == 1 else share.grid.rows(len(x))
        try:
            # Fabric applies the precision to forward() alone where it wraps no data-parallel module.
            with self.fabric.autocast():
                if self.augment is not None:
                    # Drawn anew for every step: a resumed run needs to remember nothing.
                    position = self.position
                    self.generator.manual_seed(step_seed(self.seed, position.epoch, position.step_in_epoch))
                    if rows is None:
                        loss: Tensor = self.model.loss(x, y, progress=self.progress, augment=self.augment)
                        return loss
                    x, y = self.augment(x, y)
                else:
                    x = self.dataset.prepare(x) if self.as_stored else x
                if rows is None:
                    loss = self.model.loss(x, y, progress=self.progress)
                else:
                    part = (rows.stop - rows.start) / len(x)
                    loss = part * self.model.loss(x[rows], y[rows], progress=self.progress)
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise InputError(
                "a model with batch normalisation needs at least 2 rows in a training step",
                got=f"batch_size={self.training.batch_size}",
                fix="Raise the batch size",
            ) from error
        return loss

    def read(self, unread: list[Tensor]) -> None:
        """Add the losses to the epoch's sum, and stop the run at the first that is not finite."""
        losses = self.ranks.read(unread)
        for index, loss in enumerate(losses):
            if not math.isfinite(loss):
                step = self.steps_done - len(losses) + index
                raise self.diverged("loss", loss, step)
            self.position.loss_sum += loss
        unread.clear()

    def validate(self) -> None:
        """Close the epoch: score the validation split and add a row to the history."""
        position = self.position
        prediction = predict_split(self.ensemble, self.dataset, self.dataset.validation, combined=True)
        assert prediction.targets is not None
        spec = self.dataset.spec
        nll = spec.in_own_units({"nll": float(prediction.nll().mean())})["nll"]
        if not math.isfinite(nll):
            raise self.diverged("validation loss", nll, self.steps_done - 1)
        score: dict[str, float]
        if spec.task == "classification":
            classes, labels = as_classes(prediction, prediction.targets)
            score = {"validation_accuracy": float(accuracy(classes.probs, labels))}
        else:
            score = {"validation_rmse": spec.target_std * float(rmse(prediction.mean, prediction.targets))}
        (key,) = score
        nll, score[key] = self.ranks.as_first(nll, score[key])
        last_rate = learning_rate(self.training, step=self.steps_done - 1, steps_per_epoch=self.steps_per_epoch)
        position.history.append(
            HistoryRow(
                epoch=position.epoch + 1,
                step=self.steps_done,
                learning_rate=last_rate,
                train_loss=position.loss_sum / self.steps_per_epoch,
                validation_nll=nll,
                seconds=position.epoch_seconds,
                **score,
            )
        )
        position.epoch += 1
        position.step_in_epoch, position.loss_sum, position.epoch_seconds = 0, 0.0, 0.0
        error = 1 - score["validation_accuracy"] if "validation_accuracy" in score else score["validation_rmse"]
        better = nll < position.best_nll if self.training.monitor == "nll" else error < position.best_error
        if self.training.early_stopping is not None and better:
            position.best_nll, position.best_error, position.best_epoch = nll, error, position.epoch
            self.best = {name: value.detach().cpu().clone() for name, value in self.ensemble.state_dict().items()}

    def save(self) -> None:
        if self.checkpoint is None:
            return
        started = time.monotonic()
        trained = (parameter for parameter in self.ensemble.parameters() if parameter.requires_grad)
        if not self.ranks.all(all(bool(torch.isfinite(parameter).all()) for parameter in trained)):
            # The last step's loss was finite, its gradient was not: such a checkpoint would be of no use.
            raise self.diverged("network's weights", math.nan, self.steps_done - 1)
        assert self.folder is not None
        state: dict[str, Any] = {
            "model": self.ensemble,
            "optimizer": self.optimizer.optimizer,
            "position": self.position,
            "settings": self.settings,
            "best": self.best,
        }
        if self.ensemble.share is not None:
            save_members(self.folder, **state, step=self.steps_done)
        else:
            save_checkpoint(self.checkpoint, **state, scaler=self.fabric.strategy.precision.state_dict())
            drop_members(self.folder)
        self.write_history()
        self.saved_at = time.monotonic()
        self.saving_took = self.saved_at - started

    def write_history(self) -> None:
        if self.folder is not None and self.ranks.is_first:
            write_history(self.folder / "history.csv", self.position.history)

    def finish(self) -> list[HistoryRow]:
        if self.best:
            self.ensemble.load_state_dict(self.best)
        return self.position.history

    def interrupted(self, stop: StopRequest) -> RunInterrupted:
        assert stop.signal is not None
        return RunInterrupted(
            f"stopped by {stop.signal.name} after step {self.steps_done} of {self.total_steps}; "
            f"run the same command again to go on from {self.checkpoint}",
            stop.signal,
        )

    def diverged(self, what: str, value: float, step: int) -> TrainingDivergedError:
        rate = learning_rate(self.training, step=step, steps_per_epoch=self.steps_per_epoch)
        kept = self.checkpoint if self.checkpoint is not None and self.checkpoint.exists() else "none yet"
        epoch = step // self.steps_per_epoch + 1
        return TrainingDivergedError(
            f"the {what} became {value} at step {step + 1} of {self.total_steps} (epoch {epoch}) with "
            f"learning rate {rate:.3g}. Last good checkpoint: {kept}. Lower the learning rate or lengthen the warm-up."
        )
