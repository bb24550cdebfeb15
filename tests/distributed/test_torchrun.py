"""``torchrun`` itself: a rank is killed, all are started again, and the run ends as if nothing had happened."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from motet import Experiment, ModularNetwork, Training
from motet.cli.main import main
from motet.experiments import evaluate, find_run, load_run, run_experiment
from motet.experiments.records import Ranks
from motet.models import MLP
from motet.training import read_history

pytestmark = pytest.mark.long

RECIPE = """
from motet import Experiment, ModularNetwork, Training
from motet.models import MLP

def small():
    return Experiment(
        data="digits", model=MLP(hidden=(8,)), method=ModularNetwork(members=5, lam=0.9),
        training=Training(epochs=4, batch_size=128, learning_rate=0.5),
    )
"""
SMALL = Experiment(
    data="digits",
    model=MLP(hidden=(8,)),
    method=ModularNetwork(members=5, lam=0.9),
    training=Training(epochs=4, batch_size=128, learning_rate=0.5),
)


def test_a_run_whose_rank_is_killed_starts_again_by_itself(torchrun: Any, tmp_path: Path) -> None:
    (tmp_path / "my.py").write_text(RECIPE, encoding="utf-8")
    mortal = Path(__file__).with_name("mortal.py")
    command = torchrun(2, "--max-restarts=1", str(mortal), "run", "my.py:small", "--out", "run", "--json")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("motet: ")]
    assert len(said) == 1, "the survivors say it once"
    assert said[0].startswith("motet: rank 1 (process ")
    assert " died. Continue from the last checkpoint with: torchrun --nproc-per-node=2 " in said[0]
    assert "continuing from the checkpoint in run" in done.stderr
    sent = "sent: 10,240 bytes per step between 2 processes; data-parallel training would send 24,400"
    assert done.stderr.count(sent) == 1
    run, alone = load_run(tmp_path / "run"), run_experiment(SMALL, tmp_path / "alone", progress=False)
    assert run is not None
    assert json.loads(done.stdout)["test"] == run.scores.test, "rank 0 alone prints the result"
    assert run.record.settings == alone.record.settings
    assert run.record.ranks == Ranks(members=2, data=1)
    assert run.scores.test == pytest.approx(alone.scores.test, abs=1e-4)
    assert run.scores.test_members.keys() == alone.scores.test_members.keys()
    for name in ("parameters", "flops"):
        assert getattr(run.scores.cost, name) == getattr(alone.scores.cost, name)
    assert run.scores.communication.bytes_per_step == 2 * 128 * 10 * 4
    assert alone.scores.communication is None
    assert "communication" not in json.loads((alone.folder / "scores.json").read_text())
    for mine, theirs in zip(read_history(run.folder / "history.csv"), alone.history, strict=True):
        assert {**mine, "seconds": 0} == pytest.approx({**theirs, "seconds": 0}, abs=1e-4)
    # One process evaluates what two have trained.
    scores = evaluate(find_run(tmp_path / "run")).ensemble.scores
    assert scores["nll"] == pytest.approx(run.scores.test["nll"], abs=1e-5)


def test_without_torchrun_ranks_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "my.py").write_text(RECIPE, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert main(["run", "my.py:small", "--out", "run", "--member-ranks", "2"]) == 2
    assert (
        "member_ranks=2 and data_ranks=1 with 1 processes. Start 2 processes with torchrun" in capsys.readouterr().err
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("name", "value"), [("RANK", "2"), ("RANK", "one"), ("MASTER_PORT", "here")])
def test_an_environment_that_makes_no_sense_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    from motet import InputError
    from motet.distributed import current_launch

    environment = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    for key, text in (environment | {name: value}).items():
        monkeypatch.setenv(key, text)
    with pytest.raises(InputError, match="must be the numbers that torchrun sets"):
        current_launch()
