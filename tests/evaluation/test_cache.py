"""Results of an unfinished evaluation: kept whole, found again, and never where something else was evaluated."""

import json
import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from motet import MIMO
from motet.data import Dataset, DataSpec, ImageFiles, Split
from motet.evaluation.cache import EvaluationCache, digest_of_data, digest_of_rows, file_stamp
from motet.evaluation.records import OODResult, OODScores
from motet.evaluation.shift_records import ShiftResult, ShiftRow

BASE: dict[str, Any] = {"weights": "a", "settings": {"seed": 0, "first": ("x",)}}


def result(rows: int = 1) -> ShiftResult:
    return ShiftResult(row=ShiftRow(corruption="fog", severity=1, rows=rows, rmse=0.5))


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> Path:
    return tmp_path / "evaluation-parts"


def test_found_again_as_it_was(folder: Path) -> None:
    row = ShiftRow(corruption="fog", severity=3, rows=3, accuracy=math.nan, nll=math.inf, ece=0.1 + 0.2)
    found = ShiftResult(row=row, risk=(0.0, math.nan) * 50)
    EvaluationCache(folder, BASE).keep(found, shift="images", severity=3)
    again = EvaluationCache(folder, BASE).find(ShiftResult, shift="images", severity=3)
    assert repr(again) == repr(found)
    assert EvaluationCache(folder, BASE).find(ShiftResult, shift="images", severity=4) is None
    assert [path.suffix for path in folder.iterdir()] == [".json"]
    other = OODResult(scores={"entropy": OODScores(auroc=0.1 + 0.2, fpr95=1.0)})
    EvaluationCache(folder, BASE).keep(other, ood="x")
    assert EvaluationCache(folder, BASE).find(OODResult, ood="x") == other
    assert EvaluationCache(folder, BASE).find(ShiftResult, ood="x") is None, "another kind of record"


@pytest.mark.parametrize("name", ["weights", "settings", "more"])
def test_what_depends_on_something_else_is_not_found(folder: Path, name: str) -> None:
    EvaluationCache(folder, BASE).keep(result(), severity=1)
    assert EvaluationCache(folder, BASE | {name: "b"}).find(ShiftResult, severity=1) is None


def test_damaged_and_foreign_files_are_not_found(folder: Path) -> None:
    cache = EvaluationCache(folder, BASE)
    cache.keep(result(), severity=1)
    (file,) = folder.iterdir()
    whole = file.read_text()
    for content in ("", "{", "[]", "3", json.dumps({"key": {}, "found": {}}), whole[:-5], whole.replace('"fog"', "3")):
        file.write_text(content)
        assert cache.find(ShiftResult, severity=1) is None
    cache.keep(result(), severity=1)
    assert cache.find(ShiftResult, severity=1) == result()


def test_cleared_is_what_was_asked_for_and_what_nothing_can_use(folder: Path) -> None:
    EvaluationCache(folder, BASE | {"weights": "old"}).keep(result(), severity=1)
    EvaluationCache(folder, BASE).keep(result(2), corruption="another evaluation")
    (folder / "x.json").write_text("{")
    (folder / ".y.json.0123456789ab.part").mkdir()
    mine = EvaluationCache(folder, BASE)
    mine.keep(result(), severity=1)
    mine.clear()
    assert mine.find(ShiftResult, severity=1) is None
    assert mine.find(ShiftResult, corruption="another evaluation") == result(2)
    assert len(list(folder.iterdir())) == 1
    mine.clear()
    assert not folder.exists()
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
    before, times = file_stamp(file), (file.stat().st_atime_ns, file.stat().st_mtime_ns)
    new = tmp_path / "new"
    new.write_bytes(b"two")
    new.replace(file)
    os.utime(file, ns=times)
    assert file_stamp(file) != before


def test_other_weights_settings_or_data_are_another_cache(tmp_path: Path) -> None:
    spec = DataSpec(name="d", input_shape=(3, 4, 4), outputs=5, task="classification")
    dataset = Dataset(spec=spec, train=split(), validation=split(), test=split())
    net = nn.Sequential(nn.Flatten(), nn.Linear(48, 4), nn.ReLU(), nn.Linear(4, 5))
    ensemble = MIMO(members=2).wrap(net, example=torch.zeros(1, 3, 4, 4))

    def depends_on(**changes: Any) -> dict[str, Any]:
        arguments: dict[str, Any] = {"dataset": dataset, "about": {"seed": 1}} | changes
        return EvaluationCache.for_ensemble(
            tmp_path, ensemble, arguments["dataset"], about=arguments["about"]
        ).depends_on

    base = depends_on()
    assert base == depends_on()
    assert {"motet", "code", "torch", "device"} <= base.keys()
    assert depends_on(about={"seed": 2}) != base
    assert depends_on(dataset=replace(dataset, test=split(pixel=1))) != base
    with torch.no_grad():
        next(ensemble.parameters()).flatten()[0] += 1
    assert depends_on() != base
