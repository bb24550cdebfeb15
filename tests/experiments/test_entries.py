"""Rows of a comparison: narrower and wider models, and methods that do not fit."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from motet import MIMO, DeepEnsemble, InputError, Single, Training
from motet.experiments import Entry, Plan, compare, make_plan
from motet.experiments.records import Comparison, LeftOut
from motet.methods import METHODS
from motet.models import MLP, CustomModel
from motet.report import render
from motet.report.record import read_comparison

QUICK = Training(epochs=1, batch_size=512, learning_rate=0.1)
NO_BODY = "from torch import nn\ndef net():\n    return nn.Sequential(nn.Flatten(), nn.Linear(64, 10))\n"
OWN = """
from torch import nn
def net(num_classes, width=8):
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, num_classes))
"""


def plan_of(*methods: Any, **changes: Any) -> Plan:
    settings: dict[str, Any] = {"data": "digits", "model": MLP(hidden=(8,)), "training": QUICK, "seeds": (0,)}
    return Plan(**(settings | {"methods": methods} | changes))


def run(plan: Plan, folder: Path, said: list[str] | None = None) -> Comparison:
    say = (lambda _: None) if said is None else said.append
    return compare(plan, folder, command="motet compare digits", progress=False, say=say)


@pytest.mark.parametrize(
    ("names", "keys"),
    [
        (["deep-ensemble@0.5"], ["deep-ensemble@0.5"]),
        (["Deep_Ensemble@.50"], ["deep-ensemble@0.5"]),
        (["single,mimo@2", "mimo"], ["single", "mimo@2", "mimo"]),
        (["mimo@1", "mimo@1.0", "mimo"], ["mimo"]),
        (["mimo@0.5", "mimo@0.500"], ["mimo@0.5"]),
        (["all", "single@0.5"], [*METHODS, "single@0.5"]),
        (["all@0.5"], [f"{name}@0.5" for name in METHODS]),
    ],
    ids=str,
)
def test_rows_by_name_and_width(names: list[str], keys: list[str]) -> None:
    assert [entry.key for entry in make_plan("digits", methods=names, model="mlp").entries] == keys


@pytest.mark.parametrize("names", [["all", "mimo"], ["mimo", "all"], ["mimo,all"]], ids=str)
def test_only_what_is_named_must_be_there(names: list[str]) -> None:
    entries = make_plan("digits", methods=names, model="mlp").entries
    assert [entry.key for entry in entries if entry.required] == ["mimo"]
    assert {entry.key for entry in entries} == set(METHODS)


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("mimo@", "width factor must be a number above 0, but got 'mimo@'"),
        ("mimo@half", "but got 'mimo@half'. Write deep-ensemble@0.5"),
        ("mimo@0", "above 0, but got 0. Write mimo@0.5"),
        ("mimo@-1", "above 0, but got -1"),
        ("mimo@nan", "above 0, but got nan"),
        ("mimo@inf", "above 0, but got inf"),
        ("mimo@0.5@0.5", "but got 'mimo@0.5@0.5'"),
        ("mino@0.5", "but got 'mino'. Did you mean 'mimo'"),
        ("@0.5", "must be one that motet has, but got ''"),
        ("mimo@0.3", "hidden=128 times 0.3, which is 38.4. Pass 0.296875 for hidden=38"),
        ("all@0.001", "Pass 0.0078125 for hidden=1"),
    ],
)
def test_widths_that_cannot_be(name: str, part: str) -> None:
    with pytest.raises(InputError) as error:
        make_plan("digits", methods=[name], model="mlp")
    assert part in str(error.value)


def test_an_entry_has_a_label_and_a_folder_that_every_file_system_takes() -> None:
    thin = Entry(method=DeepEnsemble(), width=0.5)
    assert (thin.label, thin.folder(3)) == (
        "Deep ensemble, width \N{MULTIPLICATION SIGN}0.5",
        "deep-ensemble-x0.5-seed3",
    )
    whole = Entry(method=DeepEnsemble())
    assert (whole.key, whole.label, whole.folder(0)) == ("deep-ensemble", "Deep ensemble", "deep-ensemble-seed0")
    for width in (1 / 3, 1e-7, 1e7, 2.0):
        assert set(Entry(method=MIMO(), width=width).folder(0)) <= set("abcdefghijklmnopqrstuvwxyz0123456789-.+")


def test_the_same_row_twice_is_refused() -> None:
    with pytest.raises(InputError, match="mimo twice"):
        plan_of(MIMO(members=2), MIMO(members=3))
    plan_of(MIMO(members=2), Entry(method=MIMO(members=2), width=0.5))


@pytest.mark.usefixtures("quick_latency")
@pytest.mark.slow
def test_thin_and_wide_rows_in_the_record_and_the_report(tmp_path: Path) -> None:
    plan = plan_of(
        Single(),
        DeepEnsemble(members=2),
        Entry(method=DeepEnsemble(members=2), width=0.5),
        Entry(method=Single(), width=2.0),
    )
    record = run(plan, tmp_path)
    rows = record.rows
    assert [row.key for row in rows] == ["single", "deep-ensemble", "deep-ensemble@0.5", "single@2"]
    assert [row.method for row in rows] == ["single", "deep-ensemble", "deep-ensemble", "single"]
    assert [row.model for row in rows] == [f"MLP(hidden=({width},))" for width in (8, 8, 4, 16)]
    assert [row.cost.parameters for row in rows] == [
        65 * 8 + 90,
        2 * (65 * 8 + 90),
        2 * (65 * 4 + 50),
        65 * 16 + 170,
    ]
    assert [row.runs for row in rows] == [
        ("single-seed0",), ("deep-ensemble-seed0",), ("deep-ensemble-x0.5-seed0",), ("single-x2-seed0",)
    ]  # fmt: skip
    assert rows[0].cost.latency_ratio == 1.0
    settings = json.loads((tmp_path / "deep-ensemble-x0.5-seed0" / "run.json").read_text())["settings"]
    assert settings["model"] == {"type": "MLP", "hidden": [4]}
    left_out = (LeftOut(method="mimo", label="MIMO", reason="it needs a <body>, but got none."),)
    page = render(replace(record, left_out=left_out))
    assert "MIMO was left out: it needs a &lt;body&gt;, but got none." in page
    for text in (
        "Deep ensemble, width \N{MULTIPLICATION SIGN}0.5",
        "Single network, width \N{MULTIPLICATION SIGN}2",
        "MLP(hidden=(4,))",
        "“Width” is the width of a row\N{RIGHT SINGLE QUOTATION MARK}s model",
    ):
        assert text in page
    assert run(plan, tmp_path) == record


@pytest.mark.usefixtures("quick_latency")
def test_a_thin_single_network_is_not_what_others_are_measured_against(tmp_path: Path) -> None:
    record = run(plan_of(Entry(method=Single(), width=0.5), DeepEnsemble(members=2)), tmp_path)
    assert all(row.cost.latency_ratio > 0 for row in record.rows)
    assert read_comparison(record).single is None


@pytest.mark.usefixtures("quick_latency")
@pytest.mark.slow
def test_own_models_take_a_width(tmp_path: Path) -> None:
    (tmp_path / "own_width.py").write_text(OWN)
    model = CustomModel(function=f"{tmp_path}/own_width.py:net")
    record = run(plan_of(Single(), Entry(method=Single(), width=0.25), model=model), tmp_path / "run")
    assert [row.cost.parameters for row in record.rows] == [65 * 8 + 90, 65 * 2 + 30]
    (tmp_path / "no_width.py").write_text(NO_BODY)
    with pytest.raises(InputError, match="must have an argument width"):
        run(
            plan_of(Entry(method=Single(), width=0.5), model=CustomModel(function=f"{tmp_path}/no_width.py:net")),
            tmp_path / "x",
        )
    assert not (tmp_path / "x").exists()


@pytest.mark.usefixtures("quick_latency")
def test_what_nobody_named_and_does_not_fit_is_left_out_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "bodiless.py").write_text(NO_BODY)
    model = CustomModel(function=f"{tmp_path}/bodiless.py:net")
    said: list[str] = []
    plan = plan_of(Single(), Entry(method=MIMO(members=2), required=False), model=model)
    record = run(plan, tmp_path / "run", said)
    assert [row.key for row in record.rows] == ["single"]
    (left_out,) = record.left_out
    assert (left_out.method, left_out.label) == ("mimo", "MIMO")
    assert left_out.reason.startswith("MIMO needs a body")
    assert said[0] == f"MIMO is left out: {left_out.reason}"
    assert said[1].startswith("[1/1] Single network, seed 0: trained")
    assert not (tmp_path / "run" / "mimo-seed0").exists()
    assert read_comparison(record).left_out == (left_out,)
    assert run(plan, tmp_path / "run") == record
    # The same settings, but MIMO named: neither trained nor answered with a table without it.
    with pytest.raises(InputError, match="MIMO, which was left out: MIMO needs a body"):
        run(plan_of(Single(), MIMO(members=2), model=model), tmp_path / "run")


def test_where_nothing_fits_it_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "bodiless2.py").write_text(NO_BODY)
    model = CustomModel(function=f"{tmp_path}/bodiless2.py:net")
    with pytest.raises(
        InputError, match=r"at least one method must support the model and the data.*MIMO: MIMO needs a body"
    ):
        run(plan_of(Entry(method=MIMO(), required=False), model=model), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_mistyped_layer_is_an_error_and_leaves_nothing_out(tmp_path: Path) -> None:
    entries = (Entry(method=Single(), required=False), Entry(method=MIMO(), required=False))
    with pytest.raises(InputError, match=r"first must name a layer of the model, but got first='9'.*Known: 0, 1"):
        run(plan_of(*entries, first=("9",)), tmp_path / "run")
    with pytest.raises(InputError, match="last must name a layer"):
        run(plan_of(*entries, last=("nolayer",)), tmp_path / "run")


def test_records_from_before_there_were_widths_can_be_read() -> None:
    root = Path(__file__).parents[2]
    record = json.loads((root / "results" / "demo" / "compare.json").read_text())
    for row in record["rows"]:
        for new in ("key", "width", "model"):
            row.pop(new, None)
    for new in ("left_out", "schema_version"):
        record.pop(new, None)
    read = read_comparison(record)
    assert read.single is read.rows[0]
    assert {row.width for row in read.rows} == {1.0}
    assert read.left_out == ()
