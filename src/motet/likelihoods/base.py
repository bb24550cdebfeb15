"""What every likelihood is: from a member's natural parameter (the network's output) to losses and predictions."""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Shaped
from torch import Generator, Tensor

from motet.errors import InputError
from motet.likelihoods import numerical

Combination = Literal["mixture", "geometric"]
TargetKind = Literal["class", "binary", "real", "count"]
"""What targets are: one of several classes, labels in {0, 1}, real numbers, whole numbers from 0."""


@dataclass(frozen=True, kw_only=True)
class Likelihood(ABC):
    """What the outputs of a network mean. Every method takes leading axes of any number.

    ``out`` are the network's outputs, ``target`` the targets of a row: of one number except where `outputs` says more.

    A likelihood outside motet derives from this class, or from `NaturalExponentialFamily`. Scores are computed by what
    `target_kind` says of its targets: of classes from `mean`, of numbers also from `cdf`, which it must then define.
    """

    target_kind: ClassVar[TargetKind | None] = None
    """What its targets are; decides the data that it fits and how predictions are scored. None: it is not scored."""

    @property
    def has_order(self) -> bool:
        """Whether targets are numbers, with quantiles and intervals."""
        return self.target_kind in ("real", "count")

    def outputs(self, targets: int) -> int:
        """How many outputs of the network `targets` targets, or classes, take."""
        return targets

    @abstractmethod
    def nll(
        self, eta: Float[Tensor, "*axes out"], y: Shaped[Tensor, "..."], *, constants: bool = True
    ) -> Float[Tensor, "*axes"]:
        """Negative log-likelihood of `y` in nats, summed over the targets, one value per leading index.

        Without `constants`, terms that no output can change are left out: cheaper where only gradients matter.
        """

    def mean_nll(
        self, eta: Float[Tensor, "*axes out"], y: Shaped[Tensor, "..."], *, constants: bool = True
    ) -> Float[Tensor, ""]:
        """Mean of `nll` over all leading indices."""
        return self.nll(eta, y, constants=constants).mean()

    @abstractmethod
    def mean(self, eta: Float[Tensor, "*axes out"]) -> Float[Tensor, "*axes target"]:
        """Mean of the distribution with natural parameter `eta`: probabilities, or the expected target."""

    @abstractmethod
    def variance(self, eta: Float[Tensor, "*axes out"]) -> Float[Tensor, "*axes target"]:
        """Variance of each target; of classes, of the indicator of each."""

    @abstractmethod
    def sample(self, eta: Float[Tensor, "*axes out"], *, generator: Generator | None = None) -> Shaped[Tensor, "..."]:
        """One draw of the targets for each leading index, as `nll` takes them; torch's default generator if None."""

    def cdf(self, eta: Float[Tensor, "*axes out"], y: Shaped[Tensor, "..."]) -> Float[Tensor, "*axes target"]:
        """Probability of at most `y`, target by target. Raises `InputError` for classes, which have no order."""
        raise InputError(
            "a distribution function needs targets that have an order",
            got=f"the likelihood {self}",
            fix="Use a likelihood of numbers: Gaussian, HeteroscedasticGaussian, Poisson or Bernoulli",
        )

    @abstractmethod
    def check_targets(self, y: Tensor, *, outputs: int, values: bool = True) -> None:
        """Raise `InputError` unless `y` can be observed under this likelihood with `outputs` outputs.

        Without `values` only type and shape are checked: looking at values makes an accelerator wait.
        """

    @abstractmethod
    def geometric(self, eta_BMC: Float[Tensor, "batch member out"]) -> Float[Tensor, "batch out"]:
        """Natural parameter of the members' normalised geometric mean."""

    def mixture(self, eta_BMC: Float[Tensor, "batch member out"]) -> Float[Tensor, "batch target"]:
        """Mean of the members' equally weighted mixture: the mean of their means."""
        return self.mean(eta_BMC).mean(dim=1)

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

    def combined_cdf(
        self,
        eta_BMC: Float[Tensor, "batch member out"],
        y: Shaped[Tensor, "batch ..."],
        combination: Combination,
    ) -> Float[Tensor, "batch target"]:
        """Probability of at most `y` under the combined distribution, target by target."""
        if combination == "geometric":
            return self.cdf(self.geometric(eta_BMC), y)
        members = eta_BMC.shape[1]
        return self.cdf(eta_BMC, y.unsqueeze(1).expand(-1, members, *y.shape[1:])).mean(dim=1)

    def mixture_quantile(self, eta_BMC: Float[Tensor, "batch member out"], at: float) -> Float[Tensor, "batch target"]:
        """Quantiles of the equally weighted mixture, target by target; of counts the smallest that reaches `at`.

        Found numerically from `cdf`, unless a likelihood has something faster. Raises `InputError` for classes.
        """
        find = numerical.count_quantile if self.target_kind == "count" else numerical.quantile
        return find(*self._mixture(eta_BMC), torch.tensor(at, dtype=eta_BMC.dtype))

    def mixture_crps(
        self, eta_BMC: Float[Tensor, "batch member out"], y_BK: Float[Tensor, "batch target"]
    ) -> Float[Tensor, "batch target"]:
        """Continuous ranked probability score of the equally weighted mixture, target by target.

        Found numerically from `cdf`, unless a likelihood has something exact. Raises `InputError` for classes.
        """
        find = numerical.count_crps if self.target_kind == "count" else numerical.crps
        return find(*self._mixture(eta_BMC), y_BK)

    def _mixture(self, eta_BMC: Tensor) -> tuple[numerical.Distribution, Tensor, Tensor]:
        """The mixture's distribution function, and about where it lies and how far it spreads."""

        def distribution(y_BK: Tensor) -> Tensor:
            return self.combined_cdf(eta_BMC, y_BK, "mixture")

        means_BMK = self.mean(eta_BMC)
        spread_BK = self.variance(eta_BMC).sqrt().amax(dim=1) + means_BMK.amax(dim=1) - means_BMK.amin(dim=1)
        return distribution, means_BMK.mean(dim=1), spread_BK


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


def matched(y: Tensor, shape: torch.Size) -> Tensor:
    """The targets in that shape; without their last axis if its length is 1. Nothing is broadcast."""
    y = y.unsqueeze(-1) if y.ndim < len(shape) else y
    require_shape(y, shape, fix="Pass targets of shape (batch, targets), or (batch,) for one target a row")
    return y


def check_width(y: Tensor, *, targets: int, outputs: int) -> None:
    """Raise `InputError` unless there are `targets` targets a row."""
    width = 1 if y.ndim == 1 else y.shape[-1]
    if width != targets:
        raise InputError(
            f"a model with {outputs} outputs needs {targets} targets a row",
            got=f"targets of shape {tuple(y.shape)}",
            fix=f"Give the model {'one output' if targets == outputs else 'two outputs'} per target",
        )


def check_finite(y: Tensor) -> None:
    """Raise `InputError` unless all targets are finite."""
    if not bool(torch.isfinite(y).all()):
        raise InputError(
            "targets must be finite",
            got=f"{int((~torch.isfinite(y)).sum())} NaN or infinite values",
            fix="Drop or fill those rows",
        )


def require_shape(y: Tensor, shape: torch.Size, *, fix: str) -> None:
    """Raise `InputError` unless the targets have this shape; anything else might broadcast."""
    if y.shape != shape:
        raise InputError(
            f"targets of outputs with these axes must have shape {tuple(shape)}",
            got=f"shape {tuple(y.shape)}",
            fix=fix,
        )
