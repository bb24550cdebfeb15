"""The likelihood of counts with a Poisson distribution."""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from jaxtyping import Float, Shaped
from torch import Generator, Tensor

from motet.errors import InputError
from motet.likelihoods._counts import count_crps, count_quantiles
from motet.likelihoods.base import NaturalExponentialFamily, TargetKind, check_finite, check_width, matched
from motet.likelihoods.class_axis import AtPositions
from motet.likelihoods.normal_mixtures import gaussian_crps


@final
@dataclass(frozen=True, kw_only=True, repr=False)
class Poisson(AtPositions, NaturalExponentialFamily):
    """Counts. eta is the logarithm of the rate, `y` has the shape ``(..., K)``, or ``(...)`` if K is 1.

    ``NLL = exp(eta) - eta y + log y!``, summed over the counts. The NLL is NaN for negative and fractional counts, so
    that training stops with an error. If a rate overflows the dtype, the rate and the NLL are infinite.

    >>> Poisson().mean(torch.tensor([0.0]))
    tensor([1.])
    """

    target_kind: ClassVar[TargetKind | None] = "count"

    def nll(
        self, eta: Float[Tensor, "*axes out"], y: Shaped[Tensor, "..."], *, constants: bool = True
    ) -> Float[Tensor, "*axes"]:
        """``exp(eta) - eta y``, and with `constants` ``+ log y!``, exactly (without Stirling's formula).

        Args:
            eta: logarithms of the rates, ``(..., K)``.
            y: counts, ``(..., K)``, or ``(...)`` if K is 1.
            constants: see `Likelihood.nll`.
        """
        y = matched(y, eta.shape).to(eta.dtype)
        # eta y is 0 for a count of 0 and any rate. Computed directly, 0 times -inf would be NaN.
        nll = eta.exp() - torch.where(y == 0, 0.0, eta * y)
        if constants:
            nll = nll + torch.lgamma(y + 1)
        return torch.where((y >= 0) & (y == y.floor()), nll, torch.nan).sum(dim=-1)

    def mean(self, eta: Float[Tensor, "*axes out"]) -> Float[Tensor, "*axes out"]:
        """The rate, ``exp(eta)``."""
        return eta.exp()

    def variance(self, eta: Float[Tensor, "*axes out"]) -> Float[Tensor, "*axes out"]:
        """The rate, ``exp(eta)``."""
        return eta.exp()

    def sample(
        self, eta: Float[Tensor, "*axes out"], *, generator: Generator | None = None
    ) -> Float[Tensor, "*axes out"]:
        """Draw counts, in the dtype of the outputs."""
        return torch.poisson(self.mean(eta), generator=generator)

    def cdf(self, eta: Float[Tensor, "*axes out"], y: Shaped[Tensor, "..."]) -> Float[Tensor, "*axes out"]:
        """``Q(floor(y) + 1, rate)``, the upper regularised incomplete gamma function."""
        y = matched(y, eta.shape).to(eta.dtype)
        probability: Tensor = torch.special.gammaincc(y.floor().clamp_min(0) + 1, eta.exp())
        return torch.where(y < 0, 0.0, probability)

    def log_normaliser(self, eta: Float[Tensor, "*axes out"]) -> Float[Tensor, "*axes"]:
        """``exp(eta)``, summed over the counts."""
        return eta.exp().sum(dim=-1)

    def average(
        self, eta: Float[Tensor, "*axes depth out"], log_weights: Float[Tensor, "*weighted depth"]
    ) -> Float[Tensor, "*axes out"]:
        """Logarithm of the weighted mean rate."""
        return torch.logsumexp(eta + log_weights.unsqueeze(-1), dim=-2)

    def mixture_quantile(self, eta_BMC: Float[Tensor, "batch member out"], at: float) -> Float[Tensor, "batch target"]:
        """Quantiles: the smallest counts whose cumulative probability under the mixture is at least `at`."""
        return count_quantiles(self.mean(eta_BMC), at)

    def mixture_crps(
        self, eta_BMC: Float[Tensor, "batch member out"], y_BK: Float[Tensor, "batch target"]
    ) -> Float[Tensor, "batch target"]:
        """CRPS by summation over integers; for rates above a million, of normal distributions with the same moments."""
        rate = self.mean(eta_BMC)
        normal = gaussian_crps(rate, rate.sqrt().clamp_min(1e-3), y_BK)
        return count_crps(rate, y_BK, beyond=normal)

    def check_targets(self, y: Tensor, *, outputs: int, values: bool = True) -> None:
        """Check that there are `outputs` counts per row: integers of at least 0, of an integer or floating-point dtype.

        Args:
            y: targets.
            outputs: the number of network outputs.
            values: whether to check values as well as dtype and shape.

        Raises:
            InputError: for targets that do not fit.
        """
        if y.is_complex() or y.dtype == torch.bool:
            raise InputError(
                "counts must be integers or floating-point numbers",
                got=f"targets of {str(y.dtype).removeprefix('torch.')}",
                fix="Convert them with y.float(), or use the Bernoulli likelihood for two classes",
            )
        check_width(y, targets=outputs, outputs=outputs)
        if not values:
            return
        check_finite(y)
        if bool((y < 0).any()):
            raise InputError(
                "counts must not be negative",
                got=f"{float(y.min()):g}",
                fix="Remove these rows, or use a Gaussian likelihood for numbers of both signs",
            )
        if bool((y != y.floor()).any()) if y.is_floating_point() else False:
            raise InputError(
                "counts must be integers",
                got=f"{float(y[y != y.floor()][0]):g}",
                fix="Use a Gaussian likelihood for numbers with fractions",
            )
