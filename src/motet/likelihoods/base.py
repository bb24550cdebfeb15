"""The abstract base classes `Likelihood` and `NaturalExponentialFamily`."""

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
"""The kind of targets: one of several classes, labels in {0, 1}, real numbers, integers of at least 0."""


@dataclass(frozen=True, kw_only=True)
class Likelihood(ABC):
    """The distribution of the targets given a network's outputs. Every method accepts any number of leading axes.

    The axis ``out`` holds the network's outputs, and the axis ``target`` the targets of a row. There is one output for
    each target, unless a subclass overrides `outputs`.

    To define another likelihood, derive a class from this one or from `NaturalExponentialFamily`. Its `target_kind`
    determines which metrics are computed. Metrics for classes use `mean`. Metrics for numbers also use `cdf`, so a
    subclass for numbers must define `cdf`.
    """

    target_kind: ClassVar[TargetKind | None] = None
    """The kind of targets. It determines which data fit and how predictions are scored. None: no scores."""

    @property
    def has_order(self) -> bool:
        """Whether targets are numbers, for which quantiles and intervals are defined."""
        return self.target_kind in ("real", "count")

    @property
    def output_axis(self) -> int | None:
        """The axis of the model's output with the outputs of one target, if it predicts at several positions of an
        example: 1 for ``(B, C, H, W)``, -1 for ``(B, T, C)``. None, the default, for one row per example, ``(B, C)``.
        """
        return None

    @property
    def of_rows(self) -> "Likelihood":
        """The likelihood of a single position, as one row; itself if there are no positions."""
        return self

    @property
    def ignored_label(self) -> int | None:
        """The label of positions that do not count; None, the default, if all count."""
        return None

    def is_scored(self, y: Tensor) -> Tensor | None:
        """Return which labels count, in their shape; None if all do, as for targets that are not labels."""
        if self.ignored_label is None or y.is_floating_point():
            return None
        return y != self.ignored_label

    def outputs(self, targets: int) -> int:
        """Return the number of network outputs for `targets` targets (or classes)."""
        return targets

    @abstractmethod
    def nll(
        self, eta: Float[Tensor, "*axes out"], y: Shaped[Tensor, "..."], *, constants: bool = True
    ) -> Float[Tensor, "*axes"]:
        """Negative log-likelihood of `y` in nats, summed over the targets, one value per leading index.

        Args:
            eta: natural parameters, ``(..., out)``.
            y: targets, one set for each leading index of `eta`.
            constants: whether to include terms that do not depend on the outputs. Gradients do not need them, and the
                computation is cheaper without them.
        """

    def mean_nll(
        self, eta: Float[Tensor, "*axes out"], y: Shaped[Tensor, "..."], *, constants: bool = True
    ) -> Float[Tensor, ""]:
        """Mean of `nll` over all leading indices.

        Args:
            eta: natural parameters, ``(..., out)``.
            y: targets, one set for each leading index of `eta`.
            constants: see `nll`.
        """
        return self.nll(eta, y, constants=constants).mean()

    @abstractmethod
    def mean(self, eta: Float[Tensor, "*axes out"]) -> Float[Tensor, "*axes target"]:
        """Mean of the distribution with natural parameter `eta`: probabilities, or the expected target."""

    @abstractmethod
    def variance(self, eta: Float[Tensor, "*axes out"]) -> Float[Tensor, "*axes target"]:
        """Variance of each target; for classes, the variance of each class's indicator."""

    @abstractmethod
    def sample(self, eta: Float[Tensor, "*axes out"], *, generator: Generator | None = None) -> Shaped[Tensor, "..."]:
        """Draw one sample of the targets for each leading index, in the form that `nll` accepts.

        Args:
            eta: natural parameters, ``(..., out)``.
            generator: the random number generator. torch's default generator if None.
        """

    def cdf(self, eta: Float[Tensor, "*axes out"], y: Shaped[Tensor, "..."]) -> Float[Tensor, "*axes target"]:
        """Cumulative distribution function: the probability of a value of at most `y`, for each target.

        Raises:
            InputError: for classes, which have no order, and for a subclass that does not define it.
        """
        raise InputError(
            "a cumulative distribution function needs targets that have an order",
            got=f"the likelihood {self}",
            fix="Use Gaussian, HeteroscedasticGaussian, Poisson or Bernoulli, or define cdf in your own class",
        )

    @abstractmethod
    def check_targets(self, y: Tensor, *, outputs: int, values: bool = True) -> None:
        """Check that the targets `y` are possible under this likelihood.

        Args:
            y: targets.
            outputs: the number of network outputs.
            values: whether to check values as well as dtype and shape. This synchronises with an accelerator.

        Raises:
            InputError: for targets that do not fit.
        """

    @abstractmethod
    def geometric(self, eta_BMC: Float[Tensor, "batch member *positions out"]) -> Float[Tensor, "batch *positions out"]:
        """Natural parameter of the normalised geometric mean of the members' distributions."""

    def mixture(
        self, eta_BMC: Float[Tensor, "batch member *positions out"]
    ) -> Float[Tensor, "batch *positions target"]:
        """Mean of the equally weighted mixture of the members: the mean of the members' means."""
        return self.mean(eta_BMC).mean(dim=1)

    @abstractmethod
    def average(
        self, eta: Float[Tensor, "*axes depth out"], log_weights: Float[Tensor, "*weighted depth"]
    ) -> Float[Tensor, "*axes out"]:
        """Natural parameter of the distribution whose mean is the weighted mean of the depths' means.

        For classes this is exactly the mixture of the depths. It is computed with log-probabilities, so that no
        probability is rounded to 0.

        Args:
            eta: natural parameters of the depths, ``(..., depth, out)``.
            log_weights: logarithms of the weights, which add up to 1 over the depths. Their leading axes are aligned
                with the last leading axes of `eta`.
        """

    def mixture_nll(
        self, eta_BMC: Float[Tensor, "batch member *positions out"], y: Shaped[Tensor, "batch ..."]
    ) -> Float[Tensor, "batch *positions"]:
        """NLL of the equally weighted mixture, ``-logsumexp_m(log p_m(y)) + log M``.

        It is computed from log-probabilities, so that probabilities cannot underflow.
        """
        members = eta_BMC.shape[1]
        nll_BM = self.nll(eta_BMC, y.unsqueeze(1).expand(-1, members, *y.shape[1:]))
        return math.log(members) - torch.logsumexp(-nll_BM, dim=1)

    def combined_nll(
        self,
        eta_BMC: Float[Tensor, "batch member *positions out"],
        y: Shaped[Tensor, "batch ..."],
        combination: Combination,
    ) -> Float[Tensor, "batch *positions"]:
        """NLL of the ensemble, one value per row, ``(B,)``.

        Args:
            eta_BMC: natural parameters of all members, ``(B, M, out)``.
            y: targets of the rows.
            combination: how members are combined.
        """
        if combination == "mixture":
            return self.mixture_nll(eta_BMC, y)
        return self.nll(self.geometric(eta_BMC), y)

    def combined_cdf(
        self,
        eta_BMC: Float[Tensor, "batch member out"],
        y: Shaped[Tensor, "batch ..."],
        combination: Combination,
    ) -> Float[Tensor, "batch target"]:
        """Probability of a value of at most `y` under the combined distribution, for each target, ``(B, K)``.

        Args:
            eta_BMC: natural parameters of all members, ``(B, M, out)``.
            y: targets of the rows.
            combination: how members are combined.
        """
        if combination == "geometric":
            return self.cdf(self.geometric(eta_BMC), y)
        members = eta_BMC.shape[1]
        return self.cdf(eta_BMC, y.unsqueeze(1).expand(-1, members, *y.shape[1:])).mean(dim=1)

    def mixture_quantile(self, eta_BMC: Float[Tensor, "batch member out"], at: float) -> Float[Tensor, "batch target"]:
        """Quantiles of the equally weighted mixture at the probability `at`, for each target.

        For counts it is the smallest count whose cumulative probability is at least `at`. Quantiles are computed
        numerically from `cdf`, unless a likelihood has a faster method. Raises `InputError` for classes.
        """
        find = numerical.count_quantile if self.target_kind == "count" else numerical.quantile
        return find(*self._mixture(eta_BMC), torch.tensor(at, dtype=eta_BMC.dtype, device="cpu"))

    def mixture_crps(
        self, eta_BMC: Float[Tensor, "batch member out"], y_BK: Float[Tensor, "batch target"]
    ) -> Float[Tensor, "batch target"]:
        """Continuous ranked probability score of the equally weighted mixture, for each target.

        Computed numerically from `cdf`, unless a likelihood has an exact formula. Raises `InputError` for classes.
        """
        find = numerical.count_crps if self.target_kind == "count" else numerical.crps
        return find(*self._mixture(eta_BMC), y_BK)

    def _mixture(self, eta_BMC: Tensor) -> tuple[numerical.Distribution, Tensor, Tensor]:
        """Return the cumulative distribution function of the mixture, and its approximate centre and spread."""

        def distribution(y_BK: Tensor) -> Tensor:
            return self.combined_cdf(eta_BMC, y_BK, "mixture")

        means_BMK = self.mean(eta_BMC)
        spread_BK = self.variance(eta_BMC).sqrt().amax(dim=1) + means_BMK.amax(dim=1) - means_BMK.amin(dim=1)
        return distribution, means_BMK.mean(dim=1), spread_BK


@dataclass(frozen=True, kw_only=True)
class NaturalExponentialFamily(Likelihood):
    """A likelihood ``log p(y | eta) = eta y - A(eta) + log h(y)``, whose sufficient statistic is the target itself.

    The gradient of the NLL is the mean minus the target. The normalised geometric mean of members belongs to the same
    family, with the mean of their natural parameters (Joint training, section 2, eq. 1-2). The modular loss uses this.
    """

    @abstractmethod
    def log_normaliser(self, eta: Float[Tensor, "*axes out"]) -> Float[Tensor, "*axes"]:
        """``A(eta)``, summed over the outputs if these are independent. Its gradient is `mean`."""

    def geometric(self, eta_BMC: Float[Tensor, "batch member *positions out"]) -> Float[Tensor, "batch *positions out"]:
        """The mean of the members' natural parameters."""
        return eta_BMC.mean(dim=1)


def matched(y: Tensor, shape: torch.Size) -> Tensor:
    """Return the targets with exactly the given shape. A missing last axis of length 1 is added.

    Raises `InputError` for other shapes, which might otherwise be broadcast.
    """
    y = y.unsqueeze(-1) if y.ndim < len(shape) else y
    require_shape(y, shape, fix="Pass targets of shape (batch, targets), or (batch,) for one target per row")
    return y


def check_width(y: Tensor, *, targets: int, outputs: int) -> None:
    """Check the number of targets per row.

    Args:
        y: targets.
        targets: the required number of targets per row.
        outputs: the number of network outputs, for the error message.

    Raises:
        InputError: for another number of targets per row.
    """
    width = 1 if y.ndim == 1 else y.shape[-1]
    if width != targets:
        raise InputError(
            f"a model with {outputs} outputs needs {targets} target{'' if targets == 1 else 's'} per row",
            got=f"targets of shape {tuple(y.shape)}",
            fix=f"Give the model {'one output' if targets == outputs else 'two outputs'} per target",
        )


def check_finite(y: Tensor) -> None:
    """Check that all targets are finite.

    Raises:
        InputError: for NaN and infinite targets.
    """
    if not bool(torch.isfinite(y).all()):
        raise InputError(
            "targets must be finite",
            got=f"{int((~torch.isfinite(y)).sum())} NaN or infinite values",
            fix="Remove these rows, or fill in the values",
        )


def require_shape(y: Tensor, shape: torch.Size, *, fix: str) -> None:
    """Check the shape of the targets, because other shapes might be broadcast.

    Args:
        y: targets.
        shape: the required shape.
        fix: the advice in the error message.

    Raises:
        InputError: for another shape.
    """
    if y.shape != shape:
        raise InputError(
            f"targets for these outputs must have shape {tuple(shape)}",
            got=f"shape {tuple(y.shape)}",
            fix=fix,
        )
