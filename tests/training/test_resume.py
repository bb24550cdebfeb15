"""Stopped and continued ends, bit for bit, where never stopped ends."""

import os
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from motet import Dataset, Ensemble, Training, fit
from motet.errors import RunInterrupted
from motet.evaluation import predict_split
from motet.training import load_weights, read_history

Make = Callable[..., Ensemble]
Rows = list[dict[str, float]]
CHECKPOINT = Path("checkpoint", "last.safetensors")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("method", ["single", "mimo", "deep-ensemble"])
@pytest.mark.slow
def test_a_signal_within_an_epoch(lab: Any, method: str, number: signal.Signals) -> None:
    expected, rows = lab.never_stopped(method, lab.short)
    stopped = lab.make(method)
    with lab.at_step(stopped, 6, lambda: os.kill(os.getpid(), number)), pytest.raises(RunInterrupted) as caught:
        fit(stopped, lab.data, lab.short, seed=3, folder=lab.folder / "run")
    assert caught.value.signal is number
    assert f"stopped by {number.name} after step 6 of 16" in str(caught.value)
    assert str(lab.folder / "run" / CHECKPOINT) in str(caught.value)
    assert lab.untimed(read_history(lab.folder / "run" / "history.csv")) == lab.untimed(rows[:1])
    resumed = lab.make(method, seed=99)  # its own initial weights and random state count for nothing
    history = fit(resumed, lab.data, lab.short, seed=3, folder=lab.folder / "run")
    assert lab.same_weights(resumed, expected)
    assert lab.untimed(history) == lab.untimed(rows)
    assert read_history(lab.folder / "run" / "history.csv") == history


@pytest.mark.parametrize(
    "change",
    [
        {"optimizer": "adamw", "learning_rate": 0.01},
        {"momentum": 0.0, "nesterov": False},
        {"precision": "bf16-mixed"},
        {"schedule": "step", "milestones": (1.0, 1.5)},
    ],
    ids=["adamw", "no momentum", "bf16", "steps"],
)
def test_every_optimiser_and_precision(lab: Any, change: dict[str, Any]) -> None:
    training = replace(lab.short, **change)
    expected, rows = lab.never_stopped("mimo", training)
    stopped = lab.make("mimo")
    with lab.at_step(stopped, 7), pytest.raises(RunInterrupted):
        fit(stopped, lab.data, training, seed=3, folder=lab.folder / "run")
    resumed = lab.make("mimo", seed=99)
    assert lab.untimed(fit(resumed, lab.data, training, seed=3, folder=lab.folder / "run")) == lab.untimed(rows)
    assert lab.same_weights(resumed, expected)


@pytest.mark.slow
def test_stopped_at_every_single_step(lab: Any) -> None:
    """Also in the last step of an epoch, and of the training: a request to stop is never swallowed."""
    expected, rows = lab.never_stopped("mimo", lab.short)
    for step in range(1, 17):
        ensemble = lab.make("mimo", seed=step if step > 1 else 0)
        with lab.at_step(ensemble, 1), pytest.raises(RunInterrupted, match=f"after step {step} of 16"):
            fit(ensemble, lab.data, lab.short, seed=3, folder=lab.folder / "run")
        assert len(read_history(lab.folder / "run" / "history.csv")) == step // 4
    ensemble = lab.make("mimo", seed=50)
    assert lab.untimed(fit(ensemble, lab.data, lab.short, seed=3, folder=lab.folder / "run")) == lab.untimed(rows)
    assert lab.same_weights(ensemble, expected)


def test_a_signal_in_validation(lab: Any) -> None:
    expected, rows = lab.never_stopped("single", lab.short)
    ensemble = lab.make()
    sent = []

    def send(module: torch.nn.Module, _: object) -> None:
        if not module.training and not sent:
            sent.append(1)
            os.kill(os.getpid(), signal.SIGINT)

    handle = ensemble.network.register_forward_pre_hook(send)
    with pytest.raises(RunInterrupted, match="after step 4 of 16"):
        fit(ensemble, lab.data, lab.short, seed=3, folder=lab.folder / "run")
    handle.remove()
    assert lab.untimed(read_history(lab.folder / "run" / "history.csv")) == lab.untimed(rows[:1])
    assert lab.untimed(fit(ensemble, lab.data, lab.short, seed=3, folder=lab.folder / "run")) == lab.untimed(rows)
    assert lab.same_weights(ensemble, expected)


def test_handlers_are_restored_whatever_happens(
    make: Make, blobs: Dataset, short: Training, tmp_path: Path, at_step: Callable[..., Any]
) -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    ensemble = make()
    with at_step(ensemble, 3), pytest.raises(RunInterrupted):
        fit(ensemble, blobs, short, folder=tmp_path)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    fit(make(), blobs, short, folder=tmp_path)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_without_a_folder_ctrl_c_is_what_it_always_is(
    make: Make, blobs: Dataset, short: Training, at_step: Callable[..., Any]
) -> None:
    ensemble = make()
    with at_step(ensemble, 3), pytest.raises(KeyboardInterrupt):
        fit(ensemble, blobs, short)


def test_a_finished_run_trains_no_more(
    make: Make, blobs: Dataset, short: Training, tmp_path: Path, same_weights: Callable[..., bool]
) -> None:
    trained, again = make(), make(seed=8)
    rows = fit(trained, blobs, short, folder=tmp_path)
    steps: list[int] = []
    again.network.register_forward_pre_hook(lambda *_: steps.append(1))
    before = (tmp_path / CHECKPOINT).stat().st_mtime_ns
    assert fit(again, blobs, short, folder=tmp_path) == rows
    assert steps == []
    assert same_weights(again, trained)
    assert (tmp_path / CHECKPOINT).stat().st_mtime_ns == before


def test_killed_between_checkpoint_and_history(make: Make, blobs: Dataset, short: Training, tmp_path: Path) -> None:
    """The history is made whole again, also when nothing is left to train."""
    rows = fit(make(), blobs, short, folder=tmp_path)
    (tmp_path / "history.csv").unlink()
    fit(make(), blobs, short, folder=tmp_path)
    assert read_history(tmp_path / "history.csv") == rows


def test_seconds_go_on_counting(
    make: Make, blobs: Dataset, short: Training, tmp_path: Path, at_step: Callable[..., Any]
) -> None:
    ensemble = make()
    with at_step(ensemble, 2, lambda: (time.sleep(0.3), os.kill(os.getpid(), signal.SIGINT))):
        with pytest.raises(RunInterrupted):
            fit(ensemble, blobs, short, folder=tmp_path)
        rows = fit(ensemble, blobs, short, folder=tmp_path)
    assert rows[0]["seconds"] >= 0.3, "the first half of the epoch counts too"


def test_a_gradient_scalers_state_is_kept(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """float16 needs CUDA; that its scaler is saved and given back can be seen without one."""
    from lightning_fabric.plugins.precision.amp import MixedPrecision

    got = []
    state = {"scale": 1024.0, "growth_factor": 2.0, "backoff_factor": 0.5, "growth_interval": 9, "_growth_tracker": 3}
    monkeypatch.setattr(MixedPrecision, "state_dict", lambda self: state)
    monkeypatch.setattr(MixedPrecision, "load_state_dict", lambda self, state: got.append(state))
    training = replace(lab.short, precision="bf16-mixed")
    ensemble = lab.make()
    with lab.at_step(ensemble, 3), pytest.raises(RunInterrupted):
        fit(ensemble, lab.data, training, folder=lab.folder)
    fit(ensemble, lab.data, training, folder=lab.folder)
    assert got == [state]


# -- early stopping -----------------------------------------------------------------------------------------------


@pytest.fixture
def overfitting(blobs: Dataset) -> Dataset:
    """Labels of the training rows mean nothing, so that validation soon gets worse."""
    torch.manual_seed(0)
    return replace(blobs, train=replace(blobs.train, targets=torch.randint(3, (70,))))


PATIENT = Training(epochs=40, batch_size=16, learning_rate=0.05, schedule="constant", early_stopping=3)


def test_early_stopping_keeps_the_best_epochs_weights(make: Make, overfitting: Dataset, tmp_path: Path) -> None:
    ensemble = make("mimo")
    rows = fit(ensemble, overfitting, PATIENT, folder=tmp_path)
    scores = [row["validation_nll"] for row in rows]
    best = scores.index(min(scores))
    assert len(rows) < 40, "it stopped early"
    assert len(rows) == best + 1 + 3, "after three epochs without a better one"
    assert float(predict_split(ensemble, overfitting, overfitting.validation).nll().mean()) == scores[best]
    loaded = make("mimo", seed=4)
    load_weights(tmp_path / CHECKPOINT, loaded)
    assert float(predict_split(loaded, overfitting, overfitting.validation).nll().mean()) == scores[best]


def test_early_stopping_that_never_stops_still_keeps_the_best(make: Make, overfitting: Dataset) -> None:
    ensemble = make()
    rows = fit(ensemble, overfitting, replace(PATIENT, epochs=6, early_stopping=100))
    scores = [row["validation_nll"] for row in rows]
    assert len(rows) == 6
    assert min(scores) < scores[-1], "the last epoch is not the best, or this shows nothing"
    assert float(predict_split(ensemble, overfitting, overfitting.validation).nll().mean()) == min(scores)


@pytest.mark.slow
def test_early_stopping_may_look_at_the_error(make: Make, overfitting: Dataset) -> None:
    ensemble = make()
    rows = fit(ensemble, overfitting, replace(PATIENT, epochs=20, early_stopping=20, monitor="error"))
    accuracies = [row["validation_accuracy"] for row in rows]
    best = accuracies.index(max(accuracies))  # the first of equals
    nlls = [row["validation_nll"] for row in rows]
    assert len(rows) == 20
    assert best != nlls.index(min(nlls)), "or this shows nothing"
    assert float(predict_split(ensemble, overfitting, overfitting.validation).nll().mean()) == nlls[best]


def test_without_it_the_last_epochs_weights_stay(make: Make, overfitting: Dataset) -> None:
    ensemble = make()
    rows = fit(ensemble, overfitting, replace(PATIENT, epochs=6, early_stopping=None))
    score = float(predict_split(ensemble, overfitting, overfitting.validation).nll().mean())
    assert score == rows[-1]["validation_nll"] > min(row["validation_nll"] for row in rows)


def test_early_stopping_is_resumed(lab: Any, overfitting: Dataset) -> None:
    """Stopped after the best epoch, while waiting for a better one."""
    expected = lab.make()
    rows = fit(expected, overfitting, PATIENT)
    best = min(range(len(rows)), key=lambda index: rows[index]["validation_nll"])
    stopped = lab.make()
    with lab.at_step(stopped, 4 * (best + 2) + 2), pytest.raises(RunInterrupted):
        fit(stopped, overfitting, PATIENT, folder=lab.folder)
    assert not lab.same_weights(stopped, expected)
    resumed = lab.make(seed=9)
    assert lab.untimed(fit(resumed, overfitting, PATIENT, folder=lab.folder)) == lab.untimed(rows)
    assert lab.same_weights(resumed, expected)
    again = lab.make(seed=10)
    assert lab.untimed(fit(again, overfitting, PATIENT, folder=lab.folder)) == lab.untimed(rows)
    assert lab.same_weights(again, expected), "a finished run gives the best weights, too"
