"""Methods side by side: one protocol, resumed where it was stopped, and nothing trained twice."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest

from motet import MIMO, InputError, Single, Training
from motet._internal.typed_records import record_json
from motet.errors import RunInterrupted, TrainingDivergedError
from motet.experiments import Plan, compare, make_plan, run_experiment
from motet.experiments.records import Comparison
from motet.models import MLP, CustomModel

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("quick_latency")]
QUICK = Training(epochs=2, batch_size=256, learning_rate=0.1)


def small_plan(*, seeds: int = 1, **changes: Any) -> Plan:
    settings: dict[str, Any] = {
        "data": "digits",
        "model": MLP(hidden=(8,)),
        "methods": (Single(), MIMO(members=2, batch_repetition=1)),
        "training": QUICK,
        "seeds": tuple(range(seeds)),
    }
    return Plan(**(settings | changes))


def run(plan: Plan, folder: Path, say: Callable[[str], None] = lambda _: None) -> Comparison:
    return compare(plan, folder, command="motet compare digits", progress=False, say=say)


def test_plans_take_the_data_sets_defaults_and_what_the_user_says() -> None:
    plan = make_plan("digits", methods=["single,mimo", "SINGLE"], members=4, model="mlp", epochs=3, seeds=2)
    assert [entry.method.name for entry in plan.entries] == ["single", "mimo"]
    assert plan.entries[1].method.members == 4
    assert plan.model == MLP()
    assert plan.training.epochs == 3
    assert plan.seeds == (0, 1)
    assert list(plan.experiments()) == ["single-seed0", "single-seed1", "mimo-seed0", "mimo-seed1"]
    assert {settings.training for settings in plan.experiments().values()} == {plan.training}
    assert make_plan("digits", model="a/b.py:net").model == CustomModel(function="a/b.py:net")
    everything = make_plan("digits", methods=["all", "mimo"])
    assert len(everything.methods) == len({entry.method.name for entry in everything.entries}) >= 4


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"data": "digit"}, "Did you mean 'digits'"),
        ({"data": "no/such/folder"}, "must exist, but got no/such/folder"),
        ({"methods": ["mino"]}, "Did you mean 'mimo'"),
        ({"methods": ["deep_ensembl"]}, "Did you mean 'deep-ensemble'"),
        ({"methods": []}, "at least one method"),
        ({"methods": [","]}, "at least one method"),
        ({"model": "wrn"}, "Did you mean 'wrn-28-10'"),
        ({"model": "my.py"}, "module:function"),
        ({"seeds": 0}, "seeds=0"),
        ({"seeds": -1}, "seeds=-1"),
        ({"epochs": 0}, "epochs=0"),
        ({"members": 0}, "members=0"),
        ({"members": -2, "methods": ["single"]}, "members=-2"),
    ],
)
def test_plans_that_cannot_be(changes: dict[str, Any], part: str) -> None:
    with pytest.raises(InputError, match=part):
        make_plan(**({"data": "digits"} | changes))


def test_a_record_and_a_folder_for_each_run(tmp_path: Path) -> None:
    plan = small_plan(seeds=2)
    said: list[str] = []
    record = run(plan, tmp_path, said.append)
    content = json.loads((tmp_path / "compare.json").read_text())
    assert json.loads(record_json(record)) == content
    assert [row.method for row in record.rows] == ["single", "mimo"]
    assert [line.partition(": trained")[0] for line in said] == [
        "[1/4] Single network, seed 0",
        "[2/4] Single network, seed 1",
        "[3/4] MIMO, seed 0",
        "[4/4] MIMO, seed 1",
    ]
    for row in content["rows"]:
        scores = [json.loads((tmp_path / name / "scores.json").read_text())["test"] for name in row["runs"]]
        for key, value in row["scores"].items():
            own = [score[key] for score in scores]
            if None in own:
                assert value == {"mean": None, "standard_error": None}
            else:
                assert value["mean"] == pytest.approx(fmean(own))
                assert value["standard_error"] == pytest.approx(stdev(own) / math.sqrt(2))
    assert record.seeds == (0, 1)
    assert record.command == "motet compare digits"
    assert record.settings.keys() == plan.experiments().keys()
    assert {"versions", "hardware", "commit", "created", "source"} <= content.keys()


def test_one_seed_has_no_standard_error(tmp_path: Path) -> None:
    record = run(small_plan(), tmp_path)
    assert math.isnan(record.rows[0].scores["accuracy"].standard_error)
    content = json.loads((tmp_path / "compare.json").read_text())
    assert content["rows"][0]["scores"]["accuracy"]["standard_error"] is None


def test_each_run_is_what_it_would_be_alone(tmp_path: Path) -> None:
    plan = small_plan()
    run(plan, tmp_path / "together")
    alone = run_experiment(plan.experiments()["mimo-seed0"], tmp_path / "alone")
    together = json.loads((tmp_path / "together" / "mimo-seed0" / "scores.json").read_text())
    assert together["test"] == alone.scores.test
    assert together["validation"] == alone.scores.validation


def test_a_finished_comparison_is_read_and_not_trained(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    record = run(small_plan(), tmp_path)
    request.getfixturevalue("no_training")
    said: list[str] = []
    assert run(small_plan(), tmp_path, said.append) == record
    assert said == [f"{tmp_path} is already finished; nothing to train"]


def test_an_interrupted_comparison_goes_on(tmp_path: Path, at_step: Any, request: pytest.FixtureRequest) -> None:
    """Stopped in the second of two runs: the first is kept, the second goes on from its checkpoint."""
    expected = run(small_plan(), tmp_path / "whole")
    folder = tmp_path / "run"
    with at_step(8 + 6), pytest.raises(RunInterrupted, match="mimo-seed0"):
        run(small_plan(), folder)
    assert json.loads((folder / "compare.json").read_text())["rows"] is None
    kept = (folder / "single-seed0" / "scores.json").stat().st_mtime_ns
    said: list[str] = []
    record = run(small_plan(), folder, said.append)
    assert said[0].startswith("[1/2] Single network, seed 0: kept; it was trained in ")
    assert said[1] == "[2/2] MIMO, seed 0: continuing from its checkpoint"
    assert (folder / "single-seed0" / "scores.json").stat().st_mtime_ns == kept
    assert [row.scores for row in record.rows] == [row.scores for row in expected.rows]


def test_ctrl_c_in_a_runs_last_step_stops_the_comparison(tmp_path: Path, at_step: Any) -> None:
    """It is not enough that this run was done anyway: the next one must not begin."""
    with at_step(8), pytest.raises(RunInterrupted, match="after step 8 of 8"):
        run(small_plan(), tmp_path)
    assert not (tmp_path / "mimo-seed0").exists()
    assert len(run(small_plan(), tmp_path).rows) == 2


def test_the_order_of_the_methods_makes_no_other_comparison(tmp_path: Path) -> None:
    run(small_plan(), tmp_path)
    assert len(run(small_plan(methods=small_plan().methods[::-1]), tmp_path).rows) == 2


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"training": replace(QUICK, epochs=3)}, r"single-seed0\.training\.epochs=2 where this one has 3"),
        ({"methods": (Single(),)}, "with mimo-seed0, which this one does not have"),
        ({"seeds": 2}, "without single-seed1"),
    ],
)
def test_another_comparison_is_left_alone(tmp_path: Path, changes: dict[str, Any], part: str) -> None:
    (tmp_path / "compare.json").write_text(
        json.dumps({"settings": {name: e.to_record() for name, e in small_plan().experiments().items()}, "rows": None})
    )
    before = (tmp_path / "compare.json").read_bytes()
    with pytest.raises(InputError, match=f"must be empty, or contain the same run.*{part}"):
        run(small_plan(**changes), tmp_path)
    assert (tmp_path / "compare.json").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "{}", '{"rows": []}'])
def test_a_damaged_record(tmp_path: Path, content: str) -> None:
    (tmp_path / "compare.json").write_text(content)
    with pytest.raises(InputError, match="Choose another folder with --out, or move this one away"):
        run(small_plan(), tmp_path)
    assert (tmp_path / "compare.json").read_text() == content


def test_a_damaged_run_within(tmp_path: Path) -> None:
    run(small_plan(), tmp_path)
    record = json.loads((tmp_path / "compare.json").read_text())
    (tmp_path / "compare.json").write_text(json.dumps(record | {"rows": None}))
    for name, damage in (
        ("predictions.safetensors", b"x"),
        ("history.csv", b"a,b\n1,x\n"),
        ("checkpoint/last.safetensors", b""),
        ("scores.json", b"{"),
        ("run.json", b""),
    ):
        path = tmp_path / "mimo-seed0" / name
        before = path.read_bytes()
        path.write_bytes(damage)
        with pytest.raises(InputError, match=path.name.replace(".", r"\.")):
            run(small_plan(), tmp_path)
        path.write_bytes(before)
    assert len(run(small_plan(), tmp_path).rows) == 2


NO_BODY = "from torch import nn\ndef net():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"


def test_what_one_method_cannot_do_is_found_before_any_is_trained(tmp_path: Path) -> None:
    (tmp_path / "no_body.py").write_text(NO_BODY)
    model = CustomModel(function=f"{tmp_path}/no_body.py:net")
    with pytest.raises(InputError, match="MIMO needs a body"):
        run(small_plan(model=model), tmp_path / "run")
    assert not (tmp_path / "run").exists()
    record = run(small_plan(model=model, methods=(Single(),)), tmp_path / "run")
    assert record.source[0].text == NO_BODY
    (tmp_path / "no_body.py").write_text(NO_BODY + "\n")
    with pytest.raises(InputError, match=r"an earlier version of no_body\.py"):
        run(small_plan(model=model, methods=(Single(),)), tmp_path / "run")


def test_divergence_of_the_first_method_gives_the_folder_back(tmp_path: Path) -> None:
    bad = replace(QUICK, learning_rate=1e30, schedule="constant", batch_size=64)
    with pytest.raises(TrainingDivergedError, match=r"\[1/2\] Single network, seed 0: the loss became .* none yet"):
        run(small_plan(training=bad), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("change", [{"batch_size": 5000}, {"precision": "16-mixed"}])
def test_settings_that_do_not_fit_the_data_or_device(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(InputError):
        run(small_plan(training=replace(QUICK, **change)), tmp_path / "run")
    assert not (tmp_path / "run").exists()
