"""One experiment in its folder: whole, repeatable, resumable, and nothing half-written."""

import errno
import json
import math
import platform
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import motet
from motet import MIMO, Dataset, Ensemble, Experiment, InputError, Method, Training
from motet._internal import files
from motet._internal.typed_records import to_plain
from motet.data import load
from motet.errors import RunInterrupted, TrainingDivergedError
from motet.experiments import Run, load_ensemble, load_run, run_experiment
from motet.experiments.provenance import source_of
from motet.metrics import member_scores, score
from motet.models import MLP, CustomModel
from motet.prediction import Prediction

Make = Callable[..., Experiment]
NAMES = {"run.json", "history.csv", "checkpoint", "predictions.safetensors", "scores.json"}


def names(folder: Path) -> set[str]:
    return {item.name for item in folder.iterdir()}


def whole(folder: Path) -> bool:
    return names(folder) == NAMES and names(folder / "checkpoint") == {"last.safetensors"}


def untimed(run: Run) -> dict[str, Any]:
    scores = to_plain(run.scores)
    return scores | {"cost": {key: value for key, value in scores["cost"].items() if key != "train_seconds"}}


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load("digits")


def test_what_lies_in_the_folder(experiment: Make, two_members: Method, digits: Dataset, tmp_path: Path) -> None:
    settings = experiment(two_members)
    run = run_experiment(settings, tmp_path / "run")
    assert whole(tmp_path / "run")
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["settings"] == settings.to_record() == run.record.settings
    assert record["versions"]["torch"] == torch.__version__
    assert record["versions"]["motet"] == motet.__version__
    assert record["versions"]["python"] == platform.python_version()
    assert record["hardware"]["device"] == "cpu"
    assert record["hardware"]["threads"] == torch.get_num_threads()
    assert {"created", "commit"} <= record.keys()
    assert record["data"]["train"] == 1079
    assert record["source"] is None
    prediction = Prediction.load(tmp_path / "run" / "predictions.safetensors")
    assert prediction.outputs_BMC.shape == (359, 2, 10)
    assert torch.equal(prediction.targets, digits.test.targets)  # type: ignore[arg-type]
    scores = json.loads((tmp_path / "run" / "scores.json").read_text())
    assert scores["test"] == score(prediction)
    assert scores["test_members"] == member_scores(prediction)
    assert scores["epochs"] == 2 == len(run.history)
    assert scores["cost"]["train_seconds"] == sum(row.seconds for row in run.history)
    assert run == load_run(tmp_path / "run")


def test_the_kept_weights_make_the_kept_predictions(
    experiment: Make, two_members: Method, digits: Dataset, tmp_path: Path
) -> None:
    run = run_experiment(experiment(two_members), tmp_path)
    ensemble = load_ensemble(run, digits)
    again = ensemble.predict(digits.prepare(digits.test.inputs))
    assert torch.equal(again.outputs_BMC, run.prediction.outputs_BMC)


@pytest.mark.slow
def test_everything_to_repeat_a_run_stands_in_its_record(experiment: Make, two_members: Method, tmp_path: Path) -> None:
    first = run_experiment(experiment(two_members, seed=5), tmp_path / "first")
    torch.manual_seed(123)
    again = Experiment.from_record(json.loads((tmp_path / "first" / "run.json").read_text())["settings"])
    second = run_experiment(again, tmp_path / "second")
    assert untimed(first) == untimed(second)
    assert torch.equal(first.prediction.outputs_BMC, second.prediction.outputs_BMC)
    weights = [load_file(run.folder / "checkpoint" / "last.safetensors") for run in (first, second)]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())
    other = run_experiment(experiment(two_members, seed=6), tmp_path / "other")
    assert untimed(other) != untimed(first)


def test_a_finished_run_is_read_and_not_trained(
    experiment: Make, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    first = run_experiment(experiment(), tmp_path)
    request.getfixturevalue("no_training")
    said: list[str] = []
    assert run_experiment(experiment(), tmp_path, say=said.append) == first
    assert said == [f"{tmp_path} is already finished; nothing to train"]


@pytest.mark.parametrize("step", [3, 8])
def test_an_interrupted_run_goes_on(experiment: Make, at_step: Any, tmp_path: Path, step: int) -> None:
    """In the middle, and in the very last step: also then the request is heard, and only the scores are missing."""
    expected = run_experiment(experiment(), tmp_path / "whole")
    folder = tmp_path / "run"
    with at_step(step), pytest.raises(RunInterrupted, match=f"after step {step} of 8"):
        run_experiment(experiment(), folder)
    assert names(folder) == {"run.json", "history.csv", "checkpoint"}
    assert load_run(folder) is None
    said: list[str] = []
    run = run_experiment(experiment(), folder, say=said.append)
    assert said == [f"continuing from the checkpoint in {folder}"]
    assert untimed(run) == untimed(expected)
    assert whole(folder)


def test_killed_between_predictions_and_scores(experiment: Make, tmp_path: Path) -> None:
    expected = run_experiment(experiment(), tmp_path)
    (tmp_path / "scores.json").unlink()
    assert run_experiment(experiment(), tmp_path).scores == expected.scores


# -- what the folder may hold -------------------------------------------------------------------------------------


def test_another_run_is_left_alone(experiment: Make, tmp_path: Path) -> None:
    run_experiment(experiment(), tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    for other, part in (
        (experiment(seed=1), "seed=0 where this one has 1"),
        (experiment(MIMO(members=2)), r"method\.type='Single' where this one has 'MIMO'"),
        (experiment(training=Training(epochs=3, batch_size=256)), r"training\.epochs=2 where this one has 3"),
        (experiment(model=MLP(hidden=(8, 8))), r"model\.hidden=\[8\] where this one has \[8, 8\]"),
    ):
        with pytest.raises(InputError, match=f"must be empty, or contain the same run.*{part}"):
            run_experiment(other, tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_file_in_the_folders_place(experiment: Make, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match="the output must be a folder"):
        run_experiment(experiment(), tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


def test_somebody_elses_files(experiment: Make, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(InputError, match="must be empty or contain a run"):
        run_experiment(experiment(), tmp_path)
    assert names(tmp_path) == {"thesis.tex"}


def test_hidden_files_and_empty_folders_do_not_matter(experiment: Make, tmp_path: Path) -> None:
    (tmp_path / ".DS_Store").touch()
    assert run_experiment(experiment(), tmp_path).scores


@pytest.mark.parametrize("content", ["", "{", "[]", "3", "null", "{}", '{"settings": 3}', '"text"', "\x00"])
def test_a_damaged_record(experiment: Make, tmp_path: Path, content: str) -> None:
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(InputError, match="Choose another folder with --out, or move this one away"):
        run_experiment(experiment(), tmp_path)
    assert names(tmp_path) == {"run.json"}
    assert (tmp_path / "run.json").read_text() == content


@pytest.mark.slow
@pytest.mark.parametrize("content", ["", '{"test": {', "[]", "3", "{}"])
def test_damaged_scores(experiment: Make, tmp_path: Path, content: str) -> None:
    run_experiment(experiment(), tmp_path)
    (tmp_path / "scores.json").write_text(content)
    with pytest.raises(InputError, match=r"scores\.json"):
        run_experiment(experiment(), tmp_path)


def test_a_damaged_checkpoint(experiment: Make, at_step: Any, tmp_path: Path) -> None:
    with at_step(6), pytest.raises(RunInterrupted):
        run_experiment(experiment(), tmp_path)
    checkpoint = tmp_path / "checkpoint" / "last.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-7])
    with pytest.raises(InputError, match="a checkpoint must be a complete file"):
        run_experiment(experiment(), tmp_path)
    assert (tmp_path / "run.json").exists(), "the run is not given up: its checkpoint may be mended from a copy"


def test_a_finished_runs_missing_or_foreign_weights(experiment: Make, digits: Dataset, tmp_path: Path) -> None:
    run = run_experiment(experiment(), tmp_path)
    checkpoint = tmp_path / "checkpoint" / "last.safetensors"
    for damage in (lambda: checkpoint.write_bytes(b"x"), checkpoint.unlink):
        damage()
        with pytest.raises(InputError, match="a checkpoint must be a complete file"):
            load_ensemble(run, digits)


# -- bad input leaves nothing ------------------------------------------------------------------------------------


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "data": ({"data": "digit"}, "Did you mean 'digits'"),
    "batch too large": ({"training": Training(epochs=1, batch_size=1080)}, "at most the 1079 rows"),
    "precision": ({"training": Training(epochs=1, precision="16-mixed")}, "16-mixed needs a CUDA device"),
    "no such layer": ({"first": ("nolayer",), "method": MIMO(members=2)}, "nolayer"),
    "model file": ({"model": CustomModel(function="none.py:net")}, r"none\.py"),
}


@pytest.mark.parametrize("case", BAD)
def test_what_cannot_be_run_writes_nothing(experiment: Make, tmp_path: Path, case: str) -> None:
    changes, part = BAD[case]
    with pytest.raises(InputError, match=part):
        run_experiment(experiment(**changes), tmp_path / "runs" / "run")
    assert names(tmp_path) == set(), "not even a folder"


def test_a_device_that_is_not_there(experiment: Make, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="device cuda:99 must exist on this machine"):
        run_experiment(experiment(), tmp_path / "run", device="cuda:99")
    assert names(tmp_path) == set()


NORMED = """
from torch import nn
def net():
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.BatchNorm1d(8), nn.Linear(8, 10))
"""


def test_what_only_training_finds_gives_the_folder_back(experiment: Make, tmp_path: Path) -> None:
    (tmp_path / "normed.py").write_text(NORMED)
    model = CustomModel(function=f"{tmp_path}/normed.py:net")
    with pytest.raises(InputError, match="batch normalisation needs at least 2 rows"):
        run_experiment(experiment(model=model, training=Training(epochs=1, batch_size=1)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_divergence_before_the_first_checkpoint_gives_the_folder_back(experiment: Make, tmp_path: Path) -> None:
    bad = Training(epochs=2, batch_size=64, learning_rate=1e30, schedule="constant")
    with pytest.raises(TrainingDivergedError, match=r"learning rate 1e\+30\. Last good checkpoint: none yet"):
        run_experiment(experiment(training=bad), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    assert run_experiment(experiment(), tmp_path / "run").scores, "so that a lower rate may have it"


def test_later_divergence_keeps_the_run(experiment: Make, tmp_path: Path) -> None:
    bad = Training(epochs=3, batch_size=64, schedule="step", milestones=(1.0,), decay_factor=1e30)
    with pytest.raises(TrainingDivergedError, match=r"Last good checkpoint: .*run/checkpoint/last\.safetensors"):
        run_experiment(experiment(training=bad), tmp_path / "run")
    assert names(tmp_path / "run") == {"run.json", "history.csv", "checkpoint"}


# -- a full disk, at whichever write -----------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("survivors", range(7))
def test_a_full_disk_at_any_write(
    experiment: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, survivors: int
) -> None:
    """run.json, checkpoint and history after each of the two epochs, predictions, scores."""
    expected = run_experiment(experiment(), tmp_path / "whole")
    folder, left = tmp_path / "run", survivors
    real = files.write_atomically
    monkeypatch.setattr(sys.modules["motet.training.run_folder"], "_CHECKPOINT_SHARE", math.inf)  # after every epoch

    def write(path: Path, fill: Callable[[Path], object]) -> None:
        nonlocal left
        left -= 1

        def half(beside: Path) -> None:
            fill(beside)
            beside.write_bytes(beside.read_bytes()[:10])
            raise OSError(errno.ENOSPC, "No space left on device")

        real(path, fill if left >= 0 else half)

    for module in ("motet._internal.files", "motet._internal.tensor_file"):
        monkeypatch.setattr(f"{module}.write_atomically", write)
    with pytest.raises(OSError, match="No space left on device") as caught:
        run_experiment(experiment(), folder)
    monkeypatch.undo()
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename.startswith(str(folder))
    assert not list(tmp_path.rglob("*.part"))
    for path in folder.rglob("*"):
        if path.suffix == ".json":
            json.loads(path.read_text())
        elif path.suffix == ".safetensors":
            load_file(path)
    assert untimed(run_experiment(experiment(), folder)) == untimed(expected)
    assert whole(folder)


# -- models of the user's ----------------------------------------------------------------------------------------


def own(folder: Path, text: str) -> CustomModel:
    (folder / "own.py").write_text(f"from torch import nn\n{text}\n")
    return CustomModel(function=f"{folder}/own.py:net")


SMALL = "def net(num_classes, input_shape):\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, num_classes))"


def test_the_source_of_an_own_model_is_kept(experiment: Make, tmp_path: Path) -> None:
    run = run_experiment(experiment(model=own(tmp_path, SMALL)), tmp_path / "run")
    assert run.record.source[0].text == (tmp_path / "own.py").read_text()
    assert run.record.source[0].file == "own.py"


def test_a_changed_own_model_is_another_run(experiment: Make, tmp_path: Path) -> None:
    """Else the user would be shown the old scores for the new model."""
    run_experiment(experiment(model=own(tmp_path, SMALL)), tmp_path / "run")
    changed = own(tmp_path, SMALL.replace("nn.Flatten(),", "nn.Flatten(), nn.Dropout(),"))
    with pytest.raises(
        InputError, match=r"must be empty, or contain a run of the same model.*an earlier version of own\.py"
    ):
        run_experiment(experiment(model=changed), tmp_path / "run")


def test_sources_of_modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [str(tmp_path), *__import__("sys").path])
    Path("module_with_a_net.py").write_text("# ü\ndef net():\n    pass\n", encoding="latin-1")
    assert source_of(MLP()) == ()
    assert source_of(CustomModel(function="torch.nn:Linear")) == (), "not the user's own"
    found = source_of(CustomModel(function="module_with_a_net:net"))
    assert [each.file for each in found] == ["module_with_a_net.py"]
    assert "def net()" in found[0].text, "though a comment is not UTF-8"


WRONG = {
    "outputs": (
        "def net(num_classes):\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.Linear(8, 7))",
        "10 outputs.*7",
    ),
    "return type": ("def net():\n    return 'a network'", "must return a torch.nn.Module.*a str"),
    "nothing": ("def net():\n    nn.Linear(2, 2)", "a NoneType"),
    "odd arguments": ("def net(depth, num_classes):\n    return nn.Linear(2, 2)", "also needs depth"),
    "raises": ("def net():\n    return nn.Linear(64, undefined)", r"NameError.*undefined.*own\.py, line 3"),
    "positional only": ("def net(num_classes, /):\n    return nn.Linear(64, num_classes)", r"own\.py:net"),
    "shape": ("def net():\n    return nn.Linear(63, 10)", "must accept the example batch"),
    "tuple": (
        "class N(nn.Module):\n    def forward(self, x):\n        return x, x\ndef net():\n    return N()",
        r"one output for each member.*a tuple with 0: .*, 1: ",
    ),
    "no layers": ("def net():\n    return nn.Sequential(nn.Flatten(), nn.Identity())", "10 outputs|layer"),
}


@pytest.mark.slow
@pytest.mark.parametrize("case", WRONG)
@pytest.mark.parametrize("method", ["single", "mimo"])
def test_own_models_that_do_not_fit(
    experiment: Make, two_members: Method, tmp_path: Path, case: str, method: str
) -> None:
    text, part = WRONG[case]
    settings = experiment(two_members if method == "mimo" else None, model=own(tmp_path, text))
    with pytest.raises(InputError, match=part) as caught:
        run_experiment(settings, tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_layers_that_cannot_be_found_are_named_and_settled(
    experiment: Make, two_members: Method, tmp_path: Path
) -> None:
    two_ways = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.left, self.right, self.out = nn.Linear(64, 4), nn.Linear(64, 4), nn.Linear(4, 10)
    def forward(self, x):
        x = x.flatten(1)
        return self.out(self.left(x).relu() + self.right(x))
def net():
    return Net()
"""
    model = own(tmp_path, two_ways)
    with pytest.raises(InputError, match="2 candidates: 'left', 'right'"):
        run_experiment(experiment(two_members, model=model), tmp_path / "run")
    settled = experiment(two_members, model=model, first=("left", "right"))
    assert run_experiment(settled, tmp_path / "run").scores.test["accuracy"] > 0


def test_a_single_network_has_no_disagreement_but_a_score(experiment: Make, tmp_path: Path) -> None:
    run = run_experiment(experiment(), tmp_path)
    assert math.isnan(run.scores.test["disagreement"])
    scores = json.loads((run.folder / "scores.json").read_text())
    assert scores["test"]["disagreement"] is None, "JSON has no NaN"
    assert math.isfinite(run.scores.test["nll"])


@pytest.mark.slow
def test_early_stopping_scores_the_best_epoch(experiment: Make, digits: Dataset, tmp_path: Path) -> None:
    training = Training(epochs=30, batch_size=32, learning_rate=0.5, schedule="constant", early_stopping=2)
    run = run_experiment(experiment(training=training), tmp_path)
    scores = [row["validation_nll"] for row in run.history]
    assert len(scores) < 30
    assert run.scores.validation["nll"] == pytest.approx(min(scores))
    ensemble: Ensemble = load_ensemble(run, digits)
    assert torch.equal(ensemble.predict(digits.prepare(digits.test.inputs)).outputs_BMC, run.prediction.outputs_BMC)


FAILS_LATER = """
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(64, 10)
    def forward(self, x):
        if self.training and len(x) > 8:
            raise RuntimeError("a fault of the model's")
        return self.layer(x.flatten(1))
def net():
    return Net()
"""


def test_a_model_that_fails_in_training_gives_the_folder_back(experiment: Make, tmp_path: Path) -> None:
    """Its author needs the traceback; and the mended model, which is another one, needs the folder."""
    model = own(tmp_path, FAILS_LATER)
    with pytest.raises(RuntimeError, match="a fault of the model's"):
        run_experiment(experiment(model=model), tmp_path / "run")
    assert not (tmp_path / "run").exists()
