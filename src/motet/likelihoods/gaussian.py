"""The likelihood of regression with unit variance."""

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Float, Shaped
from torch import Generator, Tensor

from motet.errors import InputError
from motet.likelihoods.base import NaturalExponentialFamily, TargetKind, check_finite, check_width, matched
from motet.likelihoods.class_axis import AtPositions
from motet.likelihoods.normal_mixtures import gaussian_crps, gaussian_quantile


@final
@dataclass(frozen=True, kw_only=True, repr=False)
class Gaussian(AtPositions, NaturalExponentialFamily):
    """Regression with unit variance. eta is the predicted mean, `y` has the shape ``(..., C)``, or ``(...)`` if C is 1.

    ``NLL = (y - eta)^2 / 2 + log(2 pi) / 2``, summed over the C targets.
    """

    target_kind: ClassVar[TargetKind | None] = "real"

    def nll(
        self, eta: Float[Tensor, "*axes out"], y: Shaped[Tensor, "..."], *, constants: bool = True
    ) -> Float[Tensor, "*axes"]:
        """``(y - eta)^2 / 2``, and with `constants` ``+ log(2 pi) / 2``, summed over the targets.

        Args:
            eta: predicted means, ``(..., C)``.
            y: targets, ``(..., C)``, or ``(...)`` if C is 1.
            constants: see `Likelihood.nll`.
        """
        # `matched` refuses targets of another shape. Broadcasting would compare outputs with targets of other examples.
        half = 0.5 * (eta - matched(y, eta.shape)).square()
        return (half + 0.5 * math.log(2 * math.pi) if constants else half).sum(dim=-1)

    def mean(self, eta: Float[Tensor, "*axes out"]) -> Float[Tensor, "*axes out"]:
        """The output itself, which is the predicted mean."""
        return eta

    def variance(self, eta: Float[Tensor, "*axes out"]) -> Float[Tensor, "*axes out"]:
        """1 for each target."""
        return torch.ones_like(eta)

    def sample(
        self, eta: Float[Tensor, "*axes out"], *, generator: Generator | None = None
    ) -> Float[Tensor, "*axes out"]:
        """Draw from the normal distribution with mean `eta` and variance 1."""
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
        """CRPS in closed form, see `gaussian_crps`."""
        return gaussian_crps(self.mean(eta_BMC), self.variance(eta_BMC).sqrt(), y_BK)

    def check_targets(self, y: Tensor, *, outputs: int, values: bool = True) -> None:
        """Check that there are `outputs` finite floating-point targets per row.

        Args:
            y: targets.
            outputs: the number of network outputs.
            values: whether to check values as well as dtype and shape.

        Raises:
            InputError: for targets that do not fit.
        """
        if not y.is_floating_point():
            raise InputError(
                "regression targets must be floating-point numbers",
                got=f"targets of {str(y.dtype).removeprefix('torch.')}",
                fix="Convert them with y.float(), or use the Categorical likelihood for classes",
            )
        check_width(y, targets=outputs, outputs=outputs)
        if values:
            check_finite(y)
