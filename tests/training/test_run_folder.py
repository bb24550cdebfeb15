"""What a run writes into its folder, when it does, and what it finds there again."""

import math
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch.optim import SGD

from motet import Ensemble, Training
from motet.errors import TrainingDivergedError
from motet.training import HistoryRow, read_history
from motet.training.checkpoint import Position
from motet.training.devices import make_fabric
from motet.training.losses import Divergence
from motet.training.rank_sync import RankSync
from motet.training.run_folder import RunFolder, checkpoint_path, resume
from motet.training.steps import Steps
from motet.training.validation import EarlyStopping

Make = Callable[..., Ensemble]
ALONE = RankSync(None)
HISTORY = [HistoryRow(epoch=1, step=4, learning_rate=0.1, train_loss=1.0, validation_nll=0.5, seconds=2.0)]


def run_folder(folder: Path | None, ensemble: Ensemble, position: Position) -> RunFolder:
    training = Training(epochs=3, early_stopping=2)
    steps = Steps(training, position, per_epoch=4, examples=70)
    return RunFolder(
        folder,
        ensemble=ensemble,
        optimizer=SGD(ensemble.parameters(), lr=0.1),
        fabric=make_fabric(torch.device("cpu"), "32-true"),
        settings="this run",
        steps=steps,
        early_stopping=EarlyStopping(training, position, {"weight": torch.ones(2)}),
        divergence=Divergence(steps, checkpoint_path(folder, ensemble)),
        ranks=ALONE,
    )


def resumed(folder: Path | None, ensemble: Ensemble) -> tuple[Position, dict[str, torch.Tensor]]:
    optimizer = SGD(ensemble.parameters(), lr=0.1)
    return resume(
        folder,
        ensemble=ensemble,
        optimizer=optimizer,
        fabric=make_fabric(torch.device("cpu"), "32-true"),
        settings="this run",
        seed=0,
        ranks=ALONE,
    )


def test_what_was_saved_comes_back(make: Make, tmp_path: Path, same_weights: Callable[..., bool]) -> None:
    saved, other = make(seed=1), make(seed=2)
    position = Position(epoch=1, step_in_epoch=2, history=HISTORY, best_nll=0.5, best_epoch=1)
    run_folder(tmp_path, saved, position).save()
    assert checkpoint_path(tmp_path, saved) == tmp_path / "checkpoint" / "last.safetensors"
    assert read_history(tmp_path / "history.csv") == HISTORY
    (tmp_path / "history.csv").unlink()  # as if the process had been killed before it was written
    held, best = resumed(tmp_path, other)
    assert held == position
    assert torch.equal(best["weight"], torch.ones(2))
    assert same_weights(saved, other)
    assert read_history(tmp_path / "history.csv") == HISTORY


@pytest.mark.parametrize("folder", [None, "empty"])
def test_without_a_checkpoint_a_run_begins(make: Make, tmp_path: Path, folder: str | None) -> None:
    assert resumed(None if folder is None else tmp_path, make()) == (Position(), {})
    assert list(tmp_path.iterdir()) == []


def test_without_a_folder_nothing_is_written(make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert checkpoint_path(None, make()) is None
    run_folder(None, make(), Position()).save()
    assert list(tmp_path.iterdir()) == []


def test_saving_takes_a_twentieth_of_the_time_at_most(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 100.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    folder = run_folder(tmp_path, make(), Position())
    assert folder.save_is_due, "the first one always"
    real = Divergence.check_weights

    def slow(self: Divergence, ensemble: Ensemble, ranks: RankSync) -> None:
        nonlocal now
        now += 2.0
        real(self, ensemble, ranks)

    monkeypatch.setattr(Divergence, "check_weights", slow)
    folder.save()
    now += 2.0 * 20
    assert not folder.save_is_due
    now += 0.1
    assert folder.save_is_due


def test_weights_that_are_not_finite_leave_the_checkpoint_as_it_is(make: Make, tmp_path: Path) -> None:
    ensemble = make()
    folder = run_folder(tmp_path, ensemble, Position(epoch=1))
    folder.save()
    before = (tmp_path / "checkpoint" / "last.safetensors").read_bytes()
    with torch.no_grad():
        ensemble.network[0].weight.fill_(math.nan)
    with pytest.raises(TrainingDivergedError, match=r"network's weights became nan at step 4 of 12.*last\.safetensors"):
        folder.save()
    assert (tmp_path / "checkpoint" / "last.safetensors").read_bytes() == before
