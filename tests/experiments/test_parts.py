"""Parts of an evaluation: kept whole, found again, and never where something else was evaluated."""

import json
import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from motet.data import Dataset, DataSpec, ImageFiles, Split
from motet.experiments import Run
from motet.experiments.parts import PARTS, Parts, base_of, digest_of_data, digest_of_rows, stamp
from motet.experiments.records import Cost, Hardware, RunRecord, Scores

BASE: dict[str, Any] = {"weights": "a", "settings": {"seed": 0, "first": ("x",)}}


def test_found_again_as_it_was(tmp_path: Path) -> None:
    found = {"nll": math.inf, "ece": 0.1 + 0.2, "risk": [0.0, math.nan], "rows": 3}
    Parts(tmp_path, BASE).keep(found, shift="images", severity=3)
    again = Parts(tmp_path, BASE).find(shift="images", severity=3)
    assert repr(again) == repr(found)
    assert Parts(tmp_path, BASE).find(shift="images", severity=4) is None
    assert [path.suffix for path in (tmp_path / PARTS).iterdir()] == [".json"]


@pytest.mark.parametrize("name", ["weights", "settings", "more"])
def test_what_depends_on_something_else_is_not_found(tmp_path: Path, name: str) -> None:
    Parts(tmp_path, BASE).keep(1, severity=1)
    assert Parts(tmp_path, BASE | {name: "b"}).find(severity=1) is None


def test_damaged_and_foreign_files_are_not_found(tmp_path: Path) -> None:
    parts = Parts(tmp_path, BASE)
    parts.keep(1, severity=1)
    (file,) = (tmp_path / PARTS).iterdir()
    for content in ("", "{", "[]", "3", json.dumps({"key": {}, "found": 2}), file.read_text()[:-5]):
        file.write_text(content)
        assert parts.find(severity=1) is None
    parts.keep(1, severity=1)
    assert parts.find(severity=1) == 1


def test_cleared_is_what_was_asked_for_and_what_nothing_can_use(tmp_path: Path) -> None:
    Parts(tmp_path, BASE | {"weights": "old"}).keep(1, severity=1)
    Parts(tmp_path, BASE).keep(1, corruption="another evaluation")
    (tmp_path / PARTS / "x.json").write_text("{")
    (tmp_path / PARTS / ".y.json.0123.part").mkdir()
    mine = Parts(tmp_path, BASE)
    mine.keep(1, severity=1)
    mine.clear()
    assert mine.find(severity=1) is None
    assert mine.find(corruption="another evaluation") == 1
    assert len(list((tmp_path / PARTS).iterdir())) == 1
    mine.clear()
    assert not (tmp_path / PARTS).exists()
    mine.clear()  # nothing there


def split(rows: int = 3, **changes: int) -> Split:
    inputs = torch.arange(rows * 48, dtype=torch.uint8).reshape(rows, 3, 4, 4)
    inputs[0, 0, 0, 0] = changes.get("pixel", 0)
    targets = torch.arange(rows)
    targets[0] = changes.get("label", 0)
    return Split(inputs=inputs, targets=targets)


def test_digests_tell_data_apart(tmp_path: Path) -> None:
    spec = DataSpec(name="d", input_shape=(3, 4, 4), outputs=5, task="classification")
    dataset = Dataset(spec=spec, train=split(), validation=split(), test=split())
    whole = digest_of_data(dataset)
    assert whole == digest_of_data(Dataset(spec=spec, train=split(4), validation=split(), test=split()))
    for other in (
        replace(dataset, test=split(pixel=1)),
        replace(dataset, test=split(label=1)),
        replace(dataset, test=split(4)),
        replace(dataset, spec=replace(spec, mean=(0.5,))),
    ):
        assert digest_of_data(other) != whole
    table = DataSpec(name="t", input_shape=(2,), outputs=1, task="regression")
    rows = Split(inputs=torch.ones(3, 2), targets=torch.ones(3, 1))
    far = Split(inputs=torch.zeros(3, 2), targets=torch.ones(3, 1))
    assert digest_of_data(Dataset(spec=table, train=rows, validation=rows, test=rows)) != digest_of_data(
        Dataset(spec=table, train=far, validation=rows, test=rows)
    )
    file = tmp_path / "a.png"
    file.write_bytes(b"12")
    files = Split(inputs=ImageFiles([file], size=4, channels=3), targets=torch.zeros(1))
    before = digest_of_rows(files)
    assert digest_of_rows(files) == before
    file.write_bytes(b"123")
    assert digest_of_rows(files) != before


def test_a_file_of_the_same_size_and_time_is_another(tmp_path: Path) -> None:
    file = tmp_path / "fog.npy"
    file.write_bytes(b"one")
    before, times = stamp(file), (file.stat().st_atime_ns, file.stat().st_mtime_ns)
    new = tmp_path / "new"
    new.write_bytes(b"two")
    new.replace(file)
    os.utime(file, ns=times)
    assert stamp(file) != before


def test_other_weights_are_another_base(tmp_path: Path) -> None:
    (tmp_path / "checkpoint").mkdir()
    file = tmp_path / "checkpoint" / "last.safetensors"
    file.write_bytes(b"weights")
    hardware = Hardware(device="cpu", processor="", cores=None, threads=1, system="", torch="")
    record = RunRecord(
        settings={"seed": 1},
        created="",
        commit=None,
        versions={},
        hardware=hardware,
        precision=None,
        data=None,
        likelihood=None,
        source=(),
    )
    cost = Cost(parameters=1, flops=1, train_seconds=0.0)
    run = Run(tmp_path, record, Scores(test={}, test_members={}, validation={}, cost=cost, epochs=0))
    base = base_of(run, "data", torch.device("cpu"))
    assert base == base_of(run, "data", torch.device("cpu"))
    assert {"motet", "code", "torch", "device"} <= base.keys()
    file.write_bytes(b"Weights")
    assert base_of(run, "data", torch.device("cpu")) != base
