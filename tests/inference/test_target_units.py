"""Predictions of a regression are in the targets' own units, wherever they come from."""

import copy
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import motet
from motet.data import Dataset
from motet.ensemble import Ensemble
from motet.errors import InputError
from motet.evaluation import evaluate_clean, predict_split
from motet.inference.budget import Budget
from motet.inference.specialists import best_of_random
from motet.likelihoods import Bernoulli, Categorical, Gaussian, HeteroscedasticGaussian, Likelihood, Poisson
from motet.likelihoods.target_scale import TargetScale
from motet.methods import MIMO, DeepEnsemble, EarlyExit
from motet.metrics import member_scores, rmse, score
from motet.prediction import Prediction
from motet.training import Training, load_run_weights

MEAN, STD = 2000.0, 500.0
ROWS = 60


def standardised(seed: int = 0) -> tuple[Tensor, Tensor]:
    torch.manual_seed(seed)
    x = torch.randn(ROWS, 3)
    return x, x[:, :1] + 0.1 * torch.randn(ROWS, 1)


def data(**options: Any) -> Dataset:
    split = standardised()
    return Dataset.from_tensors("own", train=split, validation=split, test=split, **options)


def wrapped(likelihood: Likelihood | None = None, method: Any = None, targets: int = 1) -> Ensemble:
    torch.manual_seed(0)
    likelihood = likelihood or Gaussian()
    net = motet.models.mlp(input_shape=(3,), num_classes=likelihood.outputs(targets))
    made: Ensemble = (method or DeepEnsemble(members=3)).wrap(net, example=torch.zeros(1, 3), likelihood=likelihood)
    return made


@pytest.fixture(scope="module")
def trained() -> tuple[Ensemble, Dataset]:
    dataset = data(target_mean=MEAN, target_std=STD)
    ensemble = wrapped()
    motet.fit(ensemble, dataset, Training(epochs=3, batch_size=16), device="cpu", progress=False)
    return ensemble, dataset


def test_fit_states_the_scale_and_predict_uses_it(trained: tuple[Ensemble, Dataset]) -> None:
    ensemble, dataset = trained
    x, z = dataset.test.inputs, dataset.test.targets
    outputs = ensemble(x).detach()
    prediction = ensemble.predict(x, targets=z)
    torch.testing.assert_close(prediction.mean, outputs.double().mean(dim=1) * STD + MEAN)
    torch.testing.assert_close(prediction.member_means, outputs.double() * STD + MEAN)
    torch.testing.assert_close(prediction.targets, z.double() * STD + MEAN)
    assert torch.equal(dataset.spec.targets_in_own_units(z), prediction.targets)  # type: ignore[arg-type]
    assert data().spec.targets_in_own_units(z) is z
    assert torch.equal(prediction.outputs_BMC, outputs)
    assert prediction.likelihood == Gaussian()
    # Training and the forward pass do not change: the targets of the loss are standardised.
    plain = copy.deepcopy(ensemble)
    plain.scale_targets(mean=0.0, std=1.0)
    assert plain.target_scale is None
    assert torch.equal(plain.loss(x, z), ensemble.loss(x, z))


def test_training_is_the_same_with_and_without_a_scale() -> None:
    histories = []
    for options in ({}, {"target_mean": MEAN, "target_std": STD}):
        ensemble, dataset = wrapped(), data(**options)
        torch.manual_seed(1)
        rows = motet.fit(ensemble, dataset, Training(epochs=2, batch_size=16), device="cpu", progress=False)
        histories.append((rows, [p.clone() for p in ensemble.parameters()], dataset))
    (plain, weights, _), (scaled, same, dataset) = histories
    assert all(map(torch.equal, weights, same))
    for one, other in zip(plain, scaled, strict=True):
        assert one["train_loss"] == other["train_loss"]
        own = dataset.spec.in_own_units({"nll": one["validation_nll"], "rmse": one["validation_rmse"]})
        assert other["validation_nll"] == own["nll"]  # to the last digit
        assert other["validation_rmse"] == own["rmse"]


def test_every_copy_knows_the_scale(trained: tuple[Ensemble, Dataset], tmp_path: Path) -> None:
    ensemble, dataset = trained
    x = dataset.test.inputs
    mean = ensemble.predict(x).mean
    loaded = wrapped()
    loaded.load_state_dict(ensemble.state_dict())
    twins = {
        "fold": ensemble.fold(),
        "deepcopy": copy.deepcopy(ensemble),
        "pickle": pickle.loads(pickle.dumps(ensemble)),
        "subset": ensemble.subset([0, 1, 2]),
        "state": loaded,
        "to": copy.deepcopy(ensemble).to("cpu"),
    }
    for name, twin in twins.items():
        torch.testing.assert_close(twin.predict(x).mean, mean, msg=name, rtol=1e-6, atol=1e-3)
    one = ensemble.member(1)(x).double() * STD + MEAN
    torch.testing.assert_close(ensemble.subset([1]).predict(x).mean, one, rtol=1e-6, atol=1e-3)
    torch.testing.assert_close(ensemble.predict(x, members=[1]).mean, one, rtol=1e-6, atol=1e-3)
    assert ensemble.predict(x, lost=[0]).target_scale == ensemble.target_scale
    # In another dtype the scale is not rounded.
    assert copy.deepcopy(ensemble).to(torch.bfloat16).target_scale == ensemble.target_scale
    # A state without a scale, of an older version, can be loaded.
    old = {key: value for key, value in ensemble.state_dict().items() if not key.startswith("target_units")}
    fresh = wrapped()
    fresh.load_state_dict(old)
    assert fresh.target_scale is None
    # A state of classes is as it was.
    assert not any("target" in key for key in wrapped(Categorical(), targets=2).state_dict())


def test_checkpoints_keep_the_scale(tmp_path: Path) -> None:
    dataset = data(target_mean=MEAN, target_std=STD)
    ensemble = wrapped()
    training = Training(epochs=2, batch_size=16, early_stopping=1)
    motet.fit(ensemble, dataset, training, device="cpu", progress=False, folder=tmp_path)
    again = wrapped()
    load_run_weights(tmp_path, again)
    x = dataset.test.inputs
    assert torch.equal(again.predict(x).mean, ensemble.predict(x).mean)
    resumed = wrapped()
    motet.fit(resumed, dataset, training, device="cpu", progress=False, folder=tmp_path)
    assert torch.equal(resumed.predict(x).mean, ensemble.predict(x).mean)


@pytest.mark.parametrize("method", [DeepEnsemble(members=2), EarlyExit(), MIMO(members=2)], ids=lambda m: m.name)
def test_anytime_and_budgeted_speak_in_own_units(method: Any) -> None:
    if isinstance(method, EarlyExit):
        net: nn.Module = nn.Sequential(*(nn.Sequential(nn.Linear(3, 3), nn.ReLU()) for _ in range(3)), nn.Linear(3, 1))
        ensemble = method.wrap(net, example=torch.zeros(1, 3), likelihood=Gaussian())
    else:
        ensemble = wrapped(method=method)
    ensemble.scale_targets(mean=MEAN, std=STD)
    x, z = standardised()
    steps = list(ensemble.anytime(x))
    for step in steps:
        assert 0 < float(step.mean.mean()) < 2 * MEAN
        torch.testing.assert_close(step.mean, step.standardised().mean.double() * STD + MEAN)
    torch.testing.assert_close(steps[-1].mean, ensemble.predict(x).mean)
    if ensemble.steps == 1:
        budget = Budget(thresholds=(), costs=(1.0,), unit="flops", expected_cost=1.0)
        found = ensemble.budgeted(x, budget, targets=z).prediction
        assert found.targets is not None
        torch.testing.assert_close(found.targets, z.double() * STD + MEAN)
        torch.testing.assert_close(found.mean, ensemble.predict(x).mean)


LIKELIHOODS = [Gaussian(), HeteroscedasticGaussian()]


@pytest.mark.parametrize("combination", ["mixture", "geometric"])
@pytest.mark.parametrize("likelihood", LIKELIHOODS, ids=lambda each: type(each).__name__)
@pytest.mark.parametrize("targets", [1, 3])
def test_everything_of_a_prediction_against_a_slow_reference(
    likelihood: Likelihood, combination: Any, targets: int
) -> None:
    torch.manual_seed(0)
    mean, std = [MEAN, -3.0, 0.0][:targets], [STD, 1e-3, 1.0][:targets]
    scale = TargetScale(mean=tuple(mean), std=tuple(std))
    outputs = torch.randn(5, 2, likelihood.outputs(targets), dtype=torch.float64)
    z = torch.randn(5, targets, dtype=torch.float64)
    prediction = Prediction(
        outputs_BMC=outputs,
        likelihood=likelihood,
        combination=combination,
        targets=scale.restore(z),
        target_scale=scale,
    )
    nlls, lows, highs = prediction.nll(), *prediction.interval(0.8)
    for row in range(5):
        nll = 0.0
        log_density = torch.zeros(2, dtype=torch.float64)
        for k in range(targets):
            components = outputs[row]
            if combination == "geometric":
                components = likelihood.geometric(outputs)[row].unsqueeze(0)
            means = likelihood.mean(components)[:, k] * std[k] + mean[k]
            stds = likelihood.variance(components)[:, k].sqrt() * std[k]
            normal = torch.distributions.Normal(means, stds)
            assert prediction.mean[row, k].item() == pytest.approx(means.mean().item())
            second = (stds.square() + means.square()).mean() - means.mean().square()
            assert prediction.variance[row, k].item() == pytest.approx(second.item(), rel=1e-6)
            assert prediction.std[row, k].item() == pytest.approx(second.item() ** 0.5, rel=1e-6)
            for ends, level in ((lows, 0.1), (highs, 0.9)):
                assert normal.cdf(ends[row, k]).mean().item() == pytest.approx(level, abs=1e-9)
            y = z[row, k] * std[k] + mean[k]
            log_density = log_density[: len(means)] + normal.log_prob(y)
        nll = -(log_density.exp().mean().log().item())
        assert nlls[row].item() == pytest.approx(nll)
    many = replace(prediction, outputs_BMC=outputs.repeat(4000, 1, 1), targets=None)
    draws = many.sample(generator=torch.Generator().manual_seed(0)).view(4000, 5, targets)
    assert bool(((draws.mean(dim=0) - prediction.mean).abs() < 5 * prediction.std / 4000**0.5).all())
    torch.testing.assert_close(draws.std(dim=0), prediction.std, rtol=0.1, atol=0.0)


def test_means_of_large_numbers_are_not_rounded() -> None:
    """1.7e9 seconds differ by less than float32 can represent there."""
    scale = TargetScale(mean=(1.7e9,), std=(2.0,))
    outputs = torch.tensor([[[0.25]]])
    prediction = Prediction(outputs_BMC=outputs, likelihood=Gaussian(), target_scale=scale)
    assert prediction.mean.item() == 1.7e9 + 0.5


def test_targets_come_back_to_the_bit() -> None:
    scale = TargetScale(mean=(2000.0, 1e6), std=(5.0, 3e3))
    z = torch.randn(1000, 2, generator=torch.Generator().manual_seed(0))
    z[0] = 0.0
    back = Prediction(
        outputs_BMC=torch.zeros(1000, 1, 2), likelihood=Gaussian(), targets=scale.restore(z), target_scale=scale
    ).standardised()
    assert back.target_scale is None
    assert torch.equal(back.targets, z)  # type: ignore[arg-type]


@pytest.mark.parametrize("likelihood", LIKELIHOODS, ids=lambda each: type(each).__name__)
def test_scores_are_those_that_in_own_units_converts(likelihood: Likelihood) -> None:
    """To the last digit, because reports did so before predictions had a scale."""
    dataset = data(target_mean=MEAN, target_std=STD)
    ensemble = wrapped(likelihood)
    x, z = dataset.test.inputs, dataset.test.targets
    plain = score(ensemble.predict(x, targets=z))
    by_member = member_scores(ensemble.predict(x, targets=z))
    ensemble.scale_targets(mean=MEAN, std=STD)
    prediction = ensemble.predict(x, targets=z)
    assert score(prediction) == dataset.spec.in_own_units(plain)
    assert prediction.targets is not None
    assert score(prediction)["rmse"] == pytest.approx(float(rmse(prediction.mean, prediction.targets)), rel=1e-6)
    assert score(prediction)["nll"] == pytest.approx(float(prediction.nll().mean()), rel=1e-6)
    for name, values in member_scores(prediction).items():
        assert values == [dataset.spec.in_own_units({name: value})[name] for value in by_member[name]]
    row = evaluate_clean(ensemble, dataset)
    for name in ("rmse", "nll", "crps"):
        assert row[name] == pytest.approx(score(prediction)[name], rel=1e-6)
    for target in ("rmse", "nll"):
        whole = best_of_random(prediction, 3, target)  # type: ignore[arg-type]
        assert whole.score == pytest.approx(score(prediction)[target], rel=1e-5)


def test_a_split_is_predicted_with_the_scale_of_its_data() -> None:
    """Also by an ensemble trained in a loop of one's own, which does not know it."""
    dataset = data(target_mean=MEAN, target_std=STD)
    ensemble = wrapped()
    unknown = predict_split(ensemble, dataset, dataset.test)
    assert unknown.target_scale == dataset.spec.target_scale
    assert evaluate_clean(ensemble, dataset)["rmse"] == pytest.approx(score(unknown)["rmse"])
    # Targets that another data set stores with another scale are still compared in own units.
    ensemble.scale_targets(mean=MEAN, std=STD)
    other = Dataset.from_tensors(
        "other",
        **{
            name: (dataset.test.inputs, (dataset.test.targets.double() * STD + MEAN - 1000) / 100)
            for name in ("train", "validation", "test")
        },  # type: ignore[arg-type]
        target_mean=1000.0,
        target_std=100.0,
    )
    assert score(predict_split(ensemble, other, other.test)) == pytest.approx(score(unknown), rel=1e-4)


def test_a_saved_prediction_keeps_its_scale(tmp_path: Path) -> None:
    scale = TargetScale(mean=(MEAN, 0.1), std=(STD, 1 / 3))
    prediction = Prediction(
        outputs_BMC=torch.randn(4, 2, 2),
        likelihood=Gaussian(),
        targets=scale.restore(torch.randn(4, 2)),
        target_scale=scale,
    )
    prediction.save(tmp_path / "p.safetensors")
    loaded = Prediction.load(tmp_path / "p.safetensors")
    assert loaded.target_scale == scale
    assert torch.equal(loaded.mean, prediction.mean)
    assert score(loaded) == score(prediction)
    plain = Prediction(outputs_BMC=torch.randn(4, 2, 2), likelihood=Gaussian())
    plain.save(tmp_path / "q.safetensors")
    assert Prediction.load(tmp_path / "q.safetensors").target_scale is None


def test_classes_and_counts_have_no_scale() -> None:
    x, _ = standardised()
    for likelihood, y in ((Categorical(), torch.randint(2, (ROWS,))), (Poisson(), torch.ones(ROWS, 2))):
        ensemble = wrapped(likelihood, targets=2)
        prediction = ensemble.predict(x, targets=y)
        assert prediction.target_scale is None
        assert prediction.targets is y
        assert prediction.mean.dtype == torch.float32
    count = Prediction(outputs_BMC=torch.zeros(1, 1, 1), likelihood=Poisson())
    assert count.quantile(0.5).item() == 1.0
    assert count.interval(0.9)[0].item() == 0.0
    labels = Prediction(outputs_BMC=torch.zeros(2, 1, 2), likelihood=Bernoulli())
    torch.testing.assert_close(labels.variance, torch.full((2, 2), 0.25))
    with pytest.raises(InputError, match="order"):
        Prediction(outputs_BMC=torch.zeros(1, 1, 2), likelihood=Categorical()).quantile(0.5)


@pytest.mark.parametrize(
    ("mean", "std"),
    [(0.0, 0.0), (float("nan"), 1.0), (0.0, float("inf")), (0.0, -1.0), ((1.0, 2.0), (1.0, 2.0, 3.0)), ((), ())],
)
def test_a_scale_that_cannot_be_is_refused(mean: Any, std: Any) -> None:
    ensemble = wrapped()
    with pytest.raises(InputError, match="target_mean must be finite"):
        ensemble.scale_targets(mean=mean, std=std)
    assert ensemble.target_scale is None


def test_a_scale_is_given_in_any_form(unchecked: None) -> None:
    scales = [
        TargetScale.of((1.0, 2.0), (3.0, 4.0)),
        TargetScale.of([1, 2], [3, 4]),
        TargetScale.of(torch.tensor([1.0, 2.0]), torch.tensor([3.0, 4.0])),
        TargetScale.of(np.array([1.0, 2.0]), np.array([3.0, 4.0])),  # type: ignore[arg-type]
    ]
    assert all(scale == scales[0] for scale in scales)
    assert TargetScale.of(0.0, (2.0, 3.0)) == TargetScale(mean=(0.0, 0.0), std=(2.0, 3.0))
    assert TargetScale.of(torch.tensor(0.0), 1) is None
    with pytest.raises(InputError, match="need 2 numbers per row"):
        TargetScale(mean=(0.0, 0.0), std=(2.0, 3.0)).restore(torch.zeros(3))
    ensemble = wrapped(targets=2)
    ensemble.scale_targets(mean=(0.0, 1.0), std=(2.0, 3.0))
    with pytest.raises(InputError, match="need 2 numbers per row"):
        ensemble.predict(torch.zeros(4, 3), targets=torch.zeros(4, 3))


@pytest.mark.parametrize(("method", "value"), [("quantile", 0.0), ("quantile", 1.5), ("interval", 1.0)])
def test_levels_outside_0_and_1_are_refused(method: str, value: float) -> None:
    prediction = Prediction(outputs_BMC=torch.zeros(1, 1, 1), likelihood=Gaussian())
    with pytest.raises(InputError, match="between 0 and 1"):
        getattr(prediction, method)(value)


def test_targets_in_own_units_are_refused_where_standardised_ones_are_expected() -> None:
    ensemble = wrapped()
    x, z = standardised()
    own = z * STD + MEAN
    assert ensemble.predict(x, targets=own).targets is own  # without a scale, any unit
    ensemble.scale_targets(mean=MEAN, std=STD)
    with pytest.raises(InputError, match="must be standardised"):
        ensemble.predict(x, targets=own)
    ensemble.predict(x, targets=(own - MEAN) / STD)
    ensemble.predict(x[:1], targets=torch.tensor([[30.0]]))  # an outlier
    ensemble.predict(x[:1], targets=torch.tensor([[float("nan")]]))
    two = wrapped(targets=2)
    two.scale_targets(mean=(0.0, MEAN), std=(1.0, STD))
    with pytest.raises(InputError, match="must be standardised"):
        two.predict(x, targets=torch.cat([z, own], dim=1))
