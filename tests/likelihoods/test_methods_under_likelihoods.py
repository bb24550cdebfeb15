"""Every method under every likelihood, on a tiny network."""

import math
from pathlib import Path

import pytest
import torch

import motet
from motet.errors import InputError
from motet.likelihoods import (
    Bernoulli,
    Categorical,
    Gaussian,
    HeteroscedasticGaussian,
    Likelihood,
    NaturalExponentialFamily,
    Poisson,
)
from motet.methods import METHODS, NCL, EarlyExit, Method, ModularNetwork
from motet.metrics import score
from motet.prediction import Prediction

EVERY: list[Likelihood] = [Bernoulli(), Categorical(), Gaussian(), HeteroscedasticGaussian(), Poisson()]


def tiny(likelihood: Likelihood, targets: int = 3) -> torch.nn.Module:
    return motet.models.mlp(input_shape=(4,), num_classes=likelihood.outputs(targets), hidden=(8, 8)).double()


@pytest.mark.slow
@pytest.mark.parametrize("likelihood", EVERY, ids=lambda each: type(each).__name__)
@pytest.mark.parametrize("method", [kind() for kind in METHODS.values()], ids=lambda method: method.name)
def test_every_method_learns_and_predicts_under_every_likelihood(
    method: Method, likelihood: Likelihood, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    example = torch.zeros(1, 4).double()
    if isinstance(method, NCL) and not isinstance(likelihood, Gaussian):
        with pytest.raises(InputError, match="is for regression"):
            method.wrap(lambda: tiny(likelihood), example=example, likelihood=likelihood)
        return
    if isinstance(method, ModularNetwork) and not isinstance(likelihood, NaturalExponentialFamily):
        with pytest.raises(InputError, match="needs a natural exponential family"):
            method.wrap(lambda: tiny(likelihood), example=example, likelihood=likelihood)
        return
    ensemble = method.wrap(lambda: tiny(likelihood), example=example, likelihood=likelihood)
    x = torch.randn(8, 4).double()
    y = likelihood.sample(torch.randn(8, likelihood.outputs(3)).double())
    ensemble.train()
    loss = ensemble.loss(x, y)
    assert loss.isfinite()
    loss.backward()
    gradients = [value.grad for value in ensemble.parameters() if value.requires_grad]
    assert all(gradient is not None and gradient.isfinite().all() for gradient in gradients)

    ensemble.eval()
    prediction = ensemble.predict(x, targets=y)
    assert prediction.outputs_BMC.shape == (8, ensemble.members, likelihood.outputs(3))
    assert prediction.mean.shape == (8, 3)
    assert prediction.member_means.shape == (8, ensemble.members, 3)
    assert prediction.nll().isfinite().all()
    assert math.isfinite(score(prediction)["nll"])
    folded = ensemble.fold()
    torch.testing.assert_close(folded.predict(x).outputs_BMC, prediction.outputs_BMC)

    prediction.save(tmp_path / "p.safetensors")
    loaded = Prediction.load(tmp_path / "p.safetensors")
    assert loaded.likelihood == likelihood
    assert torch.equal(loaded.mean, prediction.mean)
    assert torch.equal(loaded.nll(), prediction.nll())


@pytest.mark.parametrize("likelihood", [each for each in EVERY if each != Categorical()], ids=str)
def test_a_term_between_class_probabilities_refuses_other_likelihoods(likelihood: Likelihood) -> None:
    method = EarlyExit(beta=0.1)
    ensemble = method.wrap(lambda: tiny(likelihood), example=torch.zeros(1, 4).double(), likelihood=likelihood)
    y = likelihood.sample(torch.randn(8, likelihood.outputs(3)).double())
    with pytest.raises(InputError, match=r"beta.*needs class probabilities"):
        ensemble.loss(torch.randn(8, 4).double(), y)


@pytest.mark.parametrize(
    ("likelihood", "y", "message"),
    [
        (Poisson(), [[1.0], [-2.0]], "must not be negative"),
        (Poisson(), [[1.0], [0.5]], "must be integers"),
        (Bernoulli(), [[1.0], [2.0]], "must be 0 or 1"),
        (HeteroscedasticGaussian(), [[1.0], [math.nan]], "must be finite"),
        (HeteroscedasticGaussian(), [[1.0, 2.0], [1.0, 2.0]], "1 target per row"),
    ],
)
def test_a_loop_of_the_users_own_is_told_of_bad_targets(
    likelihood: Likelihood, y: list[list[float]], message: str
) -> None:
    ensemble = motet.MIMO(members=2).wrap(
        tiny(likelihood, targets=1), example=torch.zeros(1, 4).double(), likelihood=likelihood
    )
    with pytest.raises(InputError, match=message):
        ensemble.loss(torch.randn(2, 4).double(), torch.tensor(y).double())


def test_a_network_with_an_odd_number_of_outputs_has_no_variances() -> None:
    ensemble = motet.Single().wrap(
        motet.models.mlp(input_shape=(4,), num_classes=3, hidden=(8,)),
        example=torch.zeros(1, 4),
        likelihood=HeteroscedasticGaussian(),
    )
    with pytest.raises(InputError, match="even number of outputs"):
        ensemble.loss(torch.randn(2, 4), torch.randn(2, 1))


@pytest.mark.slow
@pytest.mark.parametrize("likelihood", [HeteroscedasticGaussian(), Poisson()], ids=str)
def test_a_little_training_finds_the_mean_and_the_spread(likelihood: Likelihood) -> None:
    torch.manual_seed(0)
    x = torch.rand(256, 1).double() * 2
    y = torch.poisson(torch.exp(x)) if isinstance(likelihood, Poisson) else x + (0.1 + 0.4 * x) * torch.randn_like(x)
    net = motet.models.mlp(input_shape=(1,), num_classes=likelihood.outputs(1), hidden=(32,)).double()
    ensemble = motet.Single().wrap(net, example=x[:1], likelihood=likelihood)
    optimizer = torch.optim.Adam(ensemble.parameters(), lr=0.02)
    for _ in range(250):
        optimizer.zero_grad()
        ensemble.loss(x, y).backward()
        optimizer.step()
    at = torch.tensor([[0.25], [1.75]]).double()
    eta = ensemble.predict(at).outputs_BMC[:, 0]
    if isinstance(likelihood, Poisson):
        assert likelihood.mean(eta).flatten().tolist() == pytest.approx(at.exp().flatten().tolist(), rel=0.25)
    else:
        assert likelihood.mean(eta).flatten().tolist() == pytest.approx([0.25, 1.75], abs=0.25)
        assert likelihood.variance(eta).sqrt().flatten().tolist() == pytest.approx([0.2, 0.8], rel=0.35)
