"""motet evaluate RUN --shift SHIFT --ood DATA."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from motet.data import Dataset, Split, load
from motet.evaluation import evaluate_shift, load_ood, out_of_distribution, shift_results, summarise_shifts
from motet.evaluation.cache import CACHE_FOLDER
from motet.experiments import find_run, gather, load_ensemble
from motet.metrics import RunningScores, risk_coverage_of
from motet.shifts import SEVERITIES, corrupt

pytestmark = pytest.mark.slow

Motet = Callable[..., Any]
COMPARE = ("compare", "digits", "--epochs", 1, "--seeds", 2, "--model", "mlp", "--out", "out", "--members", 2)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison's folder, made once; every test works on a copy."""
    return tmp_path_factory.mktemp("runs") / "out"


@pytest.fixture(autouse=True)
def out(motet: Motet, runs: Path) -> Path:
    if not runs.exists():
        assert motet(*COMPARE, "--methods", "single,mimo").code == 0
        shutil.copytree("out", runs)
    else:
        shutil.copytree(runs, "out")
    return Path("out")


def record(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "evaluation.json").read_text())


def test_one_run_has_the_rows_of_the_library(motet: Motet, out: Path) -> None:
    code, text, err = motet("evaluate", "out/mimo-seed0", "--shift", "mimmo", "--severities", 4, 2)
    assert code == 0
    assert err.splitlines()[0] == "[1/5] mimmo_translation"
    dataset = load("digits")
    rows = list(
        evaluate_shift(load_ensemble(find_run(out / "mimo-seed0"), dataset), dataset, "mimmo", severities=(2, 4))
    )
    held = record(out / "mimo-seed0")["shifts"]["mimmo"]
    assert held["severities"] == [2, 4]
    assert held["rows"] == rows
    expected: Any = summarise_shifts(rows)
    assert held["mean"] == expected["mean"]
    lines = text.splitlines()
    assert lines[1] == "mimmo: severities 2, 4; 359 rows each"
    assert lines[2].split() == ["accuracy", "NLL", "ECE", "Brier", "AURC"]
    assert lines[4].split()[:4] == ["mean", "over", "5", f"{expected['mean']['accuracy']:.4f}"]
    scale = [row["accuracy"] for row in rows if row["corruption"] == "mimmo_scale"]
    assert lines[-1].split()[:2] == ["mimmo_scale", f"{sum(scale) / 2:.4f}"]


def test_a_comparison_side_by_side_and_its_report(motet: Motet, out: Path, whole_report: None) -> None:
    fog = ("evaluate", "out", "--shift", "fog", "--severities", 3, "--reference", "out/single-seed0")
    code, text, err = motet(*fog)
    assert code == 0
    assert err.endswith("motet report out shows it\n")
    assert record(out / "single-seed0")["shifts"]["fog"]["mce"] == 100
    for name in ("Single network, unshifted", "MIMO, mean over 1", "mCE", "accuracy, mean over severities"):
        assert name in text
    gathered = json.loads(motet(*fog, "--json").out)
    (shift,) = gathered["shifts"]
    single, mimo = shift["methods"]
    values = [record(out / f"mimo-seed{seed}")["shifts"]["fog"]["mean"]["nll"] for seed in (0, 1)]
    assert mimo["mean"]["nll"]["mean"] == pytest.approx(sum(values) / 2)
    assert mimo["mean"]["nll"]["standard_error"] == pytest.approx(abs(values[0] - values[1]) / 2)
    assert len(single["curves"]) == 2
    assert [point["severity"] for point in single["curves"][0]] == [0, 3]
    assert motet("report", "out").code == 0
    assert "Distribution shift" in (out / "report.html").read_text()


def test_earlier_parts_are_kept_and_new_ones_replace(motet: Motet, out: Path) -> None:
    run = ("evaluate", "out/mimo-seed0")
    motet(*run, "--distinct")
    motet(*run, "--shift", "contrast")
    motet(*run, "--shift", "brightness", "--severities", 1)
    motet(*run, "--shift", "brightness", "--severities", 2)
    held = record(out / "mimo-seed0")
    assert {"ensemble", "distinct", "shifts"} <= held.keys()
    assert list(held["shifts"]) == ["contrast", "brightness"]
    assert held["shifts"]["brightness"]["severities"] == [2]
    assert len(held["shifts"]["contrast"]["rows"]) == 5
    assert "shifts" in json.loads(motet(*run, "--json").out)


def test_out_of_distribution_in_the_runs_form(motet: Motet, out: Path, mnist: Path) -> None:
    code, text, _ = motet("evaluate", "out/mimo-seed0", "--ood", "mnist", "--data-dir", mnist)
    assert code == 0
    assert "against mnist: 40 images, none overlaps" in text
    held = record(out / "mimo-seed0")["ood"]["mnist"]
    assert (held["rows"], held["dropped"]) == (40, 0)
    assert set(held["scores"]) == {"max_probability", "entropy", "mutual_information"}
    assert 0 <= held["scores"]["entropy"]["auroc"] <= 1


def test_official_files(motet: Motet, out: Path) -> None:
    dataset = load("digits")
    folder = Path("official")
    folder.mkdir()
    images = dataset.spec.to_bytes(dataset.test.inputs[:30])
    parts = [corrupt(images, "fog", severity=severity).permute(0, 2, 3, 1).numpy() for severity in SEVERITIES]
    np.save(folder / "fog.npy", np.concatenate(parts))
    np.save(folder / "labels.npy", dataset.test.targets[:30].numpy())
    code, _, err = motet("evaluate", "out/mimo-seed0", "--shift", folder)
    assert code == 0
    assert err.startswith("note: official has 1 of the 15 corruptions that means usually include; it lacks gaussian")
    held = record(out / "mimo-seed0")["shifts"]["official (files)"]
    first = Dataset(spec=dataset.spec, train=dataset.train, validation=dataset.validation,
                    test=Split(inputs=dataset.test.inputs[:30], targets=dataset.test.targets[:30]))  # fmt: skip
    rows = list(evaluate_shift(load_ensemble(find_run(out / "mimo-seed0"), dataset), first, "fog"))
    assert held["rows"] == rows  # on the run's own scale, which is not that of the files
    assert held["averaged"] == ["fog"]
    np.save(folder / "labels.npy", np.full(30, 10))
    err = motet("evaluate", "out/mimo-seed0", "--shift", folder).err
    assert "must be classes of the run, 0 to 9, but got labels up to 10" in err
    assert err.count("\n") == 1, "before the first corruption"
    np.save(folder / "labels.npy", dataset.test.targets[:30].numpy())
    np.save(folder / "fog.npy", np.zeros((150, 9, 9, 3), dtype=np.uint8))
    code, _, err = motet("evaluate", "out/mimo-seed0", "--shift", folder)
    assert code == 2
    assert "must have shape (1, 8, 8)" in err.splitlines()[-1]
    assert err.count("\n") == 1, "before the first corruption"
    assert record(out / "mimo-seed0")["shifts"]["official (files)"] == held


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("--shift", "fgo"), ("'fgo'", "Did you mean 'fog'?", "cifar-c")),
        (("--shift", "cifarc"), ("Did you mean 'cifar-c'?",)),
        (("--shift", "tables"), ("needs a run on a table", "(1, 8, 8)")),
        (("--shift", "out"), ("CIFAR-C", "which holds neither")),
        (("--shift", "fog", "--severities", 0, 3, 6), ("severities must be", "got 0, 6")),
        (("--shift", "fog", "--distinct"), ("Run motet evaluate once for each",)),
        (("--severities", 3), ("need a shift, but got no --shift",)),
        (("--reference", "out/single-seed0"), ("need a shift, but got no --shift",)),
        (("--ood", "mnist", "--reference", "out/single-seed0"), ("no --shift",)),
        (("--shift", "fog", "--reference", "out/singel-seed0"), ("Did you mean 'single-seed0'",)),
        (("--ood", "digts"), ("'digts'", "Did you mean 'digits'?")),
        (("--ood", "toy"), ("must be images", "toy, a table")),
        (("--ood", "digits"), ("digits cannot be compared with", "359 rows, which all occur in the other sets")),
        (("--ood", "out"), ("a folder without images",)),
        (("--ood", ""), ("--ood needs the names",)),
        (("--ood",), ("--ood needs the names",)),
        (("--shift", ""), ("a shift must have a name",)),
        (("--shift", "fog", "--severities", "0,9"), ("severities must be", "got 0, 9")),
        (("--shift", "fog", "--severities", "one", "2"), ("severities must be", "got 'one'")),
        (("--shift", "fog", "--severities", "-1"), ("severities must be",)),
        (("--shift", "fog", "--severities", "1.5"), ("severities must be", "got '1.5'")),
        (("--shift", "fog", "--severities", ","), ("severities must be", "got none")),
    ],
)
def test_what_cannot_be_evaluated(
    motet: Motet, out: Path, arguments: tuple[object, ...], parts: tuple[str, ...]
) -> None:
    code, text, err = motet("evaluate", "out/mimo-seed0", *arguments)
    assert (code, text) == (2, "")
    line = err.splitlines()[-1]
    assert line.startswith("motet: ")
    for part in parts:
        assert part in line
    assert not (out / "mimo-seed0" / "evaluation.json").exists()


def test_overlap_is_found_before_the_first_corruption(motet: Motet, out: Path) -> None:
    code, text, err = motet("evaluate", "out/mimo-seed0", "--shift", "cifar-c", "--ood", "digits")
    assert (code, text) == (2, "")
    assert err.count("\n") == 1
    assert "359 rows, which all occur in the other sets" in err
    assert not (out / "mimo-seed0" / CACHE_FOLDER).exists()


def test_stopped_and_started_again(motet: Motet, out: Path, mnist: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same record as without a stop, and nothing evaluated twice."""
    command = ("evaluate", "out", "--shift", "mimmo", "--severities", "1,3", "--ood", "mnist", "--data-dir", mnist)
    assert motet(*command).code == 0
    names = sorted(path.parent.name for path in out.glob("*/evaluation.json"))
    whole = {name: record(out / name) for name in names}
    assert len(whole) == 4
    for name in names:
        assert not (out / name / CACHE_FOLDER).exists()
        (out / name / "evaluation.json").unlink()
    calls: list[int] = []
    scored, asked = shift_results.score_batches, out_of_distribution.uncertainty_scores
    stop_after = 4

    def score(ensembles: Any, *arguments: Any) -> Any:
        if len(calls) == stop_after:
            raise KeyboardInterrupt
        calls.append(len(ensembles))
        return scored(ensembles, *arguments)

    monkeypatch.setattr(shift_results, "score_batches", score)
    code, _, err = motet(*command)
    assert (code, calls) == (130, [4] * 4)
    assert err.endswith("motet: stopped; run the same command again to continue\n")
    assert not list(out.glob("*/evaluation.json"))
    # One of the runs has other weights now: all its parts are stale. Another lost a part.
    weights = out / "mimo-seed0" / "checkpoint" / "last.safetensors"
    weights.write_bytes((out / "mimo-seed1" / "checkpoint" / "last.safetensors").read_bytes())
    sorted((out / "single-seed1" / CACHE_FOLDER).iterdir())[0].unlink()
    stop_after, calls[:] = -1, []
    questions: list[int] = []

    def ask(*arguments: Any, **options: Any) -> Any:
        questions.append(1)
        return asked(*arguments, **options)

    monkeypatch.setattr(out_of_distribution, "uncertainty_scores", ask)
    assert motet(*command).code == 0
    assert sorted(calls) == [1, 1, 1, 2, *[4] * 7]  # clean and ten variants; four were there
    assert len(questions) == 8
    again = {name: record(out / name) for name in names}
    assert again["mimo-seed0"]["shifts"] == whole["mimo-seed1"]["shifts"]
    for name in set(names) - {"mimo-seed0"}:
        assert again[name] == whole[name]
        assert not (out / name / CACHE_FOLDER).exists()
    assert not (out / "mimo-seed0" / CACHE_FOLDER).exists()


def test_risk_over_coverage(motet: Motet, out: Path) -> None:
    _, text, _ = motet("evaluate", "out/mimo-seed0", "--shift", "mimmo", "--severities", 2, 4)
    held = record(out / "mimo-seed0")["shifts"]["mimmo"]
    curves = held["risk_coverage"]
    assert curves["coverage"] == [percent / 100 for percent in range(1, 101)]
    for part, rows in (("clean", [held["clean"]]), ("mean", held["rows"])):
        error = sum(1 - row["accuracy"] for row in rows) / len(rows)
        assert curves[part][99] == pytest.approx(error)
        # 359 rows at 100 coverages: the mean of the curve is near its area, but not the same.
        assert sum(curves[part]) / 100 == pytest.approx(sum(row["aurc"] for row in rows) / len(rows), abs=0.01)
    dataset = load("digits")
    ensemble = load_ensemble(find_run(out / "mimo-seed0"), dataset)
    wanted = []
    for severity in (2, 4):
        images = corrupt(dataset.spec.to_bytes(dataset.test.inputs), "mimmo_scale", severity=severity)
        inputs = dataset.prepare(dataset.spec.from_bytes(images))
        curve = risk_coverage_of(ensemble.predict(inputs, targets=dataset.test.targets))
        assert curve is not None
        wanted.append(curve.at())
    assert curves["corruptions"]["mimmo_scale"] == pytest.approx((sum(wanted) / 2).tolist(), abs=1e-6)
    lines = text.splitlines()
    at = lines.index("error at coverage     0.5     0.8     0.9    0.95       1")
    for line, part in zip(lines[at + 1 : at + 3], ("clean", "mean"), strict=True):
        assert line.split()[-5:] == [f"{curves[part][percent - 1]:.4f}" for percent in (50, 80, 90, 95, 100)]


def test_a_comparison_has_curves_without_being_evaluated(out: Path) -> None:
    content = json.loads((out / "compare.json").read_text())
    held = gather(out, content).selective
    assert held is not None
    (single, mimo) = held.methods
    assert [len(curve) for curve in single.curves + mimo.curves] == [100] * 4
    errors = [1 - find_run(out / f"mimo-seed{seed}").scores.test["accuracy"] for seed in (0, 1)]
    assert mimo.at["1"].mean == pytest.approx(sum(errors) / 2)
    assert mimo.at["1"].standard_error == pytest.approx(abs(errors[0] - errors[1]) / 2)
    del content["schema_version"]
    for row in content["rows"]:
        del row["risk_coverage"]  # a record of before there were any
    assert gather(out, content).selective == held
    for file in out.glob("*/predictions.safetensors"):
        file.unlink()
    assert gather(out, content).selective is None


def test_a_reference_without_errors_has_no_mce(motet: Motet, out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scored = RunningScores.result
    monkeypatch.setattr(RunningScores, "result", lambda scores: scored(scores) | {"accuracy": 1.0})
    code, text, err = motet("evaluate", "out", "--shift", "fog", "--reference", "out/single-seed0")
    assert code == 0
    assert (
        "note: no mCE: the reference must have an error above 0 for every corruption, but got an error of 0 for fog\n"
        in err
    )
    assert record(out / "mimo-seed0")["shifts"]["fog"]["mce"] is None
    assert "mCE" in text


def test_unfinished(refused: Callable[..., str], out: Path) -> None:
    (out / "mimo-seed1" / "scores.json").unlink()
    assert "must be finished to be evaluated" in refused("evaluate", "out", "--shift", "fog")
    content = json.loads((out / "compare.json").read_text())
    (out / "compare.json").write_text(json.dumps(content | {"rows": None}))
    assert "comparison must be finished" in refused("evaluate", "out", "--shift", "fog")


def test_a_table(motet: Motet, refused: Callable[..., str]) -> None:
    generator = torch.Generator().manual_seed(0)
    lines = ["a,b,y"]
    for a, b in torch.randn(120, 2, generator=generator).tolist():
        lines.append(f"{a},{b},{100 * a + 0.1 * b}")
    Path("t.csv").write_text("\n".join(lines))
    motet("compare", "t.csv", "--target", "y", "--methods", "mimo", "--seeds", 1, "--epochs", 1, "--batch-size", 20,
          "--out", "t")  # fmt: skip
    assert "a regression" in refused("evaluate", "t/mimo-seed0", "--ood", "digits")
    assert "needs a run on images" in refused("evaluate", "t/mimo-seed0", "--shift", "fog")
    line = refused("evaluate", "t", "--shift", "tables", "--reference", "t/mimo-seed0")
    assert "a regression of" in line
    code, text, _ = motet("evaluate", "t/mimo-seed0", "--shift", "tables")
    assert code == 0
    assert "RMSE" in text
    held = record(Path("t/mimo-seed0"))
    scores = json.loads(Path("t/mimo-seed0/scores.json").read_text())["test"]
    clean = held["shifts"]["tables"]["clean"]
    assert clean["rmse"] == pytest.approx(scores["rmse"], rel=1e-5)  # in the target's own unit
    assert clean["nll"] == pytest.approx(scores["nll"], rel=1e-5)


def test_images_of_the_runs_kind(mnist: Path) -> None:
    grey = load("mnist", mnist)
    rgb = torch.randint(256, (6, 3, 28, 28), dtype=torch.uint8)
    part = (rgb, torch.tensor([0, 1] * 3))
    colour = Dataset.from_tensors("colour", train=part, validation=part, test=part)
    images: Any = load_ood("mnist", colour, data_dir=mnist).inputs
    assert torch.equal(images, grey.test.inputs.repeat(1, 3, 1, 1))
    small: Any = load_ood("digits", grey).inputs
    assert small.shape[1:] == (1, 28, 28)
    assert small.dtype == torch.uint8
    assert small.max() <= 255
    same: Any = load_ood("digits", load("digits")).inputs
    assert torch.equal(same, load("digits").test.inputs)
