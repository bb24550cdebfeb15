"""A folder with a run on data that was changed since is not gone on with, and not passed off as the new data's."""

import json
from pathlib import Path
from typing import Any

import pytest

from motet.data import DataOptions
from motet.errors import InputError
from motet.experiments import compare, default_folder, make_plan, run_experiment
from motet.models import MLP
from motet.training import Training

CHANGED = r"contain a run on the same data, but got a run with an earlier version of the files of mine.*--out"


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    path = tmp_path / "mine.csv"
    path.write_text("a,b,y\n" + "".join(f"{row % 7},{row % 5},{row / 3}\n" for row in range(60)))
    return path


def change(path: Path) -> None:
    path.write_text(path.read_text().replace("6,1,", "6,2,"))


def plan_for(path: Path) -> Any:
    return make_plan(
        str(path),
        methods=("single",),
        model="mlp",
        epochs=1,
        batch_size=8,
        seeds=1,
        data_options=DataOptions(target="y"),
    )


def test_a_finished_or_interrupted_run(tmp_path: Path, mine: Path, experiment: Any) -> None:
    settings = experiment(
        data=str(mine),
        model=MLP(hidden=(4,)),
        data_options=DataOptions(target="y"),
        training=Training(epochs=1, batch_size=8),
    )
    folder = tmp_path / "run"
    done = run_experiment(settings, folder, progress=False)
    assert done.record.data.fingerprint.startswith("sha256:")
    assert run_experiment(settings, folder, progress=False).scores == done.scores
    original = mine.read_text()
    change(mine)
    with pytest.raises(InputError, match=CHANGED):
        run_experiment(settings, folder, progress=False)
    (folder / "scores.json").unlink()  # as if it had been stopped before
    with pytest.raises(InputError, match=CHANGED):
        run_experiment(settings, folder, progress=False)
    mine.write_text(original)
    assert run_experiment(settings, folder, progress=False).scores.test == done.scores.test
    mine.unlink()
    assert run_experiment(settings, folder, progress=False).scores.test == done.scores.test, "needs no data"


def test_records_of_older_versions_have_no_fingerprint(tmp_path: Path, mine: Path, experiment: Any) -> None:
    settings = experiment(
        data=str(mine), data_options=DataOptions(target="y"), training=Training(epochs=1, batch_size=8)
    )
    folder = tmp_path / "run"
    done = run_experiment(settings, folder, progress=False)
    record = json.loads((folder / "run.json").read_text())
    del record["data"]["fingerprint"], record["schema_version"]
    (folder / "run.json").write_text(json.dumps(record))
    change(mine)
    assert run_experiment(settings, folder, progress=False).scores == done.scores


@pytest.mark.usefixtures("quick_latency")
def test_a_comparison(tmp_path: Path, mine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    plan = plan_for(mine)
    first = default_folder(plan)
    compare(plan, first, command="", progress=False)
    held = json.loads((first / "compare.json").read_text())
    assert held["data"]["fingerprint"].startswith("sha256:")
    assert default_folder(plan) == first, "the same command finds its runs again"
    change(mine)
    with pytest.raises(InputError, match=CHANGED):
        compare(plan, first, command="", progress=False)
    assert default_folder(plan) == first.with_name(first.name + "-2")
    (first / "compare.json").write_text(json.dumps(held | {"rows": None}))  # as if it had been stopped before
    with pytest.raises(InputError, match=CHANGED):
        compare(plan, first, command="", progress=False)
