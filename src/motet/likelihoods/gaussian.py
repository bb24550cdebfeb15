"""Regression with unit variance."""

import math
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from motet.errors import InputError
from motet.likelihoods._likelihood import NaturalExponentialFamily, require_shape


@final
@dataclass(frozen=True, kw_only=True)
class Gaussian(NaturalExponentialFamily):
    """Regression with unit variance: eta is the predicted mean, `y` of shape ``(..., C)`` or ``(...)`` if C=1.

    ``NLL = (y - eta)^2 / 2 + log(2 pi) / 2``, summed over the C targets.
    """

    def nll(self, eta: Float[Tensor, "*axes out"], y: Shaped[Tensor, "..."]) -> Float[Tensor, "*axes"]:
        """Half the squared error, plus half of log 2 pi, per target."""
        y = y.unsqueeze(-1) if y.ndim < eta.ndim else y
        # Anything else would broadcast, one example's target against another's output.
        require_shape(y, eta.shape, fix="Pass targets of shape (batch, outputs), or (batch,) for one output")
        return (0.5 * (eta - y).square() + 0.5 * math.log(2 * math.pi)).sum(dim=-1)

    def mean(self, eta: Float[Tensor, "*axes out"]) -> Float[Tensor, "*axes out"]:
        """The output itself."""
        return eta

    def log_normaliser(self, eta: Float[Tensor, "*axes out"]) -> Float[Tensor, "*axes"]:
        """``eta^2 / 2``, summed over the targets."""
        return 0.5 * eta.square().sum(dim=-1)

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
