"""Regression with unit variance."""

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Float, Shaped
from torch import Generator, Tensor

from motet.errors import InputError
from motet.likelihoods.base import NaturalExponentialFamily, TargetKind, check_finite, check_width, matched
from motet.likelihoods.normal_mixtures import gaussian_crps, gaussian_quantile


@final
@dataclass(frozen=True, kw_only=True)
class Gaussian(NaturalExponentialFamily):
    """Regression with unit variance: eta is the predicted mean, `y` of shape ``(..., C)`` or ``(...)`` if C=1.

    ``NLL = (y - eta)^2 / 2 + log(2 pi) / 2``, summed over the C targets.
    """

    target_kind: ClassVar[TargetKind | None] = "real"

    def nll(
        self, eta: Float[Tensor, "*axes out"], y: Shaped[Tensor, "..."], *, constants: bool = True
    ) -> Float[Tensor, "*axes"]:
        """Half the squared error, plus half of log 2 pi, per target."""
        # Anything but targets of one shape would broadcast, one example's target against another's output.
        half = 0.5 * (eta - matched(y, eta.shape)).square()
        return (half + 0.5 * math.log(2 * math.pi) if constants else half).sum(dim=-1)

    def mean(self, eta: Float[Tensor, "*axes out"]) -> Float[Tensor, "*axes out"]:
        """The output itself."""
        return eta

    def variance(self, eta: Float[Tensor, "*axes out"]) -> Float[Tensor, "*axes out"]:
        """1."""
        return torch.ones_like(eta)

    def sample(
        self, eta: Float[Tensor, "*axes out"], *, generator: Generator | None = None
    ) -> Float[Tensor, "*axes out"]:
        """The output and a standard normal deviate."""
        return eta + torch.empty_like(eta).normal_(generator=generator)

    def cdf(self, eta: Float[Tensor, "*axes out"], y: Shaped[Tensor, "..."]) -> Float[Tensor, "*axes out"]:
        """``Phi(y - eta)``."""
        probability: Tensor = torch.special.ndtr(matched(y, eta.shape).to(eta.dtype) - eta)
        return probability

    def log_normaliser(self, eta: Float[Tensor, "*axes out"]) -> Float[Tensor, "*axes"]:
        """``eta^2 / 2``, summed over the targets."""
        return 0.5 * eta.square().sum(dim=-1)

    def average(
        self, eta: Float[Tensor, "*axes depth out"], log_weights: Float[Tensor, "*weighted depth"]
    ) -> Float[Tensor, "*axes out"]:
        """Weighted mean of the outputs."""
        return (eta * log_weights.exp().unsqueeze(-1)).sum(dim=-2)

    def mixture_quantile(self, eta_BMC: Float[Tensor, "batch member out"], at: float) -> Float[Tensor, "batch target"]:
        """Quantiles of the mixture of normal distributions, by bisection."""
        return gaussian_quantile(self.mean(eta_BMC), self.variance(eta_BMC).sqrt(), at)

    def mixture_crps(
        self, eta_BMC: Float[Tensor, "batch member out"], y_BK: Float[Tensor, "batch target"]
    ) -> Float[Tensor, "batch target"]:
        """In closed form, see `gaussian_crps`."""
        return gaussian_crps(self.mean(eta_BMC), self.variance(eta_BMC).sqrt(), y_BK)

    def check_targets(self, y: Tensor, *, outputs: int, values: bool = True) -> None:
        """Targets must be finite floating-point numbers, `outputs` a row."""
        if not y.is_floating_point():
            raise InputError(
                "regression targets must be floating-point numbers",
                got=f"targets of {str(y.dtype).removeprefix('torch.')}",
                fix="Convert them with y.float(), or use the Categorical likelihood for classes",
            )
        check_width(y, targets=outputs, outputs=outputs)
        if values:
            check_finite(y)
