"""Regression with a variance of its own for every row."""

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Float, Shaped
from torch import Generator, Tensor
from torch.nn import functional as F  # noqa: N812

from motet.errors import InputError
from motet.likelihoods.base import Likelihood, TargetKind, check_finite, check_width, matched
from motet.likelihoods.normal_mixtures import gaussian_crps, gaussian_quantile

VARIANCE_FLOOR = 1e-6
"""Added to every variance. Deep ensembles (Lakshminarayanan et al. 2017, section 2.2.1) have the same."""


@final
@dataclass(frozen=True, kw_only=True)
class HeteroscedasticGaussian(Likelihood):
    """Regression with mean and variance: 2 K outputs for K targets, first the K means, then the K raw scales s.

    The variance is ``softplus(s) + 1e-6`` (Lakshminarayanan et al. 2017, section 2.2.1): in the size of the residuals
    it grows linearly in s, so that one outlier cannot throw it as far as an exponential would, and it cannot reach 0.
    ``NLL = ((y - mean)^2 / variance + log variance + log 2 pi) / 2``, summed over the targets.

    Not a natural exponential family of its outputs: the statistics of a normal distribution with both parameters free
    are y and y^2. The members' normalised geometric mean is normal all the same (`geometric`).

    >>> normal = HeteroscedasticGaussian()
    >>> normal.outputs(3), normal.variance(torch.tensor([0.0, 0.0]))
    (6, tensor([0.6931]))
    """

    target_kind: ClassVar[TargetKind | None] = "real"

    def outputs(self, targets: int) -> int:
        """A mean and a raw scale for each target."""
        return 2 * targets

    def nll(
        self, eta: Float[Tensor, "*axes out"], y: Shaped[Tensor, "..."], *, constants: bool = True
    ) -> Float[Tensor, "*axes"]:
        """Half of the squared error over the variance, the log variance, and log 2 pi."""
        mean, variance = _halves(eta)
        twice = (matched(y, mean.shape) - mean).square() / variance + variance.log()
        return 0.5 * (twice + math.log(2 * math.pi) if constants else twice).sum(dim=-1)

    def mean(self, eta: Float[Tensor, "*axes out"]) -> Float[Tensor, "*axes target"]:
        """The first half of the outputs."""
        return _halves(eta)[0]

    def variance(self, eta: Float[Tensor, "*axes out"]) -> Float[Tensor, "*axes target"]:
        """Softplus of the second half of the outputs, plus 1e-6."""
        return _halves(eta)[1]

    def sample(
        self, eta: Float[Tensor, "*axes out"], *, generator: Generator | None = None
    ) -> Float[Tensor, "*axes target"]:
        """The mean and a normal deviate of that variance."""
        mean, variance = _halves(eta)
        return mean + variance.sqrt() * torch.empty_like(mean).normal_(generator=generator)

    def cdf(self, eta: Float[Tensor, "*axes out"], y: Shaped[Tensor, "..."]) -> Float[Tensor, "*axes target"]:
        """``Phi((y - mean) / std)``."""
        mean, variance = _halves(eta)
        probability: Tensor = torch.special.ndtr((matched(y, mean.shape).to(mean.dtype) - mean) / variance.sqrt())
        return probability

    def geometric(self, eta_BMC: Float[Tensor, "batch member out"]) -> Float[Tensor, "batch out"]:
        """Normal, with the mean of the members' precisions, and their means weighted by precision."""
        mean, variance = _halves(eta_BMC)
        precision = variance.reciprocal()
        total = precision.mean(dim=1)
        return _outputs((precision * mean).mean(dim=1) / total, total.reciprocal())

    def average(
        self, eta: Float[Tensor, "*axes depth out"], log_weights: Float[Tensor, "*weighted depth"]
    ) -> Float[Tensor, "*axes out"]:
        """The normal distribution with the mean and the variance of the depths' mixture."""
        if eta.shape[-2] == 1:
            return eta.squeeze(-2)
        means, variances = _halves(eta)
        weights = log_weights.exp().unsqueeze(-1)
        mean = (weights * means).sum(dim=-2)
        variance = (weights * (variances + (means - mean.unsqueeze(-2)).square())).sum(dim=-2)
        return _outputs(mean, variance)

    def mixture_quantile(self, eta_BMC: Float[Tensor, "batch member out"], at: float) -> Float[Tensor, "batch target"]:
        """Quantiles of the mixture of normal distributions, by bisection."""
        return gaussian_quantile(self.mean(eta_BMC), self.variance(eta_BMC).sqrt(), at)

    def mixture_crps(
        self, eta_BMC: Float[Tensor, "batch member out"], y_BK: Float[Tensor, "batch target"]
    ) -> Float[Tensor, "batch target"]:
        """In closed form, see `gaussian_crps`."""
        return gaussian_crps(self.mean(eta_BMC), self.variance(eta_BMC).sqrt(), y_BK)

    def check_targets(self, y: Tensor, *, outputs: int, values: bool = True) -> None:
        """Targets must be finite floating-point numbers, half as many as there are outputs."""
        if outputs % 2:
            raise InputError(
                "a mean and a variance for each target need an even number of outputs",
                got=f"a model with {outputs}",
                fix="Give the model two outputs per target: first the means, then the raw scales",
            )
        if not y.is_floating_point():
            raise InputError(
                "regression targets must be floating-point numbers",
                got=f"targets of {str(y.dtype).removeprefix('torch.')}",
                fix="Convert them with y.float(), or use the Categorical likelihood for classes",
            )
        check_width(y, targets=outputs // 2, outputs=outputs)
        if values:
            check_finite(y)


def _halves(eta: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and variance."""
    if eta.shape[-1] % 2:
        raise InputError(
            "a mean and a variance for each target need an even number of outputs",
            got=f"outputs of shape {tuple(eta.shape)}",
            fix="Give the model two outputs per target: first the means, then the raw scales",
        )
    mean, raw = eta.chunk(2, dim=-1)
    # torch's softplus is linear from 20 on; in double precision that is 2e-9 off.
    return mean, F.softplus(raw, threshold=50.0) + VARIANCE_FLOOR


def _outputs(mean: Tensor, variance: Tensor) -> Tensor:
    """The outputs that have this mean and variance."""
    above = (variance - VARIANCE_FLOOR).clamp_min(torch.finfo(variance.dtype).tiny)
    return torch.cat([mean, above + torch.log(-torch.expm1(-above))], dim=-1)
