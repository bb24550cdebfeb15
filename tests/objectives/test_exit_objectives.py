"""Losses over exits, against loops over rows, members and depths."""

import math

import pytest
import torch
from torch import Tensor

from motet.errors import InputError
from motet.likelihoods import Categorical, Gaussian, Likelihood
from motet.objectives.depth import DepthELBO, DepthMarginalLikelihood, ExitSum
from motet.types import Progress

B, M, D, C = 5, 2, 3, 4
LIKELIHOODS = pytest.mark.parametrize("likelihood", [Categorical(), Gaussian()], ids=str)


def problem(likelihood: Likelihood, depths: int = D) -> tuple[Tensor, Tensor, Tensor]:
    exits_BMDC = torch.randn(B, M, depths, C, dtype=torch.float64, requires_grad=True)
    targets_BM = torch.randint(C, (B, M)) if likelihood == Categorical() else torch.randn(B, M, C).double()
    logits_MD = torch.randn(M, depths, dtype=torch.float64, requires_grad=True)
    return exits_BMDC, targets_BM, logits_MD


def slow_nll(eta: Tensor, y: Tensor) -> Tensor:
    if y.ndim == 0:
        return -(eta[y] - eta.exp().sum().log())
    return sum((eta[k] - y[k]) ** 2 / 2 + math.log(2 * math.pi) / 2 for k in range(C))


def slow_mean(exits_BMDC: Tensor, targets_BM: Tensor, m: int, i: int) -> Tensor:
    return sum(slow_nll(exits_BMDC[b, m, i], targets_BM[b, m]) for b in range(B)) / B


def agree(fast: Tensor, slow: Tensor, *inputs: Tensor) -> None:
    torch.testing.assert_close(fast, slow, rtol=1e-12, atol=1e-12)
    grads = [torch.autograd.grad(each, inputs, allow_unused=True, retain_graph=True) for each in (fast, slow)]
    for one, other in zip(*grads, strict=True):
        if one is None or other is None:
            assert one is other is None
        else:
            torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-12)


@LIKELIHOODS
@pytest.mark.parametrize("alpha", [0.0, 1.0, 1e6])
@pytest.mark.parametrize("examples", [None, 45000])
@pytest.mark.parametrize("depths", [1, D])
def test_the_elbo_equals_a_loop(likelihood: Likelihood, alpha: float, examples: int | None, depths: int) -> None:
    exits_BMDC, targets_BM, logits_MD = problem(likelihood, depths)
    progress = None if examples is None else Progress(epoch=5.0, epochs=9, examples=examples)
    fast = DepthELBO(alpha=alpha, warm_start_epochs=5.0)(
        exits_BMDC, targets_BM, likelihood, log_weights_MD=logits_MD.log_softmax(dim=-1), progress=progress
    )
    slow = torch.zeros((), dtype=torch.float64)
    for m in range(M):
        theta = logits_MD[m].exp() / logits_MD[m].exp().sum()
        for i in range(depths):
            slow = slow + theta[i] * slow_mean(exits_BMDC, targets_BM, m, i)
            slow = slow + alpha / (examples or B) * theta[i] * (theta[i] * depths).log()
    torch.testing.assert_close(fast, slow, rtol=1e-12, atol=1e-12)
    if depths > 1:
        agree(fast, slow, exits_BMDC, logits_MD)


def test_the_divergence_by_hand() -> None:
    theta = torch.tensor([[0.7, 0.2, 0.1]], dtype=torch.float64)
    exits_BMDC = torch.zeros(1, 1, 3, 2, dtype=torch.float64)
    targets_BM = torch.zeros(1, 1, dtype=torch.long)
    losses = [
        DepthELBO(alpha=alpha)(exits_BMDC, targets_BM, Categorical(), log_weights_MD=theta.log()).item()
        for alpha in (0.0, 10.0)
    ]
    divergence = 0.7 * math.log(2.1) + 0.2 * math.log(0.6) + 0.1 * math.log(0.3)
    assert losses[0] == pytest.approx(math.log(2))
    assert losses[1] - losses[0] == pytest.approx(10 * divergence)


def test_alpha_of_n_weighs_the_divergence_like_one_example() -> None:
    exits_BMDC, targets_BM, logits_MD = problem(Categorical())
    log_weights_MD = logits_MD.log_softmax(dim=-1)
    progress = Progress(epoch=0.0, epochs=1, examples=45000)
    none, full = (
        DepthELBO(alpha=alpha)(
            exits_BMDC, targets_BM, Categorical(), log_weights_MD=log_weights_MD, progress=progress
        ).item()
        for alpha in (0.0, 45000.0)
    )
    theta = log_weights_MD.exp()
    assert full - none == pytest.approx((theta * (theta * D).log()).sum().item(), rel=1e-9)


@LIKELIHOODS
def test_in_the_warm_start_depths_count_equally_and_nothing_moves_their_weights(likelihood: Likelihood) -> None:
    exits_BMDC, targets_BM, logits_MD = problem(likelihood)
    slow = sum(slow_mean(exits_BMDC, targets_BM, m, i) for m in range(M) for i in range(D)) / D
    for objective in (DepthELBO(alpha=1e3, warm_start_epochs=2.0), DepthMarginalLikelihood(warm_start_epochs=2.0)):
        fast = objective(
            exits_BMDC,
            targets_BM,
            likelihood,
            log_weights_MD=logits_MD.log_softmax(dim=-1),
            progress=Progress(epoch=1.99, epochs=9, examples=100),
        )
        agree(fast, slow, exits_BMDC, logits_MD)
        over = objective(
            exits_BMDC,
            targets_BM,
            likelihood,
            log_weights_MD=logits_MD.log_softmax(dim=-1),
            progress=Progress(epoch=2.0, epochs=9, examples=100),
        )
        assert abs(over.item() - fast.item()) > 1e-3
    progress = Progress(epoch=1.99, epochs=9, examples=100)
    assert objective.estimate(exits_BMDC, targets_BM, likelihood, logits_MD=logits_MD, progress=progress) is None


@LIKELIHOODS
@pytest.mark.parametrize("examples", [None, 40])
def test_the_marginal_likelihood_equals_a_loop(likelihood: Likelihood, examples: int | None) -> None:
    exits_BMDC, targets_BM, logits_MD = problem(likelihood)
    progress = None if examples is None else Progress(epoch=0.0, epochs=1, examples=examples)
    fast = DepthMarginalLikelihood()(
        exits_BMDC, targets_BM, likelihood, log_weights_MD=logits_MD.log_softmax(dim=-1), progress=progress
    )
    n = examples or B
    slow = torch.zeros((), dtype=torch.float64)
    for m in range(M):
        total = sum((-n * slow_mean(exits_BMDC, targets_BM, m, i)).exp() / D for i in range(D))
        slow = slow - total.log() / n
    agree(fast, slow, exits_BMDC, logits_MD)


def test_the_running_posterior_is_that_of_the_whole_data_where_the_network_stands_still() -> None:
    n, rows = 30, 5
    exits = torch.randn(n, M, D, C, dtype=torch.float64)
    targets = torch.randint(C, (n, M))
    objective, logits_MD = DepthMarginalLikelihood(), torch.zeros(M, D, dtype=torch.float64)
    progress = Progress(epoch=0.0, epochs=1, examples=n)
    whole = objective.estimate(exits, targets, Categorical(), logits_MD=logits_MD, progress=progress)
    expected = -Categorical().nll(exits, targets.unsqueeze(2).expand(-1, -1, D)).sum(dim=0)
    torch.testing.assert_close(whole, expected)  # one batch that is all there is
    parts = [slice(step * rows % n, step * rows % n + rows) for step in range(60)]
    for part in parts:
        logits_MD = objective.estimate(
            exits[part], targets[part], Categorical(), logits_MD=logits_MD, progress=progress
        )
    slow = torch.zeros(M, D, dtype=torch.float64)
    for age, part in enumerate(reversed(parts)):
        nll = Categorical().nll(exits[part], targets[part].unsqueeze(2).expand(-1, -1, D))
        slow -= (1 - rows / n) ** age * nll.sum(dim=0)
    torch.testing.assert_close(logits_MD, slow, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(logits_MD.mean(), expected.mean(), rtol=0.1, atol=0)  # as much as one epoch
    elbo = DepthELBO()
    assert elbo.estimate(exits, targets, Categorical(), logits_MD=logits_MD) is None


@pytest.mark.parametrize("alpha", [0.0, 1.0, 0.3])
@pytest.mark.parametrize("beta", [0.0, 0.5, -0.5])
@pytest.mark.parametrize("depths", [1, 2, D])
def test_the_sum_over_exits_equals_a_loop(alpha: float, beta: float, depths: int) -> None:
    exits_BMDC, targets_BM, logits_MD = problem(Categorical(), depths)
    fast = ExitSum(alpha=alpha, beta=beta)(
        exits_BMDC, targets_BM, Categorical(), log_weights_MD=logits_MD.log_softmax(dim=-1)
    )
    slow = torch.zeros((), dtype=torch.float64)
    for m in range(M):
        for i in range(depths):
            slow = slow + (1.0 if i == depths - 1 else alpha) * slow_mean(exits_BMDC, targets_BM, m, i)
        pairs = [(i, j) for i in range(depths) for j in range(i + 1, depths)]
        for i, j in pairs:
            for b in range(B):
                p, q = exits_BMDC[b, m, i].softmax(0), exits_BMDC[b, m, j].softmax(0)
                slow = slow - beta * (p * q.log()).sum() / B / len(pairs)
    agree(fast, slow, exits_BMDC)


def test_the_pairs_need_probabilities() -> None:
    exits_BMDC, targets_BM, logits_MD = problem(Gaussian())
    with pytest.raises(InputError, match=r"beta.*needs class probabilities, but got the likelihood Gaussian.*beta=0"):
        ExitSum(beta=0.1)(exits_BMDC, targets_BM, Gaussian(), log_weights_MD=logits_MD)
    assert ExitSum()(exits_BMDC, targets_BM, Gaussian(), log_weights_MD=logits_MD).isfinite()


@pytest.mark.parametrize("bad", [-1.0, math.nan, math.inf])
def test_numbers_that_cannot_be_are_refused(bad: float) -> None:
    with pytest.raises(InputError, match="alpha must be a finite number of at least 0"):
        DepthELBO(alpha=bad)
    with pytest.raises(InputError, match="warm_start_epochs must be"):
        DepthELBO(warm_start_epochs=bad)
    with pytest.raises(InputError, match="warm_start_epochs must be"):
        DepthMarginalLikelihood(warm_start_epochs=bad)
    with pytest.raises(InputError, match="alpha must be"):
        ExitSum(alpha=bad)
    if not abs(bad) < math.inf:
        with pytest.raises(InputError, match="beta must be a finite number"):
            ExitSum(beta=-bad)
