"""Collecting a study of which runs are missing, not finished or damaged."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import collect_joint_training
import draw_joint_training
import joint_training_table

from motet import Experiment, ModularNetwork, Training
from motet._internal.files import read_json
from motet.experiments import run_experiment
from motet.models import MLP

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", name="made")
def _made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three finished runs of the study, on digits instead of Fashion-MNIST. Tests work on copies."""
    folder = tmp_path_factory.mktemp("made")
    for members, lam in ((256, 0.0), (256, 1.0), (1, 1.0)):
        run_experiment(
            Experiment(
                data="digits",
                model=MLP(hidden=(1024 // members,)),
                method=ModularNetwork(members=members, lam=lam),
                training=Training(epochs=1, batch_size=512, learning_rate=0.1),
            ),
            folder / f"{members}-modules-lambda-{lam:g}-seed0",
            progress=False,
        )
    return folder


@pytest.fixture(name="study")
def _study(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "study"))


Said = tuple[int, str, str, dict[str, Any] | None]


@pytest.fixture(name="collect")
def _collect(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., Said]:
    """``collect(*folders)``: the exit code, standard output, standard error and the record, if one was written."""

    def collect(*folders: Path) -> Said:
        out = tmp_path / "record.json"
        monkeypatch.setattr(sys, "argv", ["collect", *map(str, folders), "--out", str(out)])
        code = collect_joint_training.main()
        said = capsys.readouterr()
        assert said.err.count("\n") <= 1
        return code, said.out, said.err, read_json(out) if out.exists() else None

    return collect


NOT_TRAINED = [
    "256 modules with lambda 0.5, 0.8, 0.9, 0.95, 0.99 (1 epoch)",
    "64 modules with lambda 0, 0.5, 0.8, 0.9, 0.95, 0.99, 1 (1 epoch)",
    "16 modules with lambda 0, 0.5, 0.8, 0.9, 0.95, 0.99, 1 (1 epoch)",
]


def test_what_is_finished_is_collected_and_the_rest_is_named(collect: Callable[..., Said], study: Path) -> None:
    code, out, err, record = collect(study)
    assert code == 0
    assert out.startswith("3 runs in ")
    assert record is not None
    assert record["missing"] == NOT_TRAINED
    assert err == f"the study is not complete; missing: {'; '.join(NOT_TRAINED)}\n"
    assert [(row["members"], row["lam"]) for row in record["rows"]] == [(256, 0.0), (256, 1.0), (1, 1.0)]
    assert [curve["lam"] for curve in record["dropped"]] == [0.0, 1.0]
    assert len(record["specialists"]) == 4


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda run: (run / "scores.json").unlink(), "256-modules-lambda-1-seed0 (not finished)"),
        (lambda run: (run / "scores.json").write_text("{"), "256-modules-lambda-1-seed0 (damaged: scores.json"),
        (lambda run: (run / "run.json").write_text("[]"), "256-modules-lambda-1-seed0 (damaged: run.json"),
        (lambda run: (run / "run.json").unlink(), "256-modules-lambda-1-seed0 (damaged: "),
        (lambda run: (run / "history.csv").unlink(), "256-modules-lambda-1-seed0 (damaged: "),
        (lambda run: (run / "history.csv").write_text(""), "256-modules-lambda-1-seed0 (damaged: "),
        (lambda run: (run / "predictions.safetensors").unlink(), "256-modules-lambda-1-seed0 (damaged: "),
        (lambda run: (run / "predictions.safetensors").write_text("no"), "256-modules-lambda-1-seed0 (damaged: "),
    ],
)
def test_a_run_that_cannot_be_read_is_left_out_and_named(
    collect: Callable[..., Said], study: Path, damage: Callable[[Path], object], said: str
) -> None:
    damage(study / "256-modules-lambda-1-seed0")
    code, _, err, record = collect(study)
    assert code == 0
    assert record is not None
    assert [(row["members"], row["lam"]) for row in record["rows"]] == [(256, 0.0), (1, 1.0)]
    assert f"study/{said}" in err
    assert str(study.parent) not in "".join(record["missing"])  # no paths of a machine in a record
    assert any("256 modules with lambda 0.5, 0.8, 0.9, 0.95, 0.99, 1 " in each for each in record["missing"])


@pytest.mark.parametrize("there", [True, False])
def test_without_a_finished_run_nothing_is_written(collect: Callable[..., Said], tmp_path: Path, there: bool) -> None:
    folder = tmp_path / "empty"
    if there:
        (folder / "256-modules-lambda-0-seed0").mkdir(parents=True)
        (folder / "notes.txt").write_text("")
    code, _, err, record = collect(folder)
    assert (code, record) == (1, None)
    assert err.startswith(f"no finished run in {folder}; nothing was written; missing: ")
    assert ("256-modules-lambda-0-seed0 (not finished)" if there else "the folder empty") in err


def test_one_of_two_folders_is_missing(collect: Callable[..., Said], study: Path) -> None:
    code, _, err, record = collect(study, study.parent / "long")
    assert code == 0
    assert record is not None
    assert record["missing"] == ["the folder long", *NOT_TRAINED]
    assert "missing: the folder long; " in err


def test_a_run_that_is_there_twice_counts_once(collect: Callable[..., Said], study: Path) -> None:
    shutil.copytree(study / "256-modules-lambda-0-seed0", study / "copy")
    _, _, err, record = collect(study)
    assert record is not None
    assert len(record["rows"]) == 3
    assert "study/copy (left out: the same run is in another folder)" in err


@pytest.mark.parametrize("alone", [False, True])
def test_a_partial_record_is_drawn_and_said_to_be_partial(
    collect: Callable[..., Said],
    study: Path,
    tmp_path: Path,
    *,
    alone: bool,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if alone:
        for lam in "01":
            shutil.rmtree(study / f"256-modules-lambda-{lam}-seed0")
    collect(study)
    record = tmp_path / "record.json"
    monkeypatch.setattr(sys, "argv", ["draw", "--record", str(record), "--out", str(tmp_path / "drawn")])
    draw_joint_training.main()
    assert "the study is not complete" in capsys.readouterr().err
    names = {path.stem for path in (tmp_path / "drawn").iterdir()}
    assert names == ({"error"} if alone else {"error", "losses", "dropped", "specialists"})
    monkeypatch.setattr(joint_training_table, "STUDY", record)
    monkeypatch.setattr(joint_training_table, "ROOT", tmp_path)
    assert "**The study is not complete.** Missing: " in joint_training_table.joint_training_protocol()
    assert joint_training_table.joint_training_table().count("\n") == (2 if alone else 3)
    assert "lambda 1 |" in joint_training_table.dropped_table() or alone
