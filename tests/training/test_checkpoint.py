"""The checkpoint: a safetensors file that is whole or absent, and that nothing is executed from."""

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import nn

from motet import Dataset, Ensemble, InputError, Training, fit
from motet._internal.tensor_file import write_tensors
from motet.errors import RunInterrupted
from motet.training import load_weights

Make = Callable[..., Ensemble]


@pytest.fixture
def checkpoint(make: Make, blobs: Dataset, short: Training, tmp_path: Path, at_step: Callable[..., Any]) -> Path:
    """Of a run that was stopped in its third epoch."""
    ensemble = make()
    with at_step(ensemble, 10), pytest.raises(RunInterrupted):
        fit(ensemble, blobs, short, folder=tmp_path)
    return tmp_path / "checkpoint" / "last.safetensors"


def metadata(path: Path) -> dict[str, Any]:
    with safe_open(path, framework="pt") as file:
        about: dict[str, Any] = json.loads(file.metadata()["motet.checkpoint"])
        return about


def rewrite(path: Path, about: object, **tensors: torch.Tensor) -> None:
    save_file({**load_file(path), **tensors}, path, metadata={"motet.checkpoint": json.dumps(about)})


def test_it_is_one_safetensors_file_and_nothing_else(checkpoint: Path) -> None:
    assert [item.name for item in checkpoint.parent.iterdir()] == ["last.safetensors"]
    names = load_file(checkpoint).keys()
    assert {"model.network.0.weight", "model.network.1.running_var", "random.cpu"} <= names
    assert "optimizer.0.momentum_buffer" in names
    about = metadata(checkpoint)
    assert about["position"]["epoch"] == 2
    assert about["position"]["step_in_epoch"] == 2
    assert [row["epoch"] for row in about["position"]["history"]] == [1, 2]


def test_weights_alone_can_be_loaded(checkpoint: Path, make: Make) -> None:
    ensemble = make(seed=3)
    load_weights(checkpoint, ensemble)
    assert torch.equal(ensemble.network[0].weight, load_file(checkpoint)["model.network.0.weight"])


class Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return (Path.touch, (self.path,))


@pytest.mark.parametrize("how", ["pickle", "torch"])
def test_a_pickle_in_its_place_is_refused_and_never_run(lab: Any, checkpoint: Path, how: str) -> None:
    hole = lab.folder / "executed"
    if how == "pickle":
        checkpoint.write_bytes(pickle.dumps(Bomb(hole)))
    else:
        torch.save({"model": Bomb(hole)}, checkpoint)
    with pytest.raises(InputError, match="a checkpoint must be a complete file"):
        fit(lab.make(), lab.data, lab.short, folder=lab.folder)
    with pytest.raises(InputError, match="a checkpoint must be a complete file"):
        load_weights(checkpoint, lab.make())
    assert not hole.exists()


@pytest.mark.parametrize("keep", [0, 4, 100, -1])
def test_a_truncated_file_is_refused_and_left_alone(lab: Any, checkpoint: Path, keep: int) -> None:
    content = checkpoint.read_bytes()[:keep]
    checkpoint.write_bytes(content)
    with pytest.raises(InputError, match="move this one away and start the run again") as caught:
        fit(lab.make(), lab.data, lab.short, folder=lab.folder)
    assert str(checkpoint) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert checkpoint.read_bytes() == content
    with pytest.raises(InputError):
        load_weights(checkpoint, lab.make())


@pytest.mark.parametrize("about", [[], "text", None, {}, {"version": 999}, {"version": 2, "settings": 3}])
def test_foreign_metadata_is_refused(lab: Any, checkpoint: Path, about: object) -> None:
    rewrite(checkpoint, about)
    with pytest.raises(InputError, match="a checkpoint must be a complete file"):
        fit(lab.make(), lab.data, lab.short, folder=lab.folder)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("position", {"epoch": 1, "unknown": 2}),
        ("position", None),
        ("optimizer", {"x": {}}),
        ("optimizer", [1]),
        ("settings", "another run"),
    ],
)
def test_damaged_metadata_is_refused(lab: Any, checkpoint: Path, key: str, value: object) -> None:
    rewrite(checkpoint, {**metadata(checkpoint), key: value})
    with pytest.raises(InputError, match="a checkpoint must be a complete file"):
        fit(lab.make(), lab.data, lab.short, folder=lab.folder)


def test_a_file_without_its_random_state_is_refused(
    checkpoint: Path, make: Make, blobs: Dataset, short: Training, tmp_path: Path
) -> None:
    tensors, about = load_file(checkpoint), metadata(checkpoint)
    del tensors["random.cpu"], about["checksums"]
    write_tensors(checkpoint, tensors, about, key="motet.checkpoint")
    with pytest.raises(InputError, match=r"random\.cpu"):
        fit(make(), blobs, short, folder=tmp_path)


def test_plain_weights_of_somebody_elses_are_refused(
    make: Make, blobs: Dataset, short: Training, tmp_path: Path, checkpoint: Path
) -> None:
    save_file({"weight": torch.zeros(3)}, checkpoint)
    with pytest.raises(InputError, match="a checkpoint must be a complete file"):
        fit(make(), blobs, short, folder=tmp_path)


@pytest.mark.parametrize("change", ["seed", "settings", "data", "rows", "method", "objective"])
def test_another_runs_checkpoint_is_refused(lab: Any, checkpoint: Path, change: str) -> None:
    before = checkpoint.read_bytes()
    ensemble, seed, training, data = lab.make(), 0, lab.short, lab.data
    match change:
        case "seed":
            seed = 1
        case "settings":
            training = replace(training, learning_rate=0.2)
        case "data":
            data = replace(data, spec=replace(data.spec, name="clouds"))
        case "rows":
            fewer = replace(data.train, inputs=data.train.inputs[:-1], targets=data.train.targets[:-1])
            data = replace(data, train=fewer)
        case "method":
            ensemble = lab.make("mimo")
        case "objective":
            ensemble.objective = replace(ensemble.objective, reduction="mean")
    with pytest.raises(InputError, match="it is of another run"):
        fit(ensemble, data, training, seed=seed, folder=lab.folder)
    assert checkpoint.read_bytes() == before


def test_another_architecture_is_refused(
    checkpoint: Path, make: Make, blobs: Dataset, short: Training, tmp_path: Path
) -> None:
    wider = make("single", model=lambda: nn.Sequential(nn.Linear(4, 13), nn.ReLU(), nn.Linear(13, 3)))
    with pytest.raises(InputError, match="a checkpoint must be a complete file"):
        fit(wider, blobs, short, folder=tmp_path)
    with pytest.raises(InputError, match="for this model"):
        load_weights(checkpoint, wider)


def test_no_file_at_all(make: Make, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        load_weights(tmp_path / "last.safetensors", make())


def test_tied_weights_are_saved_and_come_back(
    make: Make, blobs: Dataset, short: Training, tmp_path: Path, same_weights: Callable[..., bool]
) -> None:
    """safetensors refuses tensors that share memory."""

    def tied() -> nn.Module:
        model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3))
        model[2].weight = model[0].weight
        return model

    trained, loaded = make("single", model=tied), make("single", model=tied, seed=5)
    fit(trained, blobs, short, folder=tmp_path)
    load_weights(tmp_path / "checkpoint" / "last.safetensors", loaded)
    assert same_weights(trained, loaded)
    assert loaded.network[0].weight is loaded.network[2].weight


def test_a_full_disk_keeps_the_checkpoint_before(lab: Any, monkeypatch: pytest.MonkeyPatch, checkpoint: Path) -> None:
    """As safetensors reports it: not as an OSError."""
    from safetensors import SafetensorError

    before = checkpoint.read_bytes()

    def full(tensors: object, path: Path, **_: object) -> None:
        Path(path).write_bytes(b"half")
        raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")

    monkeypatch.setattr("safetensors.torch.save_file", full)
    with pytest.raises(OSError, match="No space left on device") as caught:
        fit(lab.make(), lab.data, lab.short, folder=lab.folder)
    assert caught.value.filename == str(checkpoint)
    assert checkpoint.read_bytes() == before
    assert [item.name for item in checkpoint.parent.iterdir()] == ["last.safetensors"]
    monkeypatch.undo()
    assert len(fit(lab.make(), lab.data, lab.short, folder=lab.folder)) == 4


def test_half_written_files_of_killed_processes_are_cleared_away(
    checkpoint: Path, make: Make, blobs: Dataset, short: Training, tmp_path: Path
) -> None:
    leftover = checkpoint.parent / ".last.safetensors.0123456789ab.part"
    leftover.mkdir()
    (leftover / ".tmpUjY3Pq").write_bytes(b"half")
    fit(make(), blobs, short, folder=tmp_path)
    assert [item.name for item in checkpoint.parent.iterdir()] == ["last.safetensors"]


def test_files_can_be_read_by_those_whom_the_users_umask_lets(checkpoint: Path, tmp_path: Path) -> None:
    import os

    mask = os.umask(0)
    os.umask(mask)
    assert checkpoint.stat().st_mode & 0o777 == 0o666 & ~mask
    assert (tmp_path / "history.csv").stat().st_mode & 0o777 == 0o666 & ~mask
