"""Likelihoods outside motet are scored by what they say of their targets, as motet's of the same distribution are."""

from dataclasses import dataclass
from typing import Any, ClassVar

import pytest
import torch
from torch import Tensor

from motet.errors import InputError
from motet.likelihoods import (
    Bernoulli,
    Categorical,
    Gaussian,
    HeteroscedasticGaussian,
    Likelihood,
    Poisson,
    TargetKind,
)
from motet.metrics import RunningScores, crps, member_scores, risk_coverage_of, score
from motet.prediction import Prediction


@dataclass(frozen=True, kw_only=True)
class Copied(Likelihood):
    """Another likelihood by its abstract methods and its distribution function alone."""

    of: Likelihood

    def outputs(self, targets: int) -> int:
        return self.of.outputs(targets)

    def nll(self, eta: Tensor, y: Tensor, *, constants: bool = True) -> Tensor:
        return self.of.nll(eta, y, constants=constants)

    def mean(self, eta: Tensor) -> Tensor:
        return self.of.mean(eta)

    def variance(self, eta: Tensor) -> Tensor:
        return self.of.variance(eta)

    def sample(self, eta: Tensor, *, generator: Any = None) -> Tensor:
        return self.of.sample(eta, generator=generator)

    def cdf(self, eta: Tensor, y: Tensor) -> Tensor:
        return self.of.cdf(eta, y)

    def check_targets(self, y: Tensor, *, outputs: int, values: bool = True) -> None:
        self.of.check_targets(y, outputs=outputs, values=values)

    def geometric(self, eta_BMC: Tensor) -> Tensor:
        return self.of.geometric(eta_BMC)

    def average(self, eta: Tensor, log_weights: Tensor) -> Tensor:
        return self.of.average(eta, log_weights)


class CopiedReal(Copied):
    target_kind: ClassVar[TargetKind | None] = "real"


class CopiedCount(Copied):
    target_kind: ClassVar[TargetKind | None] = "count"


class CopiedBinary(Copied):
    target_kind: ClassVar[TargetKind | None] = "binary"


class CopiedClass(Copied):
    target_kind: ClassVar[TargetKind | None] = "class"


ROWS = 12
COPIES: list[Copied] = [
    CopiedReal(of=Gaussian()),
    CopiedReal(of=HeteroscedasticGaussian()),
    CopiedCount(of=Poisson()),
    CopiedBinary(of=Bernoulli()),
    CopiedClass(of=Categorical()),
]


def predictions(copied: Copied, combination: Any) -> tuple[Prediction, Prediction]:
    outputs = 2 * torch.randn(ROWS, 3, 4, dtype=torch.float64)
    targets = copied.of.sample(outputs[:, 0])
    own, copy = (
        Prediction(outputs_BMC=outputs, likelihood=each, targets=targets, combination=combination)
        for each in (copied.of, copied)
    )
    return own, copy


@pytest.mark.slow
@pytest.mark.parametrize("copied", COPIES, ids=lambda copied: type(copied.of).__name__)
@pytest.mark.parametrize("combination", ["mixture", "geometric"])
def test_scores_are_those_of_the_likelihood_that_it_copies(copied: Copied, combination: Any) -> None:
    own, copy = predictions(copied, combination)
    expected = score(own)
    # CRPS and the ends of intervals come from quadrature and bisection.
    assert score(copy) == pytest.approx(expected, rel=1e-5, abs=1e-6, nan_ok=True)
    assert list(score(copy)) == list(expected)
    expected_members = member_scores(own)
    for name, values in member_scores(copy).items():
        assert values == pytest.approx(expected_members[name], rel=1e-5, abs=1e-6)
    running, running_copy = RunningScores(), RunningScores()
    running.add(own)
    running_copy.add(copy)
    assert running_copy.result() == pytest.approx(running.result(), rel=1e-5, abs=1e-6)
    assert (risk_coverage_of(copy) is None) == (risk_coverage_of(own) is None)


@pytest.mark.slow
@pytest.mark.parametrize("far", [1e-3, 1.0, 1e3])
def test_numerical_crps_far_from_the_distribution(far: float) -> None:
    outputs = torch.tensor([[[0.0], [0.5], [3.0]]], dtype=torch.float64)
    targets = torch.tensor([[far]], dtype=torch.float64)
    own, copy = (Prediction(outputs_BMC=outputs, likelihood=each, targets=targets) for each in (Gaussian(), COPIES[0]))
    assert float(crps(copy)) == pytest.approx(float(crps(own)), rel=1e-6)


def test_quantiles_of_a_distribution_without_moments() -> None:
    @dataclass(frozen=True, kw_only=True)
    class Cauchy(CopiedReal):
        def variance(self, eta: Tensor) -> Tensor:
            return torch.full_like(eta, torch.inf)

        def cdf(self, eta: Tensor, y: Tensor) -> Tensor:
            return 0.5 + torch.atan(y - eta) / torch.pi

    eta = torch.zeros(1, 1, 1, dtype=torch.float64)
    for at in (0.01, 0.25, 0.5, 0.9, 0.999):
        expected = torch.tan(torch.tensor(torch.pi * (at - 0.5), dtype=torch.float64))
        assert float(Cauchy(of=Gaussian()).mixture_quantile(eta, at)) == pytest.approx(
            float(expected), rel=1e-9, abs=1e-12
        )


def test_a_likelihood_that_does_not_say_what_its_targets_are_is_not_scored() -> None:
    _, copy = predictions(CopiedReal(of=Gaussian()), "mixture")
    silent = Prediction(outputs_BMC=copy.outputs_BMC, likelihood=Copied(of=Gaussian()), targets=copy.targets)
    with pytest.raises(InputError, match=r"must declare its kind of targets.*Copied, which does not.*target_kind"):
        score(silent)
    assert silent.nll().shape == (ROWS,)
