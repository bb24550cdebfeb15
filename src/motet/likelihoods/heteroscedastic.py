"""The likelihood of regression with a predicted variance for each row and target."""

import math
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Float, Shaped
from torch import Generator, Tensor
from torch.nn import functional as F  # noqa: N812

from motet.errors import InputError
from motet.likelihoods.base import TargetKind, check_finite, check_width, matched
from motet.likelihoods.class_axis import AtPositions
from motet.likelihoods.normal_mixtures import gaussian_crps, gaussian_quantile

VARIANCE_FLOOR = 1e-6
"""Added to every variance, as in deep ensembles (Lakshminarayanan et al. 2017, section 2.2.1)."""


@final
@dataclass(frozen=True, kw_only=True, repr=False)
class HeteroscedasticGaussian(AtPositions):
    """Regression with predicted mean and variance. K targets need 2 K outputs: first the K means, then K raw scales s.

    The variance is ``softplus(s) + 1e-6`` (Lakshminarayanan et al. 2017, section 2.2.1). For large s it grows linearly,
    so that one outlier changes it less than with an exponential. It cannot reach 0. ``NLL = ((y - mean)^2 / variance +
    log variance + log 2 pi) / 2``, summed over the targets.

    This is not a natural exponential family of its outputs, because a normal distribution with two free parameters has
    the sufficient statistics y and y^2. The members' normalised geometric mean is still a normal distribution, see
    `geometric`.

    >>> normal = HeteroscedasticGaussian()
    >>> normal.outputs(3), normal.variance(torch.tensor([0.0, 0.0]))
    (6, tensor([0.6931]))
    """

    target_kind: ClassVar[TargetKind | None] = "real"

    def outputs(self, targets: int) -> int:
        """Return ``2 * targets``: a mean and a raw scale for each target."""
        return 2 * targets

    def nll(
        self, eta: Float[Tensor, "*axes out"], y: Shaped[Tensor, "..."], *, constants: bool = True
    ) -> Float[Tensor, "*axes"]:
        """Sum over targets of ``((y - mean)^2 / variance + log variance + log 2 pi) / 2``; the last term is a constant.

        Args:
            eta: outputs, ``(..., 2 K)``.
            y: targets, ``(..., K)``, or ``(...)`` if K is 1.
            constants: see `Likelihood.nll`.
        """
        mean, variance = _halves(eta)
        twice = (matched(y, mean.shape) - mean).square() / variance + variance.log()
        return 0.5 * (twice + math.log(2 * math.pi) if constants else twice).sum(dim=-1)

    def mean(self, eta: Float[Tensor, "*axes out"]) -> Float[Tensor, "*axes target"]:
        """The predicted means: the first half of the outputs."""
        return _halves(eta)[0]

    def variance(self, eta: Float[Tensor, "*axes out"]) -> Float[Tensor, "*axes target"]:
        """The predicted variances: softplus of the second half of the outputs, plus 1e-6."""
        return _halves(eta)[1]

    def sample(
        self, eta: Float[Tensor, "*axes out"], *, generator: Generator | None = None
    ) -> Float[Tensor, "*axes target"]:
        """Draw from the normal distribution with the predicted mean and variance."""
        mean, variance = _halves(eta)
        return mean + variance.sqrt() * torch.empty_like(mean).normal_(generator=generator)

    def cdf(self, eta: Float[Tensor, "*axes out"], y: Shaped[Tensor, "..."]) -> Float[Tensor, "*axes target"]:
        """``Phi((y - mean) / std)``."""
        mean, variance = _halves(eta)
        probability: Tensor = torch.special.ndtr((matched(y, mean.shape).to(mean.dtype) - mean) / variance.sqrt())
        return probability

    def geometric(self, eta_BMC: Float[Tensor, "batch member *positions out"]) -> Float[Tensor, "batch *positions out"]:
        """Outputs of the normal distribution that is the members' normalised geometric mean.

        The precision is the mean of the members' precisions. The mean is the precision-weighted mean of their means.
        """
        mean, variance = _halves(eta_BMC)
        precision = variance.reciprocal()
        total = precision.mean(dim=1)
        return _outputs((precision * mean).mean(dim=1) / total, total.reciprocal())

    def average(
        self, eta: Float[Tensor, "*axes depth out"], log_weights: Float[Tensor, "*weighted depth"]
    ) -> Float[Tensor, "*axes out"]:
        """Outputs of the normal distribution with the mean and the variance of the depths' mixture."""
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
        """CRPS in closed form, see `gaussian_crps`."""
        return gaussian_crps(self.mean(eta_BMC), self.variance(eta_BMC).sqrt(), y_BK)

    def check_targets(self, y: Tensor, *, outputs: int, values: bool = True) -> None:
        """Check that there are ``outputs / 2`` finite floating-point targets per row.

        Args:
            y: targets.
            outputs: the number of network outputs.
            values: whether to check values as well as dtype and shape.

        Raises:
            InputError: for targets that do not fit.
        """
        if outputs % 2:
            raise InputError(
                "a mean and a variance for each target need an even number of outputs",
                got=f"a model with {outputs} outputs",
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
    """Return the means and the variances of the outputs."""
    if eta.shape[-1] % 2:
        raise InputError(
            "a mean and a variance for each target need an even number of outputs",
            got=f"outputs of shape {tuple(eta.shape)}",
            fix="Give the model two outputs per target: first the means, then the raw scales",
        )
    mean, raw = eta.chunk(2, dim=-1)
    # By default torch's softplus is linear above 20, which in double precision is an error of 2e-9.
    return mean, F.softplus(raw, threshold=50.0) + VARIANCE_FLOOR


def _outputs(mean: Tensor, variance: Tensor) -> Tensor:
    """Return the outputs that represent the given mean and variance."""
    above = (variance - VARIANCE_FLOOR).clamp_min(torch.finfo(variance.dtype).tiny)
    return torch.cat([mean, above + torch.log(-torch.expm1(-above))], dim=-1)
