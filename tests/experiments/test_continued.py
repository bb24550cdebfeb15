"""What ran when, and what is not mixed."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import motet
from motet import InputError, fit
from motet.data import load
from motet.errors import RunInterrupted
from motet.experiments import Plan, compare, evaluate, evaluate_part, load_run, run_experiment
from motet.experiments.build import build
from motet.experiments.run import RUN
from motet.methods import Multihead, Single
from motet.models import MLP
from motet.report import render
from motet.training import Training

Make = Callable[..., Any]


def change(path: Path, **fields: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def versions(path: Path, **new: str) -> dict[str, str]:
    return json.loads(path.read_text())["versions"] | new


@pytest.fixture
def stopped(experiment: Make, tmp_path: Path, at_step: Callable[..., Any]) -> Path:
    """The folder of a run that was stopped in its second epoch."""
    with at_step(6), pytest.raises(RunInterrupted):
        run_experiment(experiment(), tmp_path / "run", progress=False)
    return tmp_path / "run"


def test_a_continuation_is_recorded(stopped: Path, experiment: Make) -> None:
    change(stopped / RUN, commit="0123456789ab", versions=versions(stopped / RUN, torch="1.0", motet="0.1.999"))
    said: list[str] = []
    run = run_experiment(experiment(), stopped, say=said.append, progress=False)
    (part,) = run.record.continued
    assert part.versions["motet"] == motet.__version__
    assert run.record.versions["motet"] == "0.1.999", "as it was begun"
    assert run.record.commit == "0123456789ab"
    assert part.commit != "0123456789ab"
    assert part.after_epoch == 1
    note = next(line for line in said if line.startswith("note: from epoch"))
    assert "instead of 1.0" in note
    assert "instead of 0.1.999" in note
    assert load_run(stopped) == run


def test_a_continuation_with_nothing_new_is_recorded_without_a_note(stopped: Path, experiment: Make) -> None:
    said: list[str] = []
    run = run_experiment(experiment(), stopped, say=said.append, progress=False)
    assert len(run.record.continued) == 1
    assert not any(line.startswith("note: from epoch") for line in said)


@pytest.mark.parametrize("version", ["0.0.1", "1.0.0", "0.2.0"])
def test_another_minor_version_does_not_continue_a_run(stopped: Path, experiment: Make, version: str) -> None:
    change(stopped / RUN, versions=versions(stopped / RUN, motet=version))
    before = (stopped / RUN).read_bytes()
    with pytest.raises(InputError, match=rf"begun with motet {version}.*install motet=={version}"):
        run_experiment(experiment(), stopped, progress=False)
    assert (stopped / RUN).read_bytes() == before


def test_what_trained_nothing_is_begun_again_by_any_version(stopped: Path, experiment: Make) -> None:
    (stopped / "checkpoint" / "last.safetensors").unlink()
    change(stopped / RUN, versions=versions(stopped / RUN, motet="0.0.1"))
    run = run_experiment(experiment(), stopped, progress=False)
    assert run.record.versions["motet"] == motet.__version__
    assert run.record.continued is None


PLAN = Plan(
    data="digits",
    model=MLP(hidden=(8,)),
    methods=(Single(), Multihead(members=2)),
    training=Training(epochs=1, batch_size=512),
    seeds=(0,),
)


@pytest.fixture
def half_compared(tmp_path: Path, quick_latency: None) -> Path:
    """A comparison whose second run is missing."""
    folder = tmp_path / "out"
    compare(PLAN, folder, command="", progress=False)
    record = json.loads((folder / "compare.json").read_text())
    started = {name: record[name] for name in ("schema_version", "settings", "source", "data")} | {"rows": None}
    (folder / "compare.json").write_text(json.dumps(started))
    for path in sorted((folder / "multihead-seed0").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    return folder


def test_a_comparison_says_what_was_trained_otherwise(half_compared: Path) -> None:
    run = half_compared / "single-seed0" / RUN
    change(run, commit="0123456789ab", versions=versions(run, torch="1.0"))
    record = compare(PLAN, half_compared, command="", progress=False)
    (text,) = record.other_versions
    assert text.startswith("single-seed0: torch 1.0 instead of ")
    assert "commit 0123456789ab instead of" in text
    page = render(record)
    assert "single-seed0: torch 1.0 instead of" in page


def test_a_comparison_does_not_mix_minor_versions(half_compared: Path) -> None:
    run = half_compared / "single-seed0" / RUN
    change(run, versions=versions(run, motet="0.0.1"))
    with pytest.raises(InputError, match=r"single-seed0, begun with motet 0\.0\.1"):
        compare(PLAN, half_compared, command="", progress=False)
    assert not (half_compared / "multihead-seed0" / "scores.json").exists()


def test_an_evaluation_says_which_results_are_of_another_version(experiment: Make, tmp_path: Path) -> None:
    run = run_experiment(experiment(Multihead(members=2)), tmp_path, progress=False)
    evaluate(run)
    evaluate_part(run, members=1)
    change(tmp_path / "evaluation.json", motet="0.0.9")
    found = evaluate(run)
    assert found.motet == motet.__version__
    assert found.older == {"part": "0.0.9"}
    assert evaluate_part(run, members=1).older is None


HOLD = """
import sys
from pathlib import Path
from motet._internal.folder_lock import only_process_in
with only_process_in(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.mark.parametrize("work", ["run", "compare", "evaluate", "fit"])
def test_a_folder_that_another_process_is_using(
    experiment: Make, tmp_path: Path, work: str, quick_latency: None
) -> None:
    folder = tmp_path / "out"
    done = run_experiment(experiment(), folder, progress=False) if work == "evaluate" else None
    works = {
        "run": lambda: run_experiment(experiment(), folder, progress=False),
        "compare": lambda: compare(PLAN, folder, command="", progress=False),
        "evaluate": lambda: evaluate(done),
        "fit": lambda: fit(build(experiment(), load("digits")), load("digits"), folder=folder, progress=False),
    }
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(InputError, match="only one process at a time"):
            works[work]()
        holder.communicate("\n")
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
