"""Experiments under every likelihood, from the table to the report."""

import csv
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from motet._internal.files import read_json, write_json
from motet.data import DataOptions, Dataset, load
from motet.errors import InputError
from motet.experiments import (
    Experiment,
    compare,
    evaluate,
    likelihood_for,
    likelihood_name,
    load_run,
    make_plan,
    run_experiment,
)
from motet.experiments.build import Builder, build
from motet.experiments.buildable import buildable_entries
from motet.likelihoods import Bernoulli, Categorical, Gaussian, HeteroscedasticGaussian, Poisson
from motet.methods import MIMO, DeepEnsemble, EarlyExit
from motet.metrics import score
from motet.models import MLP
from motet.report import render
from motet.training import Training

ROWS = 150


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("tables")
    x = torch.randn(ROWS, 2)
    columns = {
        "real": 50 + 20 * x[:, 0] + 5 * torch.randn(ROWS),
        "counts": torch.poisson(torch.exp(1.5 + 0.5 * x[:, 0])),
        "two": (x[:, 0] > 0).float(),
        "three": (x[:, 0] > 0).float() + (x[:, 1] > 0).float(),
    }
    for name, y in columns.items():
        with (folder / f"{name}.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["a", "b", "y"])
            writer.writerows([[*row, value] for row, value in zip(x.tolist(), y.tolist(), strict=True)])
    return folder


def data(tables: Path, name: str, task: Any = None) -> Dataset:
    return load(str(tables / f"{name}.csv"), options=DataOptions(target="y", task=task))


def test_the_default_follows_the_task(tables: Path) -> None:
    assert likelihood_for(None, data(tables, "real").spec) == HeteroscedasticGaussian()
    assert likelihood_for(None, data(tables, "counts", "counts").spec) == Poisson()
    assert likelihood_for(None, data(tables, "three").spec) == Categorical()
    assert likelihood_for("bernoulli", data(tables, "two").spec) == Bernoulli()
    assert likelihood_for(None, load("toy").spec) == Gaussian()
    assert likelihood_name("gaussian", data(tables, "real").spec) == "gaussian"


@pytest.mark.parametrize(
    ("name", "table", "task", "message"),
    [
        ("poisson", "real", "regression", "must be heteroscedastic or gaussian, but got 'poisson'.*--task counts"),
        ("gaussian", "counts", "counts", "must be poisson.*--task regression"),
        ("categorical", "counts", "counts", "must be poisson.*--task classification"),
        ("heteroscedastic", "two", "classification", "must be categorical or bernoulli"),
        ("bernoulli", "three", "classification", "needs two classes, but got 3"),
        ("bernoulli", "real", "regression", "--task classification"),
        ("poison", "counts", "counts", "Did you mean 'poisson'"),
    ],
)
@pytest.mark.usefixtures("unchecked")
def test_what_the_data_cannot_have_is_refused(tables: Path, name: str, table: str, task: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        likelihood_name(name, data(tables, table, task).spec)


def test_an_experiment_names_its_likelihood(unchecked: None) -> None:
    plain = Experiment(data="digits", model=MLP(), method=MIMO())
    assert "likelihood" not in plain.to_record()
    named = replace(plain, likelihood="bernoulli")
    assert Experiment.from_record(named.to_record()) == named
    with pytest.raises(InputError, match="likelihood must be one of motet's, but got 'normal'"):
        replace(plain, likelihood="normal")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1.0, -2.0], "counts, integers of at least 0, but got -2. Pass --task regression"),
        ([1.0, 0.5], "integers of at least 0, but got 0.5"),
        ([-1.0, -2.0], "but got -1 and 59 others"),
        ([0.0, 0.0], "must vary"),
        (["a", "b"], "must hold counts, but got text, such as 'a'"),
    ],
)
def test_targets_that_are_no_counts(tmp_path: Path, values: list[Any], message: str) -> None:
    many = values * 30 if len(set(values)) == 1 or values[0] in (-1.0, "a") else [values[0]] * 59 + [values[1]]
    rows = "\n".join(f"{row},{value}" for row, value in enumerate(many))
    (tmp_path / "t.csv").write_text(f"x,y\n{rows}\n")
    with pytest.raises(InputError, match=message):
        load(str(tmp_path / "t.csv"), options=DataOptions(target="y", task="counts"))


def test_counts_are_never_standardised_nor_guessed(tables: Path) -> None:
    counts = data(tables, "counts", "counts")
    assert (counts.spec.target_mean, counts.spec.target_std, counts.spec.outputs) == (0.0, 1.0, 1)
    assert torch.equal(counts.train.targets, counts.train.targets.round())
    assert data(tables, "counts").spec.task != "counts"
    with pytest.raises(InputError, match="never standardised"):
        replace(counts.spec, target_std=2.0)
    split = (torch.randn(6, 2), torch.arange(6))
    own = Dataset.from_tensors("own", train=split, validation=split, test=split, task="counts")
    assert own.spec.likelihood == Poisson()
    assert own.train.targets.shape == (6, 1)
    with pytest.raises(InputError, match="must not be negative"):
        Dataset.from_tensors("own", train=(split[0], -split[1]), validation=split, test=split, task="counts")


@pytest.mark.parametrize("name", ["gaussian", "heteroscedastic"])
def test_scores_are_those_of_the_targets_own_unit(tables: Path, name: Any) -> None:
    dataset = data(tables, "real")
    likelihood = likelihood_for(name, dataset.spec)
    example = torch.zeros(1, dataset.spec.input_shape[0]).double()
    ensemble = DeepEnsemble(members=2).wrap(
        lambda: torch.nn.Linear(dataset.spec.input_shape[0], likelihood.outputs(1)).double(),
        example=example,
        likelihood=likelihood,
    )
    test = dataset.test
    prediction = ensemble.predict(test.inputs.double(), targets=test.targets.double())
    mean, std = dataset.spec.target_mean, dataset.spec.target_std
    scores, own = score(prediction), dataset.spec.in_own_units(score(prediction))
    means = likelihood.mean(prediction.outputs_BMC) * std + mean
    stds = likelihood.variance(prediction.outputs_BMC).sqrt() * std
    y = test.targets.double() * std + mean
    components = torch.distributions.Normal(means, stds)
    assert own["nll"] == pytest.approx(-components.log_prob(y.unsqueeze(1)).exp().mean(dim=1).log().mean().item())
    assert own["rmse"] == pytest.approx((means.mean(dim=1) - y).square().mean().sqrt().item())
    x = torch.linspace(-300, 400, 20_001, dtype=torch.float64)
    cdf = components.cdf(x.view(-1, 1, 1, 1)).mean(dim=2)[..., 0]
    step = (x.unsqueeze(1) >= y[:, 0]).double()
    assert own["crps"] == pytest.approx((torch.trapezoid((cdf - step).square(), x, dim=0)).mean().item(), rel=1e-3)
    assert own["interval_width"] == pytest.approx(std * scores["interval_width"])
    for level in (50, 80, 90, 95):
        assert own[f"coverage_{level}"] == scores[f"coverage_{level}"]
    assert own["coverage_error"] == scores["coverage_error"]


@pytest.mark.parametrize(
    ("task", "likelihood", "columns"),
    [
        ("regression", None, {"rmse", "nll", "crps", "coverage_90"}),
        ("regression", "gaussian", {"rmse", "nll", "crps", "coverage_90"}),
        ("counts", None, {"rmse", "nll", "crps", "deviance", "coverage_90"}),
        ("classification", "bernoulli", {"accuracy", "nll", "ece", "brier"}),
    ],
)
@pytest.mark.slow
def test_compare_from_the_table_to_the_report(
    tables: Path, tmp_path: Path, task: Any, likelihood: Any, columns: set[str]
) -> None:
    table = {"regression": "real", "counts": "counts", "classification": "two"}[task]
    ranked = "root mean squared error" if likelihood == "gaussian" else "negative log-likelihood"
    plan = make_plan(
        str(tables / f"{table}.csv"),
        methods=("single", "mimo"),
        members=2,
        epochs=2,
        data_options=DataOptions(target="y", task=task),
        likelihood=likelihood,
    )
    plan = replace(plan, model=MLP(hidden=(8,)))
    record = compare(plan, tmp_path, command="motet compare", progress=False)
    assert columns <= record.rows[0].scores.keys()
    assert all(math.isfinite(record.rows[0].scores[column].mean) for column in columns)
    held = "heteroscedastic" if task == "regression" else "poisson"
    assert record.likelihood == (likelihood or held)
    page = render(record)
    assert ranked in page
    assert f"Validation {ranked}" in page
    assert ("Methods are ranked by root mean squared error" in page) == (likelihood == "gaussian")
    assert ("Calibration: can the intervals be trusted?" in page) == (task != "classification")
    assert ("Calibration: can the confidence be trusted?" in page) == (task == "classification")
    run = load_run(tmp_path / "mimo-seed0")
    assert run is not None
    assert run.record.likelihood == record.likelihood
    assert run.history[-1].keys() >= {"validation_nll"}
    again = evaluate(run, distinct=True)
    scores = again.ensemble.scores
    assert scores == pytest.approx({name: run.scores.test[name] for name in scores}, rel=1e-4)
    assert compare(plan, tmp_path, command="motet compare", progress=False).rows == record.rows


def test_regressions_of_before_had_unit_variance(tables: Path, tmp_path: Path) -> None:
    experiment = Experiment(
        data=str(tables / "real.csv"),
        model=MLP(hidden=(8,)),
        method=MIMO(members=2),
        training=Training(epochs=1, batch_size=32),
        data_options=DataOptions(target="y"),
        likelihood="gaussian",
    )
    run = run_experiment(experiment, tmp_path / "run", progress=False)
    record = read_json(run.folder / "run.json")
    del record["likelihood"], record["settings"]["likelihood"], record["schema_version"]
    write_json(run.folder / "run.json", record)
    old = load_run(run.folder)
    assert old is not None
    assert old.experiment.likelihood == "gaussian"
    assert evaluate(old).ensemble.scores["rmse"] == pytest.approx(run.scores.test["rmse"])


def test_methods_that_cannot_have_the_likelihood_are_left_out_before_training(tables: Path) -> None:
    dataset = data(tables, "real")

    def plan(*methods: str) -> Any:
        path, options = str(tables / "real.csv"), DataOptions(target="y")
        made = make_plan(path, methods=methods, members=2, epochs=1, data_options=options)
        return replace(made, model=MLP(hidden=(8, 8)))

    entries, left_out = buildable_entries(plan("all"), Builder(dataset))
    assert {entry.key for entry in entries} >= {"single", "mimo", "mixmo", "dun", "mimmo", "early-exit"}
    assert [each.method for each in left_out] == ["modular-network", "ncl"]
    assert "needs a natural exponential family" in left_out[0].reason
    with pytest.raises(InputError, match="needs a natural exponential family"):
        buildable_entries(plan("modular-network"), Builder(dataset))
    with_beta = replace(plan("single"), methods=(EarlyExit(beta=0.1),))
    with pytest.raises(InputError, match="needs class probabilities"):
        build(with_beta.experiment(with_beta.entries[0], seed=0), dataset)
