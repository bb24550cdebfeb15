"""motet evaluate RUN."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from motet._internal.typed_records import from_plain
from motet.data import load
from motet.evaluation import Evaluation, predict_split, predict_split_distinct, throughput_in_words
from motet.evaluation.throughput import distinct_flops
from motet.experiments import evaluate, find_run, load_ensemble
from motet.metrics import aurc, flops, score

pytestmark = pytest.mark.slow

UNKNOWN = ("task", "classes", "input_shape", "train", "validation", "test", "split", "notes", "fingerprint")
Motet = Callable[..., Any]
COMPARE = ("compare", "digits", "--epochs", 1, "--seeds", 1, "--model", "mlp", "--out", "out", "--members", 2)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A comparison's folder, made once; every test works on a copy."""
    return tmp_path_factory.mktemp("runs") / "out"


@pytest.fixture(autouse=True)
def out(motet: Motet, runs: Path) -> Path:
    if not runs.exists():
        assert motet(*COMPARE, "--methods", "mimo,single,multihead,deep-ensemble,mixmo").code == 0
        shutil.copytree("out", runs)
    elif not Path("out").exists():
        shutil.copytree(runs, "out")
    return Path("out")


def test_scores_of_a_run_again(motet: Motet, out: Path) -> None:
    code, text, err = motet("evaluate", "out/mimo-seed0")
    assert (code, err) == (0, "evaluation: out/mimo-seed0/evaluation.json\n")
    lines = text.splitlines()
    assert lines[0].startswith("MIMO(members=2")
    assert lines[1].split() == ["accuracy", "NLL", "ECE", "Brier", "FLOPs"]
    assert lines[2].split()[0] == "ensemble"
    assert lines[3:5] == ["", "error at coverage     0.5     0.8     0.9    0.95       1"]
    assert [line.split()[0] for line in lines[5:]] == ["ensemble"]
    record = json.loads((out / "mimo-seed0" / "evaluation.json").read_text())
    scores = json.loads((out / "mimo-seed0" / "scores.json").read_text())
    for name in ("accuracy", "nll", "ece", "brier"):
        assert record["ensemble"]["scores"][name] == pytest.approx(scores["test"][name], rel=1e-5)
    assert record["ensemble"]["flops"] == scores["cost"]["flops"]
    curve = record["ensemble"]["risk_coverage"]
    assert curve["coverage"] == [percent / 100 for percent in range(1, 101)]
    prediction = find_run(out / "mimo-seed0").prediction
    wrong = prediction.labels != prediction.targets
    surest = prediction.confidence.argsort(descending=True)
    for percent in (1, 50, 80, 100):
        taken = -(-percent * 359 // 100)
        assert curve["risk"][percent - 1] == pytest.approx(float(wrong[surest[:taken]].double().mean()), abs=1e-9)
    assert curve["area"] == pytest.approx(float(aurc(prediction.confidence, wrong)), abs=1e-6)
    assert lines[5].split()[1:] == [f"{curve['risk'][at - 1]:.4f}" for at in (50, 80, 90, 95, 100)]
    assert "distinct" not in record


def test_throughput_use_beside_it(motet: Motet, out: Path) -> None:
    code, text, _ = motet("evaluate", "out/mimo-seed0/", "--distinct")
    assert code == 0
    lines = text.splitlines()
    assert [line.split()[0] for line in lines[2:4]] == ["ensemble", "throughput"]
    run = find_run(out / "mimo-seed0")
    dataset = load("digits")
    ensemble = load_ensemble(run, dataset)
    expected = score(predict_split_distinct(ensemble, dataset, dataset.test, seed=0))
    record = json.loads((out / "mimo-seed0" / "evaluation.json").read_text())
    for name, value in record["distinct"]["scores"].items():
        assert value == pytest.approx(expected[name], rel=1e-5)
    together = score(predict_split(ensemble, dataset, dataset.test))
    lower = 100 * (together["accuracy"] - expected["accuracy"])
    assert lines[4] == (
        f"Throughput use: 2 examples per pass, each by one member, take "
        f"{record['distinct']['flops'] / record['ensemble']['flops']:.2f} times the operations of ensemble use per "
        f"example; accuracy is {100 * expected['accuracy']:.2f} % instead of {100 * together['accuracy']:.2f} %, "
        f"{lower:.2f} points lower."
    )
    assert lower > 0


def test_what_an_example_costs_both_ways(out: Path) -> None:
    dataset = load("digits")
    example = dataset.prepare(dataset.test.inputs[:1])
    single = flops(load_ensemble(find_run(out / "single-seed0"), dataset), example)
    deep = load_ensemble(find_run(out / "deep-ensemble-seed0"), dataset)
    assert distinct_flops(deep, example) == single
    mimo = load_ensemble(find_run(out / "mimo-seed0"), dataset)
    body = flops(mimo.fold(), example)
    # The body once for two examples; each example its own part of the wide input layer.
    assert distinct_flops(mimo, example) == (body + 2 * 64 * mimo.network[1].layer.out_features + 1) // 2


def test_json_and_what_was_evaluated_before_is_kept(motet: Motet, out: Path) -> None:
    first = json.loads(motet("evaluate", "out/mixmo-seed0", "--distinct", "--json").out)
    again = json.loads(motet("evaluate", "out/mixmo-seed0", "--json").out)
    assert first == again == json.loads((out / "mixmo-seed0" / "evaluation.json").read_text())
    (out / "mixmo-seed0" / "evaluation.json").write_text("{")
    assert "distinct" not in json.loads(motet("evaluate", "out/mixmo-seed0", "--json").out)


def test_the_sentence() -> None:
    def record(name: str, before: float, after: float) -> Evaluation:
        plain = {
            "method": "MIMO(members=3)",
            "members": 3,
            "data": {"name": "d", "class_names": [], **dict.fromkeys(UNKNOWN)},
            "motet": "1",
            "ensemble": {"scores": {name: before}, "flops": 1000},
            "distinct": {"scores": {name: after}, "flops": 340},
        }
        return from_plain(plain, Evaluation, where="the test")

    start = "Throughput use: 3 examples per pass, each by one member, take 0.34 times the operations of ensemble use"
    for numbers, end in [
        (("accuracy", 0.9, 0.85), "accuracy is 85.00 % instead of 90.00 %, 5.00 points lower."),
        (("accuracy", 0.85, 0.9), "accuracy is 90.00 % instead of 85.00 %, 5.00 points higher."),
        (("accuracy", 0.9, 0.9), "accuracy is 90.00 % instead of 90.00 %, no lower."),
        (("rmse", 2.0, 2.5), "the RMSE is 2.5 instead of 2, 25.0% higher."),
        (("rmse", 2.0, 1.5), "the RMSE is 1.5 instead of 2, 25.0% lower."),
        (("rmse", 2.0, 2.0), "the RMSE is 2 instead of 2, no higher."),
    ]:
        assert throughput_in_words(record(*numbers)) == f"{start} per example; {end}"


@pytest.mark.parametrize(
    ("folder", "parts"),
    [
        ("out/mimo-sed0", ("no folder out/mimo-sed0", "Did you mean 'mimo-seed0'?", "(in out)")),
        ("nowhere/at/all", ("no folder nowhere/at/all", "Pass a folder like runs/mimo")),
        (".", ("another folder", "Pass one of the runs in it: out/deep-ensemble-seed0")),
        ("out/mimo-seed0/checkpoint", ("another folder", "Pass a folder with a run.json")),
        ("out/mimo-seed0/scores.json", ("scores.json, a file", "Pass out/mimo-seed0.")),
        ("out/compare.json", ("compare.json, a file", "Pass a folder like runs/mimo")),
    ],
)
def test_what_is_no_runs_folder(refused: Callable[..., str], folder: str, parts: tuple[str, ...]) -> None:
    line = refused("evaluate", folder)
    for part in parts:
        assert part in line


def test_some_members_are_those_of_one_run(refused: Callable[..., str]) -> None:
    line = refused("evaluate", "out", "--members", "1")
    assert "the folder of a comparison, out" in line
    assert "one of the runs in it: out/deep-ensemble-seed0, out/mimo-seed0" in line


def test_all_runs_of_a_comparison(motet: Motet, out: Path) -> None:
    code, said, err = motet("evaluate", "out")
    assert (code, "evaluation.json of each run in out" in err) == (0, True)
    names = [folder.name for folder in out.iterdir() if (folder / "run.json").exists()]
    assert sorted(line.split()[0] for line in said.splitlines()[1:]) == sorted(names)
    records = json.loads(motet("evaluate", "out", "--json").out)
    assert records == {name: json.loads((out / name / "evaluation.json").read_text()) for name in names}


def test_methods_without_inputs_of_the_members_own(refused: Callable[..., str]) -> None:
    assert "two members or more, but got Single(). Evaluate it without" in refused(
        "evaluate", "out/single-seed0", "--distinct"
    )
    line = refused("evaluate", "out/multihead-seed0", "--distinct")
    assert "members with separate inputs, but got Multihead(members=2)" in line
    assert "mimo, mixmo, datamux" in line


def test_runs_that_are_unfinished_or_damaged(refused: Callable[..., str], out: Path) -> None:
    (out / "mimo-seed0" / "scores.json").unlink()
    assert "must be finished to be evaluated" in refused("evaluate", "out/mimo-seed0")
    (out / "single-seed0" / "checkpoint" / "last.safetensors").write_bytes(b"no")
    assert "a checkpoint must be a complete file" in refused("evaluate", "out/single-seed0")
    for content in ("{", "[]", "{}", '{"settings": 3}', '{"settings": {"type": "Nothing"}}'):
        (out / "multihead-seed0" / "run.json").write_text(content)
        assert "motet: " in refused("evaluate", "out/multihead-seed0")


def test_other_data_of_the_same_name(refused: Callable[..., str], out: Path) -> None:
    record = json.loads((out / "mimo-seed0" / "run.json").read_text())
    record["data"]["test"] = 7
    (out / "mimo-seed0" / "run.json").write_text(json.dumps(record))
    assert "its own data, but got other data called digits: 359 test rows" in refused("evaluate", "out/mimo-seed0")


def test_a_model_of_ones_own_that_was_changed(motet: Motet, refused: Callable[..., str]) -> None:
    text = (
        "import torch\ndef net(num_classes):\n"
        "    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 8), torch.nn.Linear(8, num_classes))\n"
    )
    Path("own.py").write_text(text)
    motet("compare", "digits", "--methods", "mimo", "--epochs", 1, "--seeds", 1, "--model", "own.py:net", "--out", "o")
    assert "only if you trust it" in refused("evaluate", "o/mimo-seed0", "--distinct")
    assert motet("evaluate", "o/mimo-seed0", "--distinct", "--trust-code").code == 0
    Path("own.py").write_text(text + "open('executed', 'w')\n")
    assert "the model that it was made with, but got own.py, which was changed after the run" in refused(
        "evaluate", "o/mimo-seed0", "--trust-code"
    )


def test_typing_errors(motet: Motet) -> None:
    code, text, err = motet("evaluate", "out/mimo-seed0", "--distnct")
    assert (code, text) == (2, "")
    assert "--distinct" in err
    assert motet("evaluate").code == 2
    assert "RUN" in motet("evaluate", "--help").out


def test_regression_has_an_rmse(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from motet import MIMO, Dataset, Experiment, Training
    from motet.experiments import run_experiment
    from motet.models import MLP

    x = torch.randn(40, 3, generator=torch.Generator().manual_seed(0))
    split = (x, x.sum(dim=1, keepdim=True))
    dataset = Dataset.from_tensors("sums", train=split, validation=split, test=split)
    method = MIMO(members=2)
    training = Training(epochs=1, batch_size=20)
    experiment = Experiment(data="digits", model=MLP(hidden=(8,)), method=method, training=training)
    run = run_experiment(experiment, "sums", dataset=dataset)
    import sys

    monkeypatch.setattr(sys.modules["motet.experiments.evaluate_runs"], "load", lambda name, folder, **_: dataset)
    record = evaluate(run, distinct=True)
    assert record.ensemble is not None
    assert record.distinct is not None
    assert list(record.distinct.scores) == [*("rmse", "nll", "crps", "coverage_90", "coverage_error", "interval_width")]
    assert record.ensemble.risk_coverage is None
    assert "RMSE" in throughput_in_words(record)
