"""CRPS, intervals and deviance against numeric integration and plain sums."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch import Tensor

from motet.errors import InputError
from motet.likelihoods import (
    Bernoulli,
    Categorical,
    Combination,
    Gaussian,
    HeteroscedasticGaussian,
    Likelihood,
    Poisson,
)
from motet.metrics import (
    RunningScores,
    coverage,
    coverage_error,
    crps,
    deviance,
    ece,
    gaussian_crps,
    interval_width,
    member_scores,
    pit,
    score,
)
from motet.metrics.numbers import LEVELS
from motet.prediction import Prediction

NUMBERS: list[Likelihood] = [Gaussian(), HeteroscedasticGaussian(), Poisson()]
EVERY: list[Likelihood] = [*NUMBERS, Bernoulli(), Categorical()]
both_ways = pytest.mark.parametrize("combination", ["mixture", "geometric"])
numbers = pytest.mark.parametrize("likelihood", NUMBERS, ids=str)


def some(
    likelihood: Likelihood, rows: int = 6, members: int = 3, targets: int = 1, combination: Combination = "mixture"
) -> Prediction:
    torch.manual_seed(3)
    outputs = torch.randn(rows, members, likelihood.outputs(targets), dtype=torch.float64)
    y = likelihood.sample(2 * torch.randn(rows, likelihood.outputs(targets), dtype=torch.float64))
    return Prediction(outputs_BMC=outputs, likelihood=likelihood, targets=y, combination=combination)


def frozen(prediction: Prediction, row: int) -> list[Any]:
    """scipy's distributions whose mixture the combined prediction of one target is."""
    likelihood, eta = prediction.likelihood, prediction.outputs_BMC[row]
    eta = likelihood.geometric(eta.unsqueeze(0)) if prediction.combination == "geometric" else eta
    if isinstance(likelihood, Poisson):
        return [stats.poisson(math.exp(one)) for one in eta[:, 0].tolist()]
    if isinstance(likelihood, Bernoulli):
        return [stats.bernoulli(1 / (1 + math.exp(-one))) for one in eta[:, 0].tolist()]
    pairs = zip(likelihood.mean(eta)[:, 0].tolist(), likelihood.variance(eta)[:, 0].sqrt().tolist(), strict=True)
    return [stats.norm(mean, std) for mean, std in pairs]


def slow_crps(members: list[Any], y: float, *, whole: bool) -> float:
    def cdf(x: float) -> float:
        return float(np.mean([one.cdf(x) for one in members]))

    if whole:
        return sum((cdf(k) - (k >= y)) ** 2 for k in range(400))
    below = integrate.quad(lambda x: cdf(x) ** 2, -40, y, epsabs=1e-11, limit=400)[0]
    above = integrate.quad(lambda x: (1 - cdf(x)) ** 2, y, 40, epsabs=1e-11, limit=400)[0]
    return float(below + above)


@both_ways
@pytest.mark.parametrize("likelihood", [*NUMBERS, Bernoulli()], ids=str)
@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.slow
def test_crps_is_the_integral(likelihood: Likelihood, combination: Combination, members: int) -> None:
    prediction = some(likelihood, members=members, combination=combination)
    assert prediction.targets is not None
    whole = isinstance(likelihood, Poisson | Bernoulli)
    each = [slow_crps(frozen(prediction, row), float(prediction.targets[row]), whole=whole) for row in range(6)]
    assert crps(prediction).item() == pytest.approx(sum(each) / 6, rel=1e-8)


@pytest.mark.parametrize("y", [0.0, 3.0, 60.0, 5000.0])
def test_the_crps_of_counts_reaches_as_far_as_the_count(y: float) -> None:
    eta = torch.tensor(
        [[[math.log(4.0)], [math.log(900.0)]], [[-math.inf], [-50.0]], [[math.log(2e3)], [7.0]]]
    ).double()
    prediction = Prediction(outputs_BMC=eta, likelihood=Poisson(), targets=torch.full((3, 1), y).double())
    k = np.arange(9000)
    total = 0.0
    for row in eta[..., 0].exp().tolist():
        total += ((np.mean([stats.poisson.cdf(k, rate) for rate in row], axis=0) - (k >= y)) ** 2).sum()
    assert crps(prediction).item() == pytest.approx(total / 3, rel=1e-9)


def test_very_large_rates_are_normal() -> None:
    def at(rate: float) -> float:
        eta, y = (
            torch.full((1, 1, 1), math.log(rate)).double(),
            torch.tensor([[rate + math.sqrt(rate)]]).double().round(),
        )
        return crps(Prediction(outputs_BMC=eta, likelihood=Poisson(), targets=y)).item() / math.sqrt(rate)

    assert at(0.9e6) == pytest.approx(at(1.1e6), rel=2e-3)
    eta = torch.tensor([[[800.0]]]).double()
    assert crps(Prediction(outputs_BMC=eta, likelihood=Poisson(), targets=torch.ones(1, 1).double())) == math.inf


def test_the_closed_form_is_the_mean_absolute_difference() -> None:
    """``E|X - y| - E|X - X'| / 2``, from draws."""
    torch.manual_seed(0)
    mean, std = torch.tensor([-1.0, 0.5, 2.0]).double(), torch.tensor([0.3, 1.0, 0.1]).double()
    draw = torch.randint(3, (2, 400_000))
    x = mean[draw] + std[draw] * torch.randn(2, 400_000).double()
    slow = (x[0] - 0.7).abs().mean() - 0.5 * (x[0] - x[1]).abs().mean()
    ours = gaussian_crps(mean.view(1, 3, 1), std.view(1, 3, 1), torch.tensor([[0.7]]).double())
    assert ours.item() == pytest.approx(slow.item(), abs=5e-3)


@both_ways
@numbers
def test_intervals_are_scipys(likelihood: Likelihood, combination: Combination) -> None:
    prediction = some(likelihood, combination=combination)
    assert prediction.targets is not None
    whole = isinstance(likelihood, Poisson)
    inside, widths = np.zeros(4), 0.0
    for row, y in enumerate(prediction.targets[:, 0].tolist()):
        members = frozen(prediction, row)
        high = np.mean([one.cdf(y) for one in members])
        low = np.mean([one.cdf(y - 1) for one in members]) if whole else high
        # Between the two, evenly: the fine grid is the randomised integral transform's expectation.
        u = low + (high - low) * (np.arange(200_000) + 0.5) / 200_000
        inside += [np.mean(abs(u - 0.5) <= level / 2) for level in LEVELS]
        grid = np.arange(0, 300) if whole else np.linspace(-12, 12, 240_001)
        cdf = np.mean([one.cdf(grid) for one in members], axis=0)
        widths += grid[np.searchsorted(cdf, 0.95)] - grid[np.searchsorted(cdf, 0.05)]
        assert pit(prediction)[row].item() == pytest.approx((low + high) / 2)
    np.testing.assert_allclose(coverage(prediction).numpy(), inside / 6, atol=2e-5)
    assert interval_width(prediction).item() == pytest.approx(widths / 6, abs=3e-4)
    expected = np.mean(np.abs(inside / 6 - LEVELS))
    assert coverage_error(coverage(prediction)).item() == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize("likelihood", [Gaussian(), HeteroscedasticGaussian(), Poisson()], ids=str)
def test_a_calibrated_prediction_has_the_coverage_of_its_level(likelihood: Likelihood) -> None:
    torch.manual_seed(0)
    outputs = 0.5 * torch.randn(20_000, 1, likelihood.outputs(1)).double()
    prediction = Prediction(outputs_BMC=outputs, likelihood=likelihood, targets=likelihood.sample(outputs[:, 0]))
    assert coverage(prediction).tolist() == pytest.approx(list(LEVELS), abs=0.012)
    if isinstance(likelihood, Poisson):  # small counts, of which an interval of whole numbers would hold too many
        assert ((pit(prediction) - 0.5).abs() <= 0.25).double().mean() > 0.52


def test_certain_predictions_have_the_coverage_of_what_they_say() -> None:
    eta = torch.tensor([[[-800.0]], [[-800.0]]]).double()  # no count but 0 can be
    prediction = Prediction(outputs_BMC=eta, likelihood=Poisson(), targets=torch.tensor([[0.0], [5.0]]).double())
    assert coverage(prediction).tolist() == pytest.approx([level / 2 for level in LEVELS])
    assert interval_width(prediction) == 0


def test_the_deviance_is_twice_what_the_likelihood_lacks() -> None:
    y, mean = torch.tensor([[0.0, 1.0], [5.0, 30.0]]).double(), torch.tensor([[0.5, 2.0], [4.0, 30.0]]).double()
    counts, means = y.numpy(), mean.numpy()
    lacking = stats.poisson.logpmf(counts, np.maximum(counts, 1e-300)) - stats.poisson.logpmf(counts, means)
    assert deviance(mean, y).item() == pytest.approx(2 * lacking.mean())
    assert deviance(y, y) == 0
    assert deviance(torch.zeros(1, 1), torch.ones(1)) == math.inf
    with pytest.raises(InputError, match="must not be negative"):
        deviance(mean, -y)
    with pytest.raises(InputError, match="NaN"):
        deviance(mean * math.nan, y)


@both_ways
def test_binary_labels_are_scored_as_two_classes(combination: Combination) -> None:
    labels = some(Bernoulli(), rows=40, targets=3, combination=combination)
    assert labels.targets is not None
    scores = score(labels)
    p, y = labels.mean, labels.targets
    assert scores["accuracy"] == pytest.approx(((p > 0.5) == (y == 1)).double().mean().item())
    assert scores["brier"] == pytest.approx((2 * (p - y).square()).mean().item())
    assert scores["nll"] == pytest.approx(labels.nll().mean().item())
    flat = p.reshape(-1)
    assert scores["ece"] == pytest.approx(ece(torch.stack([1 - flat, flat], 1), y.reshape(-1).long()).item())
    member_p = labels.member_means
    differ = [((member_p[:, i] > 0.5) != (member_p[:, j] > 0.5)).double().mean() for i in range(3) for j in range(i)]
    assert scores["disagreement"] == pytest.approx(sum(float(value) for value in differ) / 3)
    # One label is the same as two classes in every score.
    one = some(Bernoulli(), rows=40, combination=combination)
    assert one.targets is not None
    two = torch.cat([torch.zeros_like(one.outputs_BMC), one.outputs_BMC], dim=-1)
    classes = replace(one, outputs_BMC=two, likelihood=Categorical(), targets=one.targets[:, 0].long())
    assert score(one) == pytest.approx(score(classes), rel=1e-9)
    assert member_scores(one).keys() == member_scores(classes).keys()


@pytest.mark.parametrize("likelihood", EVERY, ids=str)
@both_ways
@pytest.mark.slow
def test_every_likelihood_is_scored_at_the_edges(likelihood: Likelihood, combination: Combination) -> None:
    for rows, members, targets in ((1, 1, 2), (1, 3, 2), (5, 1, 2), (4, 2, 3)):
        prediction = some(likelihood, rows, members, targets, combination)
        scores, own = score(prediction), member_scores(prediction)
        assert all(len(values) == members for values in own.values())
        for name, values in own.items():
            alone = score(replace(prediction, outputs_BMC=prediction.outputs_BMC[:, :1]))
            assert values[0] == pytest.approx(alone[name], rel=1e-6)
            if f"member_{name}" in scores:
                assert scores[f"member_{name}"] == pytest.approx(sum(values) / members)
        running = RunningScores()
        for row in range(rows):
            assert prediction.targets is not None
            part = replace(
                prediction,
                outputs_BMC=prediction.outputs_BMC[row : row + 1],
                targets=prediction.targets[row : row + 1],
            )
            running.add(part)
        result = running.result()
        result.pop("aurc", None)
        assert result == pytest.approx({name: scores[name] for name in result}, rel=1e-6)


@pytest.mark.parametrize("likelihood", EVERY, ids=str)
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_lower_precision_is_scored_alike(likelihood: Likelihood, dtype: torch.dtype) -> None:
    prediction = some(likelihood, rows=20, targets=2)
    less = replace(prediction, outputs_BMC=prediction.outputs_BMC.to(dtype))
    assert score(less) == pytest.approx(score(prediction), rel=0.05, abs=0.02)


@pytest.mark.parametrize("likelihood", EVERY, ids=str)
@pytest.mark.parametrize("scored", [score, member_scores], ids=["score", "member_scores"])
def test_nan_and_what_does_not_fit_is_refused(likelihood: Likelihood, scored: Any) -> None:
    good = some(likelihood, targets=2)
    assert good.targets is not None
    bad = good.outputs_BMC.clone()
    bad[2, 1, 0] = math.nan
    with pytest.raises(InputError, match="NaN"):
        scored(replace(good, outputs_BMC=bad))
    with pytest.raises(InputError, match="needs targets"):
        scored(replace(good, targets=None))
    with pytest.raises(InputError, match="at least one row"):
        scored(replace(good, outputs_BMC=good.outputs_BMC[:0], targets=good.targets[:0]))
    with pytest.raises(InputError):
        scored(replace(good, targets=good.targets.unsqueeze(1)))


@pytest.mark.parametrize("function", [crps, coverage, interval_width, pit])
def test_what_has_no_order_has_no_intervals(function: Any) -> None:
    with pytest.raises(InputError, match="an order"):
        function(some(Categorical(), targets=3))
    with pytest.raises(InputError, match="needs targets"):
        function(replace(some(Gaussian()), targets=None))
    with pytest.raises(InputError, match="NaN"):
        function(replace(some(Gaussian()), outputs_BMC=torch.full((6, 1, 1), math.nan)))


def test_levels_lie_between_0_and_1() -> None:
    for level in (0.0, 1.0, 1.5):
        with pytest.raises(InputError, match="between 0 and 1"):
            coverage(some(Gaussian()), (level,))


@numbers
def test_scores_do_not_change_with_the_order_of_members_and_rows(likelihood: Likelihood) -> None:
    prediction = some(likelihood, rows=30, targets=2)
    y: Tensor | None = prediction.targets
    assert y is not None
    turned = replace(prediction, outputs_BMC=prediction.outputs_BMC.flip(0, 1), targets=y.flip(0))
    assert score(turned) == pytest.approx(score(prediction))
