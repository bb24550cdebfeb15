"""The scores of each exit by itself: in records, in the commands' output, and in the report."""

from pathlib import Path

import pytest
import torch

import motet
from motet.cli.main import main
from motet.evaluation import score_clean, score_exits
from motet.experiments import compare, load_run, make_plan
from motet.experiments.records import as_comparison
from motet.methods import DUN, MIMMO, EarlyExit, Method
from motet.report import render


@pytest.fixture
def blobs() -> motet.Dataset:
    from small_data import make_blobs

    return make_blobs()


@pytest.mark.parametrize("method", [EarlyExit(), DUN(), MIMMO(members=2)], ids=lambda method: method.name)
def test_each_exits_scores_are_those_of_its_outputs(method: Method, blobs: motet.Dataset) -> None:
    net = motet.models.mlp(input_shape=(4,), num_classes=3, hidden=(8, 8, 8))
    ensemble = method.wrap(net, example=torch.zeros(1, 4))
    motet.fit(ensemble, blobs, motet.Training(epochs=2, batch_size=16), progress=False)
    exits = score_exits(ensemble, blobs, blobs.test, batch_size=7)
    assert exits is not None
    assert [(each.place, round(each.depth, 3)) for each in exits] == [("4", 0.667), ("", 1.0)]
    assert sum(each.weight for each in exits) == pytest.approx(1)
    x, y = blobs.test.inputs, blobs.test.targets
    for depth, each in enumerate(exits):
        with torch.no_grad():
            p = ensemble.eval().forward_exits(x)[:, :, depth].softmax(-1).mean(1)
        assert each.scores["accuracy"] == pytest.approx(float((p.argmax(-1) == y).double().mean()))
        assert each.scores["nll"] == pytest.approx(float(-p[range(len(y)), y].log().mean()), rel=1e-5)
        assert each.scores.keys() == {"accuracy", "nll", "ece"}
    assert score_clean(ensemble, blobs).exits == score_exits(ensemble, blobs, blobs.test)
    note = "exits after 4 (67% of the layers) and at the end"
    assert note in str(ensemble.summary())
    assert score_exits(ensemble.fold(), blobs, blobs.test) is not None


def test_methods_without_exits_have_none(blobs: motet.Dataset) -> None:
    net = motet.models.mlp(input_shape=(4,), num_classes=3, hidden=(8, 8))
    for method in (motet.Single(), EarlyExit(exits=()), MIMMO(members=2, exits=())):
        ensemble = method.wrap(net, example=torch.zeros(1, 4))
        assert score_exits(ensemble, blobs, blobs.test) is None
        assert "exits after" not in str(ensemble.summary())


def test_from_the_run_to_the_report(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = make_plan("digits", methods=("single", "early-exit"), epochs=1, seeds=2)
    record = compare(plan, tmp_path / "c", command="motet compare", progress=False)
    run = load_run(tmp_path / "c" / "early-exit-seed0")
    assert run is not None
    assert run.scores.test_exits is not None
    row = as_comparison(tmp_path / "c" / "compare.json").rows[1]
    assert row == record.rows[1]
    assert row.exits is not None
    assert record.rows[0].exits is None
    assert [each.place for each in row.exits] == ["5", ""]
    other = load_run(tmp_path / "c" / "early-exit-seed1")
    assert other is not None
    assert other.scores.test_exits is not None
    values = [each[0].scores["accuracy"] for each in (run.scores.test_exits, other.scores.test_exits)]
    assert row.exits[0].scores["accuracy"].mean == pytest.approx(sum(values) / 2)
    page = render(record)
    assert '<h2 id="exits">Each exit</h2>' in page
    assert "Early exits, exit 1, after 5" in page
    assert "Early exits, exit 2, at the end" in page
    assert '<h2 id="exits">' not in render({"rows": [{"method": "single", "label": "Single network"}]})
    assert main(["evaluate", str(run.folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    head = next(index for index, line in enumerate(lines) if line.startswith("exit by itself"))
    assert lines[head].split() == ["exit", "by", "itself", "after", "layers", "weight", "accuracy", "NLL", "ECE"]
    assert "exit 1" in lines[head + 1]
    assert lines[head + 1].split()[-6:-3] == ["5", "67%", "0.500"]
    assert "the end" in lines[head + 2]
    assert main(["evaluate", str(tmp_path / "c")]) == 0
    shown = capsys.readouterr().out
    assert "early-exit-seed1 exit 2" in shown


def test_a_regression_has_the_errors_of_its_exits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "t.csv").write_text("a,y\n" + "".join(f"{i},{1000 + 10 * i}\n" for i in range(60)))
    out = tmp_path / "out"
    command = ["compare", str(tmp_path / "t.csv"), "--target", "y", "--methods", "dun", "--epochs", "1"]
    assert main([*command, "--out", str(out)]) == 0
    run = load_run(out / "dun-seed0")
    assert run is not None
    assert run.scores.test_exits is not None
    assert run.scores.test_exits[0].scores["rmse"] > 10  # in the target's unit
    capsys.readouterr()
    assert main(["evaluate", str(run.folder)]) == 0
    assert "RMSE" in capsys.readouterr().out.partition("exit by itself")[2].splitlines()[0]


@pytest.mark.usefixtures("unchecked")
def test_motet_run_prints_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(
        "import motet\n"
        "def exits():\n"
        "    model, training = motet.models.SmallCNN(), motet.Training(epochs=1, batch_size=64)\n"
        "    return motet.Experiment(data='digits', model=model, method=motet.EarlyExit(), training=training)\n"
    )
    assert main(["run", "mine.py:exits", "--out", "out"]) == 0
    table = capsys.readouterr().out.partition("exit by itself")[2].splitlines()
    assert [line.split()[0:2] for line in table[1:3]] == [["exit", "1"], ["exit", "2"]]
    assert "67%" in table[1]
