"""Laws of all likelihoods, against torch.distributions and explicit sums."""

import math

import pytest
import torch
from torch import Tensor
from torch import distributions as td

from motet.errors import InputError
from motet.likelihoods import (
    Bernoulli,
    Categorical,
    Combination,
    Gaussian,
    HeteroscedasticGaussian,
    Likelihood,
    NaturalExponentialFamily,
    Poisson,
)
from motet.likelihoods.heteroscedastic import VARIANCE_FLOOR

FAMILY: list[NaturalExponentialFamily] = [Bernoulli(), Categorical(), Gaussian(), Poisson()]
NUMBERS: list[Likelihood] = [Bernoulli(), Gaussian(), HeteroscedasticGaussian(), Poisson()]
EVERY: list[Likelihood] = [*NUMBERS, Categorical()]
family = pytest.mark.parametrize("likelihood", FAMILY, ids=str)
every = pytest.mark.parametrize("likelihood", EVERY, ids=str)
numbers = pytest.mark.parametrize("likelihood", NUMBERS, ids=str)


def theirs(likelihood: Likelihood, eta: Tensor) -> td.Distribution:
    match likelihood:
        case Bernoulli():
            return td.Bernoulli(logits=eta)
        case Categorical():
            return td.Categorical(logits=eta)
        case Gaussian():
            return td.Normal(eta, torch.ones_like(eta))
        case Poisson():
            return td.Poisson(eta.exp())
        case _:
            mean, raw = eta.chunk(2, dim=-1)
            return td.Normal(mean, ((1 + raw.exp()).log() + 1e-6).sqrt())


def outputs(likelihood: Likelihood, *axes: int, targets: int = 4, dtype: torch.dtype = torch.float64) -> Tensor:
    return (1.5 * torch.randn(*axes, likelihood.outputs(targets), dtype=torch.float64)).to(dtype)


def log_prob(likelihood: Likelihood, eta: Tensor, y: Tensor) -> Tensor:
    each = theirs(likelihood, eta).log_prob(y)
    return each if isinstance(likelihood, Categorical) else each.sum(dim=-1)


@every
@pytest.mark.parametrize("axes", [(1,), (5,), (4, 2), (3, 4, 2)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_everything_is_torchs(likelihood: Likelihood, axes: tuple[int, ...], dtype: torch.dtype) -> None:
    eta = outputs(likelihood, *axes, dtype=dtype)
    y = likelihood.sample(eta)
    assert y.shape == (axes if isinstance(likelihood, Categorical) else (*axes, 4))
    likelihood.check_targets(y.reshape(-1, *y.shape[len(axes) :]), outputs=eta.shape[-1])
    nll = likelihood.nll(eta, y)
    assert nll.shape == axes
    assert nll.dtype == dtype
    torch.testing.assert_close(nll, -log_prob(likelihood, eta, y))
    torch.testing.assert_close(likelihood.mean_nll(eta, y), nll.mean())
    torch.testing.assert_close(
        likelihood.mean_nll(eta, y, constants=False), likelihood.nll(eta, y, constants=False).mean()
    )
    other = theirs(likelihood, eta)
    if isinstance(likelihood, Categorical):
        torch.testing.assert_close(likelihood.mean(eta), other.probs)
    else:
        torch.testing.assert_close(likelihood.mean(eta), other.mean)
        torch.testing.assert_close(likelihood.variance(eta), other.variance)


@every
def test_constants_are_constant(likelihood: Likelihood) -> None:
    first, second = outputs(likelihood, 6), outputs(likelihood, 6)
    y = likelihood.sample(first)
    gaps = [likelihood.nll(eta, y) - likelihood.nll(eta, y, constants=False) for eta in (first, second)]
    torch.testing.assert_close(gaps[0], gaps[1], atol=1e-12, rtol=1e-12)


@family
def test_gradients_are_mean_minus_target_and_the_normalisers_are_the_moments(
    likelihood: NaturalExponentialFamily,
) -> None:
    eta = outputs(likelihood, 7).requires_grad_()
    y = likelihood.sample(eta.detach())
    dense = torch.nn.functional.one_hot(y, 4).double() if isinstance(likelihood, Categorical) else y
    for constants in (True, False):
        (gradient,) = torch.autograd.grad(likelihood.nll(eta, y, constants=constants).sum(), eta)
        torch.testing.assert_close(gradient, likelihood.mean(eta) - dense, rtol=1e-12, atol=1e-12)
    (mean,) = torch.autograd.grad(likelihood.log_normaliser(eta).sum(), eta, create_graph=True)
    torch.testing.assert_close(mean, likelihood.mean(eta), rtol=1e-12, atol=1e-12)
    if isinstance(likelihood, Gaussian):
        variance = torch.ones_like(eta)
    else:
        variance = torch.stack(
            [torch.autograd.grad(mean[:, k].sum(), eta, retain_graph=True)[0][:, k] for k in range(4)], 1
        )
    torch.testing.assert_close(variance, likelihood.variance(eta), rtol=1e-12, atol=1e-12)


@family
def test_the_nll_is_the_normaliser_minus_the_statistic(likelihood: NaturalExponentialFamily) -> None:
    eta = outputs(likelihood, 7)
    y = likelihood.sample(eta)
    dense = torch.nn.functional.one_hot(y, 4).double() if isinstance(likelihood, Categorical) else y
    rest = likelihood.nll(eta, y, constants=False) - likelihood.log_normaliser(eta) + (eta * dense).sum(dim=-1)
    expected = 0.5 * y.square().sum(dim=-1) if isinstance(likelihood, Gaussian) else torch.zeros(7).double()
    torch.testing.assert_close(rest, expected, rtol=1e-10, atol=1e-10)


def test_the_heteroscedastic_gradients_are_autograds_of_torchs() -> None:
    eta = outputs(HeteroscedasticGaussian(), 9, targets=2).requires_grad_()
    y = torch.randn(9, 2).double()
    ours = torch.autograd.grad(HeteroscedasticGaussian().nll(eta, y).sum(), eta)[0]
    reference = torch.autograd.grad(-log_prob(HeteroscedasticGaussian(), eta, y).sum(), eta)[0]
    torch.testing.assert_close(ours, reference, rtol=1e-9, atol=1e-9)


@every
@pytest.mark.parametrize("size", [30.0, 80.0])
def test_large_outputs_stay_exact_in_single_precision(likelihood: Likelihood, size: float) -> None:
    eta = size * torch.tensor([[1.0, -1.0], [-1.0, 1.0], [1.0, 1.0], [-1.0, -1.0]])
    y = torch.tensor([0, 1, 1, 0])
    if not isinstance(likelihood, Categorical):
        y = torch.tensor([[0.0, 1.0], [1.0, 0.0], [1.0, 1.0], [0.0, 0.0]])
        y = y[:, :1] if isinstance(likelihood, HeteroscedasticGaussian) else y
    eta.requires_grad_()
    nll = likelihood.nll(eta, y)
    wide = eta.detach().double().requires_grad_()
    exact = likelihood.nll(wide, y.double() if y.is_floating_point() else y)
    torch.testing.assert_close(nll.double(), exact, rtol=1e-5, atol=1e-30)
    gradients = [torch.autograd.grad(value.sum(), at)[0] for value, at in ((nll, eta), (exact, wide))]
    torch.testing.assert_close(gradients[0].double(), gradients[1], rtol=1e-4, atol=1e-30)


def test_outputs_far_beyond_any_data_are_no_nan() -> None:
    eta = torch.tensor([[1e30], [-1e30]])
    assert Bernoulli().nll(eta, torch.tensor([[1.0], [0.0]])).tolist() == [0.0, 0.0]
    assert Bernoulli().nll(eta, torch.tensor([[0.0], [1.0]])).tolist() == pytest.approx([1e30, 1e30])
    assert Poisson().nll(eta, torch.zeros(2, 1)).tolist() == [math.inf, 0.0]
    raw = torch.tensor([[0.0, -1e30], [0.0, 1e30]], requires_grad=True)
    nll = HeteroscedasticGaussian().nll(raw, torch.ones(2, 1))
    assert nll[0].item() == pytest.approx(0.5 * (1e6 + math.log(VARIANCE_FLOOR) + math.log(2 * math.pi)))
    assert nll.isfinite().all()
    assert torch.autograd.grad(nll.sum(), raw)[0].isfinite().all()


@every
def test_samples_have_the_mean_and_the_variance(likelihood: Likelihood) -> None:
    torch.manual_seed(0)
    eta = outputs(likelihood, 3) / 2
    generator = torch.Generator().manual_seed(1)
    drawn = likelihood.sample(eta.expand(40_000, *eta.shape).contiguous(), generator=generator)
    if isinstance(likelihood, Categorical):
        drawn = torch.nn.functional.one_hot(drawn, 4)
    drawn = drawn.double()
    mean, variance = likelihood.mean(eta), likelihood.variance(eta)
    tolerance = 6 * (variance / 40_000).sqrt() + 1e-3
    assert ((drawn.mean(dim=0) - mean).abs() < tolerance).all()
    torch.testing.assert_close(drawn.var(dim=0), variance, rtol=0.15, atol=0.01)
    again = likelihood.sample(eta, generator=torch.Generator().manual_seed(1))
    assert torch.equal(again, likelihood.sample(eta, generator=torch.Generator().manual_seed(1)))


@numbers
@pytest.mark.parametrize("combination", ["mixture", "geometric"])
def test_the_distribution_function_sums_or_integrates_the_density(
    likelihood: Likelihood, combination: Combination
) -> None:
    eta_BMC = outputs(likelihood, 4, 3, targets=1)
    counts = isinstance(likelihood, Bernoulli | Poisson)
    grid = torch.arange(0, 400).double() if counts else torch.linspace(-30, 30, 60_001, dtype=torch.float64)
    grid = grid[:2] if isinstance(likelihood, Bernoulli) else grid
    step = 1.0 if counts else 1e-3
    for row in eta_BMC:
        many = row.expand(len(grid), *row.shape)
        density = (-likelihood.combined_nll(many, grid.unsqueeze(1), combination)).exp()
        assert density.sum() * step == pytest.approx(1.0, abs=1e-6)
        ours = likelihood.combined_cdf(many, grid.unsqueeze(1), combination).squeeze(1)
        summed = density.cumsum(0) * step - (0.0 if counts else 0.5 * step * density)
        torch.testing.assert_close(ours, summed, rtol=0, atol=1e-6)
    below = torch.full((4, 1), -1.0 if counts else -1e6).double()
    assert likelihood.combined_cdf(eta_BMC, below, combination).abs().max() == 0


@every
def test_the_mixture_is_the_mean_of_the_members_distributions(likelihood: Likelihood) -> None:
    eta_BMC = outputs(likelihood, 6, 3)
    y = likelihood.sample(eta_BMC[:, 0])
    torch.testing.assert_close(likelihood.mixture(eta_BMC), likelihood.mean(eta_BMC).mean(dim=1))
    probability = torch.stack([log_prob(likelihood, eta_BMC[:, m], y).exp() for m in range(3)]).mean(dim=0)
    torch.testing.assert_close(likelihood.mixture_nll(eta_BMC, y), -probability.log())


@every
def test_the_geometric_mean_is_the_normalised_one(likelihood: Likelihood) -> None:
    eta_BMC = outputs(likelihood, 5, 3, targets=3 if isinstance(likelihood, Categorical) else 1)
    if isinstance(likelihood, Categorical | Bernoulli):
        grid, step = torch.arange(3 if isinstance(likelihood, Categorical) else 2), 1.0
    elif isinstance(likelihood, Poisson):
        grid, step = torch.arange(400).double(), 1.0
    else:
        grid, step = torch.linspace(-40, 40, 80_001, dtype=torch.float64), 1e-3
    y = grid if isinstance(likelihood, Categorical) else grid.unsqueeze(1)
    for row in eta_BMC:
        members = torch.stack([log_prob(likelihood, eta.expand(len(grid), -1), y.double()) for eta in row])
        product = members.mean(dim=0).exp()
        expected = product / (product.sum() * step)
        combined = likelihood.geometric(row.unsqueeze(0)).expand(len(grid), -1)
        torch.testing.assert_close((-likelihood.nll(combined, y)).exp(), expected, rtol=1e-6, atol=1e-9)


@every
@pytest.mark.parametrize("shared", [True, False])
def test_depths_are_averaged_to_the_mean_and_where_it_can_be_the_variance(likelihood: Likelihood, shared: bool) -> None:
    eta = outputs(likelihood, 5, 2, 3)
    log_weights = torch.randn(*(() if shared else (2,)), 3).double().log_softmax(dim=-1)
    averaged = likelihood.average(eta, log_weights)
    assert averaged.shape == (5, 2, eta.shape[-1])
    weights = log_weights.exp().unsqueeze(-1)
    mean = (weights * likelihood.mean(eta)).sum(dim=-2)
    torch.testing.assert_close(likelihood.mean(averaged), mean)
    if isinstance(likelihood, HeteroscedasticGaussian):
        square = (weights * (likelihood.variance(eta) + likelihood.mean(eta).square())).sum(dim=-2)
        torch.testing.assert_close(likelihood.variance(averaged), square - mean.square())
    one = likelihood.average(eta[..., :1, :], torch.zeros(1).double())
    torch.testing.assert_close(one, eta[..., 0, :])


@every
@pytest.mark.parametrize("combination", ["mixture", "geometric"])
def test_equal_members_are_that_member(likelihood: Likelihood, combination: Combination) -> None:
    eta_BC = outputs(likelihood, 5)
    y = likelihood.sample(eta_BC)
    for members in (1, 4):
        eta_BMC = eta_BC.unsqueeze(1).expand(-1, members, -1)
        torch.testing.assert_close(likelihood.combined_nll(eta_BMC, y, combination), likelihood.nll(eta_BC, y))
        torch.testing.assert_close(likelihood.geometric(eta_BMC), eta_BC)


def test_extreme_depths_do_not_round_to_certainty() -> None:
    eta = torch.tensor([[[-200.0], [-150.0]], [[200.0], [150.0]]])
    averaged = Bernoulli().average(eta, torch.tensor([0.5, 0.5]).log())
    assert averaged.flatten().tolist() == pytest.approx([-150 - math.log(2), 150 + math.log(2)], rel=1e-6)


@numbers
def test_one_target_may_come_without_its_axis(likelihood: Likelihood) -> None:
    eta = outputs(likelihood, 4, 2, targets=1)
    y = likelihood.sample(eta)
    assert torch.equal(likelihood.nll(eta, y.squeeze(-1)), likelihood.nll(eta, y))
    likelihood.check_targets(y[:, 0, 0], outputs=eta.shape[-1])
    for wrong in (y.transpose(0, 1), y[:1], y[..., :0]):
        with pytest.raises(InputError, match="must have shape"):
            likelihood.nll(eta, wrong)


@pytest.mark.parametrize(
    ("likelihood", "y", "outputs", "message"),
    [
        (Poisson(), torch.tensor([1.0, -2.0]), 1, "must not be negative, but got -2"),
        (Poisson(), torch.tensor([1, -2]), 1, "must not be negative"),
        (Poisson(), torch.tensor([1.0, 0.5]), 1, "integers, but got 0.5"),
        (Poisson(), torch.tensor([1.0, math.nan]), 1, "must be finite"),
        (Poisson(), torch.tensor([1.0, math.inf]), 1, "must be finite"),
        (Poisson(), torch.tensor([True]), 1, "targets of bool"),
        (Poisson(), torch.zeros(2, 3), 2, "2 targets per row"),
        (Bernoulli(), torch.tensor([0, 1, 2]), 1, "must be 0 or 1, but got 2"),
        (Bernoulli(), torch.tensor([0, -1, 3]), 1, "must be 0 or 1, but got -1 and 1 others"),
        (Bernoulli(), torch.tensor([0.5]), 1, "0 or 1, but got 0.5"),
        (Bernoulli(), torch.tensor([math.nan]), 1, "0 or 1, but got nan"),
        (Bernoulli(), torch.tensor([1j]), 1, "must be 0 or 1, but got targets of complex numbers"),
        (Bernoulli(), torch.zeros(2, 3), 2, "2 targets per row"),
        (HeteroscedasticGaussian(), torch.zeros(2, 3), 4, "4 outputs needs 2 targets per row.*two outputs per target"),
        (HeteroscedasticGaussian(), torch.zeros(2), 3, "even number of outputs"),
        (HeteroscedasticGaussian(), torch.zeros(2).long(), 2, "floating-point"),
        (HeteroscedasticGaussian(), torch.tensor([math.nan]), 2, "must be finite"),
    ],
)
def test_targets_that_cannot_be_are_refused(likelihood: Likelihood, y: Tensor, outputs: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        likelihood.check_targets(y, outputs=outputs)


@pytest.mark.parametrize(("likelihood", "y"), [(Poisson(), [-2.0, 0.5, -1.0]), (Bernoulli(), [2.0, -1.0, 1.5])])
def test_impossible_targets_have_no_likelihood(likelihood: Likelihood, y: list[float]) -> None:
    eta = torch.zeros(3, 1)
    assert likelihood.nll(eta, torch.tensor(y)).isnan().all()
    assert likelihood.nll(eta, torch.tensor(y), constants=False).isnan().all()


def test_an_odd_number_of_outputs_is_no_mean_and_variance() -> None:
    with pytest.raises(InputError, match="even number of outputs"):
        HeteroscedasticGaussian().mean(torch.zeros(2, 3))


def test_classes_have_no_distribution_function() -> None:
    with pytest.raises(InputError, match="an order"):
        Categorical().cdf(torch.zeros(2, 3), torch.zeros(2).long())


def test_labels_may_be_booleans_and_counts_integers() -> None:
    eta = torch.randn(3, 1)
    Bernoulli().check_targets(torch.tensor([True, False, True]), outputs=1)
    assert torch.equal(
        Bernoulli().nll(eta, torch.tensor([True, False, True])), Bernoulli().nll(eta, torch.tensor([1.0, 0.0, 1.0]))
    )
    Poisson().check_targets(torch.tensor([0, 3, 5]), outputs=1)
    assert torch.equal(Poisson().nll(eta, torch.tensor([0, 3, 5])), Poisson().nll(eta, torch.tensor([0.0, 3.0, 5.0])))
