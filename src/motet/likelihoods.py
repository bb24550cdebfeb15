"""Likelihoods: from a member's natural parameter (the network's output) to losses and predictions.

Natural exponential family with natural parameter eta, mean ``ybar = f^-1(eta)`` and log-normaliser ``A(eta)``:
``NLL = A(eta) - eta y - log h(y)`` (Joint training of Neural Network Ensembles, section 2). Members are combined
as a mixture (mean of the members' distributions) or as a normalised geometric mean (the distribution at the mean
natural parameter).
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, final

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from motet.errors import InputError

Combination = Literal["mixture", "geometric"]

# torch's cross-entropy takes the label -100 for "ignore this row"; here it is out of range, like any other such label.
_NO_LABEL = torch.iinfo(torch.long).min

# Along a short last axis torch's CPU kernel works entry by entry; with the rows innermost it is up to 6 times faster
# (25,600 rows of 10 classes: 0.9 ms for 6.0 ms, forward and backward, one thread).
_FEW_CLASSES, _MANY_ROWS = 15, 512


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


@final
@dataclass(frozen=True, kw_only=True)
class Categorical(Likelihood):
    """Classification: eta are logits over C classes, `y` integer labels, or class probabilities ``(..., C)``.

    Probabilities are what mixing examples makes of labels (mixup, CutMix).

    >>> Categorical().mean(torch.tensor([[0.0, 0.0]]))
    tensor([[0.5000, 0.5000]])
    """

    def nll(self, eta: Float[Tensor, "*axes out"], y: Shaped[Tensor, "..."]) -> Float[Tensor, "*axes"]:
        """Cross-entropy ``logsumexp(eta) - eta_y``."""
        return _cross_entropy(eta, y, "none").view(eta.shape[:-1])

    def mean_nll(self, eta: Float[Tensor, "*axes out"], y: Shaped[Tensor, "..."]) -> Float[Tensor, ""]:
        """Mean cross-entropy, in torch's one kernel for it: every step of training pays for this."""
        return _cross_entropy(eta, y, "mean")

    def mean(self, eta: Float[Tensor, "*axes out"]) -> Float[Tensor, "*axes out"]:
        """Class probabilities, the softmax of the logits."""
        return eta.softmax(dim=-1)

    def geometric(self, eta_BMC: Float[Tensor, "batch member out"]) -> Float[Tensor, "batch out"]:
        """Mean logits."""
        return eta_BMC.mean(dim=1)

    def mixture(self, eta_BMC: Float[Tensor, "batch member out"]) -> Float[Tensor, "batch out"]:
        """Mean of the members' probabilities."""
        return eta_BMC.softmax(dim=-1).mean(dim=1)

    def average(
        self, eta: Float[Tensor, "*axes depth out"], log_weights: Float[Tensor, "*weighted depth"]
    ) -> Float[Tensor, "*axes out"]:
        """Log-probabilities ``logsumexp_d(log w_d + log softmax(eta_d))``; logits as they are where D is 1."""
        if eta.shape[-2] == 1:
            return eta.squeeze(-2)
        return torch.logsumexp(eta.log_softmax(dim=-1) + log_weights.unsqueeze(-1), dim=-2)

    def check_targets(self, y: Tensor, *, outputs: int, values: bool = True) -> None:
        """Labels must be whole numbers from 0 to ``outputs - 1``; probabilities must add up to 1 in each row."""
        if y.is_floating_point() and y.ndim > 1 and y.shape[-1] == outputs:
            if values and not bool((y >= 0).all() & ((y.sum(dim=-1) - 1).abs() < 1e-3).all()):
                raise InputError(
                    "class probabilities must be at least 0 and add up to 1",
                    got=f"sums from {float(y.sum(dim=-1).min()):g} to {float(y.sum(dim=-1).max()):g}",
                    fix="Divide each row by its sum",
                )
            return
        if y.is_floating_point() or y.is_complex() or y.dtype == torch.bool:
            raise InputError(
                "class labels must be integers",
                got=f"targets of {str(y.dtype).removeprefix('torch.')}",
                fix="Convert them with y.long(), or use the Gaussian likelihood for regression",
            )
        if values and y.numel() and not (int(y.min()) >= 0 and int(y.max()) < outputs):
            raise InputError(
                f"class labels must lie in 0..{outputs - 1} for a model with {outputs} outputs",
                got=f"labels from {int(y.min())} to {int(y.max())}",
                fix="Give the model one output per class, or number the classes from 0",
            )


@final
@dataclass(frozen=True, kw_only=True)
class Gaussian(Likelihood):
    """Regression with unit variance: eta is the predicted mean, `y` of shape ``(..., C)`` or ``(...)`` if C=1.

    ``NLL = (y - eta)^2 / 2 + log(2 pi) / 2``, summed over the C targets.
    """

    def nll(self, eta: Float[Tensor, "*axes out"], y: Shaped[Tensor, "..."]) -> Float[Tensor, "*axes"]:
        """Half the squared error, plus half of log 2 pi, per target."""
        y = y.unsqueeze(-1) if y.ndim < eta.ndim else y
        # Anything else would broadcast, one example's target against another's output.
        _require_shape(y, eta.shape, fix="Pass targets of shape (batch, outputs), or (batch,) for one output")
        return (0.5 * (eta - y).square() + 0.5 * math.log(2 * math.pi)).sum(dim=-1)

    def mean(self, eta: Float[Tensor, "*axes out"]) -> Float[Tensor, "*axes out"]:
        """The output itself."""
        return eta

    def geometric(self, eta_BMC: Float[Tensor, "batch member out"]) -> Float[Tensor, "batch out"]:
        """Mean output."""
        return eta_BMC.mean(dim=1)

    def mixture(self, eta_BMC: Float[Tensor, "batch member out"]) -> Float[Tensor, "batch out"]:
        """Mean output: the mixture's mean is the mean of the members' means."""
        return eta_BMC.mean(dim=1)

    def average(
        self, eta: Float[Tensor, "*axes depth out"], log_weights: Float[Tensor, "*weighted depth"]
    ) -> Float[Tensor, "*axes out"]:
        """Weighted mean of the outputs."""
        return (eta * log_weights.exp().unsqueeze(-1)).sum(dim=-2)

    def check_targets(self, y: Tensor, *, outputs: int, values: bool = True) -> None:
        """Targets must be finite floating-point numbers, `outputs` a row."""
        if not y.is_floating_point():
            raise InputError(
                "regression targets must be floating-point numbers",
                got=f"targets of {str(y.dtype).removeprefix('torch.')}",
                fix="Convert them with y.float(), or use the Categorical likelihood for classes",
            )
        width = 1 if y.ndim == 1 else y.shape[-1]
        if width != outputs:
            raise InputError(
                f"a model with {outputs} outputs needs {outputs} targets a row",
                got=f"targets of shape {tuple(y.shape)}",
                fix="Give the model one output per target",
            )
        if values and not bool(torch.isfinite(y).all()):
            raise InputError(
                "regression targets must be finite",
                got=f"{int((~torch.isfinite(y)).sum())} NaN or infinite values",
                fix="Drop or fill those rows",
            )


def _cross_entropy(eta: Tensor, y: Tensor, reduction: Literal["none", "mean"]) -> Tensor:
    if y.is_floating_point() and y.shape == eta.shape:
        classes = eta.shape[-1]
        probs = y.reshape(-1, classes).to(eta.dtype)
        return F.cross_entropy(eta.reshape(-1, classes), probs, reduction=reduction)
    _require_shape(
        y, eta.shape[:-1], fix="Turn one-hot rows into labels with y.argmax(dim=1), a column with y.squeeze(1)"
    )
    labels = y.reshape(-1).long()
    if eta.device.type == "cpu" and eta.shape[-1] <= _FEW_CLASSES and labels.numel() >= _MANY_ROWS:
        columns = eta.movedim(-1, 0).reshape(1, eta.shape[-1], -1)
        return F.cross_entropy(columns, labels.unsqueeze(0), reduction=reduction, ignore_index=_NO_LABEL)
    rows = eta.reshape(-1, eta.shape[-1])
    return F.cross_entropy(rows, labels, reduction=reduction, ignore_index=_NO_LABEL)


def _require_shape(y: Tensor, shape: torch.Size, *, fix: str) -> None:
    if y.shape != shape:
        raise InputError(
            f"targets of outputs with these axes must have shape {tuple(shape)}",
            got=f"shape {tuple(y.shape)}",
            fix=fix,
        )
