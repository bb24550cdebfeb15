"""What every likelihood is: from a member's natural parameter (the network's output) to losses and predictions."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from motet.errors import InputError

Combination = Literal["mixture", "geometric"]


@dataclass(frozen=True, kw_only=True)
class Likelihood(ABC):
    """What an output of the network means. Every method takes leading axes of any number."""

    @abstractmethod
    def nll(self, eta: Float[Tensor, "*axes out"], y: Shaped[Tensor, "..."]) -> Float[Tensor, "*axes"]:
        """Negative log-likelihood of `y` in nats, constants included, one value per leading index."""

    def mean_nll(self, eta: Float[Tensor, "*axes out"], y: Shaped[Tensor, "..."]) -> Float[Tensor, ""]:
        """Mean of `nll` over all leading indices."""
        return self.nll(eta, y).mean()

    @abstractmethod
    def mean(self, eta: Float[Tensor, "*axes out"]) -> Float[Tensor, "*axes out"]:
        """Mean of the distribution with natural parameter `eta`: probabilities, or the expected target."""

    @abstractmethod
    def check_targets(self, y: Tensor, *, outputs: int, values: bool = True) -> None:
        """Raise `InputError` unless `y` can be observed under this likelihood with `outputs` outputs.

        Without `values` only type and shape are checked: looking at values makes an accelerator wait.
        """

    @abstractmethod
    def geometric(self, eta_BMC: Float[Tensor, "batch member out"]) -> Float[Tensor, "batch out"]:
        """Natural parameter of the members' normalised geometric mean."""

    @abstractmethod
    def mixture(self, eta_BMC: Float[Tensor, "batch member out"]) -> Float[Tensor, "batch out"]:
        """Mean of the members' mixture."""

    @abstractmethod
    def average(
        self, eta: Float[Tensor, "*axes depth out"], log_weights: Float[Tensor, "*weighted depth"]
    ) -> Float[Tensor, "*axes out"]:
        """Natural parameter of the distribution whose mean is the weighted mean of the depths' means.

        The weights, whose leading axes are the last ones of `eta`'s, add up to 1 over the depths. For classes this
        is their mixture, exactly. Taken in logarithms, so that no probability is rounded to 0.
        """

    def mixture_nll(
        self, eta_BMC: Float[Tensor, "batch member out"], y: Shaped[Tensor, "batch ..."]
    ) -> Float[Tensor, "batch"]:
        """NLL of the equally weighted mixture: ``-logsumexp_m(log p_m(y)) + log M``, never from probabilities."""
        members = eta_BMC.shape[1]
        nll_BM = self.nll(eta_BMC, y.unsqueeze(1).expand(-1, members, *y.shape[1:]))
        return math.log(members) - torch.logsumexp(-nll_BM, dim=1)

    def combined_nll(
        self,
        eta_BMC: Float[Tensor, "batch member out"],
        y: Shaped[Tensor, "batch ..."],
        combination: Combination,
    ) -> Float[Tensor, "batch"]:
        """NLL of the ensemble under its way of combining members."""
        if combination == "mixture":
            return self.mixture_nll(eta_BMC, y)
        return self.nll(self.geometric(eta_BMC), y)


@dataclass(frozen=True, kw_only=True)
class NaturalExponentialFamily(Likelihood):
    """A likelihood ``log p(y | eta) = eta y - A(eta) + log h(y)``, whose statistic is the target itself.

    The gradient of its NLL is the mean minus the target, so that the normalised geometric mean of members is the same
    distribution at the mean natural parameter, and the modular loss mixes both (Joint training, section 2, eq. 1-2).
    """

    @abstractmethod
    def log_normaliser(self, eta: Float[Tensor, "*axes out"]) -> Float[Tensor, "*axes"]:
        """``A(eta)``, summed over the outputs where these are independent; its gradient is `mean`."""

    def geometric(self, eta_BMC: Float[Tensor, "batch member out"]) -> Float[Tensor, "batch out"]:
        """Mean natural parameter."""
        return eta_BMC.mean(dim=1)


def require_shape(y: Tensor, shape: torch.Size, *, fix: str) -> None:
    """Raise `InputError` unless the targets have this shape; anything else might broadcast."""
    if y.shape != shape:
        raise InputError(
            f"targets of outputs with these axes must have shape {tuple(shape)}",
            got=f"shape {tuple(y.shape)}",
            fix=fix,
        )
