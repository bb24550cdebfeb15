"""The likelihood of independent binary labels."""

from dataclasses import dataclass, field
from typing import ClassVar, final

import torch
from jaxtyping import Float, Shaped
from torch import Generator, Tensor
from torch.nn import functional as F  # noqa: N812

from motet._internal.plain_records import LEFT_OUT
from motet.errors import InputError
from motet.likelihoods.base import NaturalExponentialFamily, TargetKind, check_width, matched
from motet.likelihoods.class_axis import IGNORE_INDEX, AtPositions, check_integer


@final
@dataclass(frozen=True, kw_only=True, repr=False)
class Bernoulli(AtPositions, NaturalExponentialFamily):
    """K independent labels in {0, 1}. eta are logits, `y` has the shape ``(..., K)``, or ``(...)`` if K is 1.

    ``NLL = softplus(eta) - eta y``, summed over the labels. For labels between 0 and 1 (from mixing examples) this is
    the cross-entropy. For other labels the NLL is NaN, so that training stops with an error.

    Attributes:
        class_axis: the axis of the K logits if the model predicts at positions, see `Categorical`.
        ignore_index: with `class_axis`, the label of positions that do not count, in place of all of their K labels.

    >>> Bernoulli().mean(torch.tensor([0.0]))
    tensor([0.5000])
    """

    target_kind: ClassVar[TargetKind | None] = "binary"

    ignore_index: int = field(default=IGNORE_INDEX, metadata={LEFT_OUT: True})

    def __post_init__(self) -> None:
        super().__post_init__()
        check_integer("ignore_index", self.ignore_index, "ignore_index=-100, for example")

    @property
    def of_rows(self) -> "Bernoulli":
        """Without `class_axis`."""
        return Bernoulli()

    @property
    def ignored_label(self) -> int | None:
        """`ignore_index`; None without `class_axis`."""
        return None if self.class_axis is None else self.ignore_index

    def is_scored(self, y: Tensor) -> Tensor | None:
        """Return which labels count, in their shape; None without `class_axis`."""
        return None if self.class_axis is None else y != self.ignore_index

    def nll(
        self, eta: Float[Tensor, "*axes out"], y: Shaped[Tensor, "..."], *, constants: bool = True
    ) -> Float[Tensor, "*axes"]:
        """``softplus(eta) - eta y``, summed over the labels.

        Args:
            eta: logits, ``(..., K)``.
            y: labels, ``(..., K)``, or ``(...)`` if K is 1.
            constants: has no effect, because all terms depend on the outputs.
        """
        y = matched(y, eta.shape).to(eta.dtype)
        # This form is exact for small values; the difference softplus(eta) - eta y of two large numbers is not.
        nll = y * _softplus(-eta) + (1 - y) * _softplus(eta)
        return torch.where((y >= 0) & (y <= 1), nll, torch.nan).sum(dim=-1)

    def mean(self, eta: Float[Tensor, "*axes out"]) -> Float[Tensor, "*axes out"]:
        """Probability of 1, the logistic function of the logit."""
        return eta.sigmoid()

    def variance(self, eta: Float[Tensor, "*axes out"]) -> Float[Tensor, "*axes out"]:
        """``p (1 - p)``."""
        return eta.sigmoid() * (-eta).sigmoid()

    def sample(
        self, eta: Float[Tensor, "*axes out"], *, generator: Generator | None = None
    ) -> Float[Tensor, "*axes out"]:
        """Draw labels 0 or 1, in the dtype of the outputs."""
        return torch.bernoulli(self.mean(eta), generator=generator)

    def cdf(self, eta: Float[Tensor, "*axes out"], y: Shaped[Tensor, "..."]) -> Float[Tensor, "*axes out"]:
        """0 for y < 0, ``1 - p`` for 0 <= y < 1, and 1 for y >= 1."""
        y = matched(y, eta.shape)
        return torch.where(y < 0, 0.0, torch.where(y < 1, (-eta).sigmoid(), 1.0))

    def log_normaliser(self, eta: Float[Tensor, "*axes out"]) -> Float[Tensor, "*axes"]:
        """``softplus(eta)``, summed over the labels."""
        return _softplus(eta).sum(dim=-1)

    def average(
        self, eta: Float[Tensor, "*axes depth out"], log_weights: Float[Tensor, "*weighted depth"]
    ) -> Float[Tensor, "*axes out"]:
        """Logit of the weighted mean probability, ``log sum_d w_d p_d - log sum_d w_d (1 - p_d)``.

        It is computed with log-probabilities.
        """
        if eta.shape[-2] == 1:
            return eta.squeeze(-2)
        weights = log_weights.unsqueeze(-1)
        return torch.logsumexp(weights - _softplus(-eta), dim=-2) - torch.logsumexp(weights - _softplus(eta), dim=-2)

    def mixture_quantile(self, eta_BMC: Float[Tensor, "batch member out"], at: float) -> Float[Tensor, "batch target"]:
        """Quantiles of the mixture, which are 0 or 1."""
        one: Tensor = 1 - self.mixture(eta_BMC) < at
        return one.to(eta_BMC)

    def mixture_crps(
        self, eta_BMC: Float[Tensor, "batch member out"], y_BK: Float[Tensor, "batch target"]
    ) -> Float[Tensor, "batch target"]:
        """``(p - y)^2``, with the mean probability p of the members."""
        return (self.mixture(eta_BMC) - y_BK).square()

    def check_targets(self, y: Tensor, *, outputs: int, values: bool = True) -> None:
        """Check that there are `outputs` labels per row, each 0 or 1: booleans, integers or floating-point numbers.

        Args:
            y: targets.
            outputs: the number of network outputs.
            values: whether to check values as well as dtype and shape.

        Raises:
            InputError: for targets that do not fit.
        """
        if y.is_complex():
            raise InputError(
                "binary labels must be 0 or 1", got="targets of complex numbers", fix="Convert them with y.real"
            )
        check_width(y, targets=outputs, outputs=outputs)
        if values and (scored := self.is_scored(y)) is not None:
            y = y[scored.any(dim=-1) if y.ndim > 1 else scored]
        if values and not bool(((y == 0) | (y == 1)).all()):
            bad = y[(y != 0) & (y != 1)]
            raise InputError(
                "binary labels must be 0 or 1",
                got=f"{float(bad[0]):g} and {len(bad) - 1} others" if len(bad) > 1 else f"{float(bad[0]):g}",
                fix="Number the two classes 0 and 1, or use the Categorical likelihood for more",
            )


def _softplus(eta: Tensor) -> Tensor:
    # By default torch's softplus is linear above 20, which in double precision is an error of 2e-9.
    return F.softplus(eta, threshold=50.0)
