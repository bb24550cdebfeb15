"""Experiments with several targets, from the table to the report."""

import csv
from pathlib import Path
from typing import Any

import pytest
import torch

from motet.cli.main import main
from motet.data import DataOptions, load
from motet.experiments import compare, evaluate, likelihood_for, load_run, make_plan
from motet.experiments.likelihood import outputs_for
from motet.experiments.run import load_ensemble
from motet.likelihoods import Bernoulli, Gaussian, HeteroscedasticGaussian
from motet.metrics import score, target_scores
from motet.report import render

ROWS = 90
CASES: dict[str, tuple[str, Any, str]] = {
    "numbers": ("price,weight", None, "heteroscedastic"),
    "gaussian": ("price,weight", None, "gaussian"),
    "labels": ("first,second", None, "bernoulli"),
    "counts": ("visits,calls", "counts", "poisson"),
}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> str:
    torch.manual_seed(0)
    x = torch.randn(ROWS, 2)
    columns = {
        "a": x[:, 0],
        "b": x[:, 1],
        "price": 2000 + 500 * x[:, 0],
        "weight": 1e-3 * (5 + x[:, 1]),
        "first": (x[:, 0] > 0).int(),
        "second": (x[:, 1] > 0).int(),
        "visits": torch.poisson(torch.exp(x[:, 0])).int(),
        "calls": torch.poisson(torch.exp(x[:, 1])).int(),
    }
    path = tmp_path_factory.mktemp("tables") / "t.csv"
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))
    return str(path)


def options(case: str) -> DataOptions:
    target, task, _ = CASES[case]
    features = {"a", "b", *target.split(",")}
    rest = ("price", "weight", "first", "second", "visits", "calls")
    return DataOptions(target=target, task=task, drop=tuple(name for name in rest if name not in features))


@pytest.mark.parametrize("case", ["numbers", "labels", "counts"])
def test_the_default_likelihood_follows_the_task(table: str, case: str) -> None:
    spec = load(table, options=options(case)).spec
    likelihood = likelihood_for(None, spec)
    assert likelihood_for(CASES[case][2], spec) == likelihood  # type: ignore[arg-type]
    assert outputs_for(likelihood, spec) == (4 if likelihood == HeteroscedasticGaussian() else 2)
    assert (likelihood == Bernoulli()) == (case == "labels")
    assert outputs_for(Gaussian(), spec) == 2


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_compare_from_the_table_to_the_report(
    table: str, tmp_path: Path, case: str, capsys: pytest.CaptureFixture[str]
) -> None:
    target, _, likelihood = CASES[case]
    names = target.split(",")
    plan = make_plan(
        table, methods=("single", "mimo"), members=2, epochs=2, data_options=options(case), likelihood=likelihood
    )
    record = compare(plan, tmp_path, command="motet compare", progress=False, device="cpu")
    metric = "accuracy" if case == "labels" else "rmse"
    run = load_run(tmp_path / "mimo-seed0")
    assert run is not None
    assert run.scores.test_targets is not None
    dataset = load(table, options=options(case))
    prediction = run.prediction
    assert prediction.target_scale == dataset.spec.target_scale
    assert score(prediction) == run.scores.test
    assert {name: list(each) for name, each in run.scores.test_targets.items()} == target_scores(prediction)
    row = record.rows[1]
    assert row.targets is not None
    assert [each.mean for each in row.targets[metric]] == pytest.approx(list(run.scores.test_targets[metric]))
    if metric == "rmse":
        assert prediction.targets is not None
        error = (prediction.mean - prediction.targets).square().mean(dim=0).sqrt()
        assert list(run.scores.test_targets["rmse"]) == pytest.approx(error.tolist(), rel=1e-5)
    page = render(record)
    assert "Each target" in page
    assert all(name in page for name in names)
    assert ("in standard deviations" in page) == (likelihood in ("heteroscedastic", "gaussian"))
    assert ("RMSE\N{NO-BREAK SPACE}(std)" in page) == (likelihood in ("heteroscedastic", "gaussian"))
    found = evaluate(run, device="cpu").ensemble
    assert found is not None
    assert found.targets is not None
    assert found.targets[metric] == pytest.approx(run.scores.test_targets[metric], rel=1e-5)
    ensemble = load_ensemble(run, dataset)
    means = ensemble.predict(dataset.prepare(dataset.test.inputs)).mean
    torch.testing.assert_close(means, prediction.mean, rtol=1e-4, atol=1e-6)
    for more in ([], ["--shift", "tables"]):
        capsys.readouterr()
        assert main(["evaluate", str(run.folder), "--device", "cpu", *more]) == 0
        shown = capsys.readouterr().out
        assert more or all(name in shown for name in names)
        assert ("in standard deviations" in shown) == (likelihood in ("heteroscedastic", "gaussian"))


@pytest.mark.slow
@pytest.mark.parametrize("targets", [["--target", "first,second"], ["--target", "first", "--target", "second"]])
def test_targets_on_the_command_line(table: str, tmp_path: Path, targets: list[str]) -> None:
    drop = ["--drop", "price", "weight", "visits", "calls"]
    out = ["--out", str(tmp_path / "out"), "--device", "cpu", "--methods", "single", "--epochs", "1"]
    assert main(["compare", table, *targets, *drop, *out]) == 0
    run = load_run(tmp_path / "out" / "single-seed0")
    assert run is not None
    assert run.record.data is not None
    assert run.record.data.class_names == ("first", "second")
    assert run.record.data.task == "multilabel"
    assert run.experiment.data_options.target == "first,second"
