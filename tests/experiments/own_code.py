"""What somebody may write outside motet: a method, its grouping, an objective, one over exits, and a likelihood."""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from motet.grouping import Grouping
from motet.layers import MultiInput
from motet.likelihoods import Likelihood
from motet.method import ConversionContext, Method, Model, check_members
from motet.methods.member_layers import with_member_inputs_and_heads
from motet.objectives import ExitObjective, Objective
from motet.types import Batch


@dataclass(frozen=True, kw_only=True)
class Rolled(Grouping):
    """Member m sees the batch rolled by m times the step."""

    step: int = 1

    def deal(self, x: Tensor, y: Tensor, *, members: int, generator: Any = None, progress: Any = None) -> Batch:
        inputs = torch.stack([x.roll(member * self.step, 0) for member in range(members)], dim=1)
        targets_BM = torch.stack([y.roll(member * self.step, 0) for member in range(members)], dim=1)
        return Batch(inputs=inputs, targets_BM=targets_BM, distinct=True)


@dataclass(frozen=True, kw_only=True)
class Scaled(Objective):
    """Some times the sum of the members' losses."""

    factor: float = 2.0

    def __call__(
        self,
        outputs_BMC: Tensor,
        targets_BM: Tensor,
        likelihood: Likelihood,
        *,
        weights_BM: Tensor | None = None,
        progress: Any = None,
    ) -> Tensor:
        return self.factor * likelihood.mean_nll(outputs_BMC, targets_BM) * outputs_BMC.shape[1]


@dataclass(frozen=True, kw_only=True)
class LastExit(ExitObjective):
    """The loss of the deepest exit."""

    def __call__(
        self,
        exits_BMDC: Tensor,
        targets_BM: Tensor,
        likelihood: Likelihood,
        *,
        log_weights_MD: Tensor,
        progress: Any = None,
    ) -> Tensor:
        return likelihood.mean_nll(exits_BMDC[:, :, -1], targets_BM) * exits_BMDC.shape[1] + 0 * log_weights_MD.sum()


@dataclass(frozen=True, kw_only=True)
class RolledMIMO(Method):
    """MIMO with another grouping and another loss."""

    name = "rolled-mimo"
    label = "Rolled MIMO"
    summary = "M inputs and M heads; member m sees the batch rolled by m"

    members: int = 2
    grouping: Grouping = Rolled(step=3)
    factor: float = 1.0

    def __post_init__(self) -> None:
        check_members(self.members)

    @property
    def default_objective(self) -> Objective:
        return Scaled(factor=self.factor)

    def convert(self, model: Model, given: ConversionContext) -> nn.Module:
        return with_member_inputs_and_heads(
            self, model, given, lambda layer, kernels: MultiInput(layer, kernels, layout=given.layout)
        )


@dataclass(frozen=True, kw_only=True)
class Laplace(Likelihood):
    """Regression with a fixed scale, under which the loss is the absolute error."""

    target_kind = "real"
    scale: float = 1.0

    def nll(self, eta: Tensor, y: Tensor, *, constants: bool = True) -> Tensor:
        y = y.unsqueeze(-1) if y.ndim < eta.ndim else y
        return ((eta - y).abs() / self.scale + math.log(2 * self.scale)).sum(dim=-1)

    def mean(self, eta: Tensor) -> Tensor:
        return eta

    def variance(self, eta: Tensor) -> Tensor:
        return torch.full_like(eta, 2 * self.scale**2)

    def sample(self, eta: Tensor, *, generator: Any = None) -> Tensor:
        u = torch.empty_like(eta).uniform_(-0.5, 0.5, generator=generator)
        return eta - self.scale * u.sign() * torch.log1p(-2 * u.abs())

    def cdf(self, eta: Tensor, y: Tensor) -> Tensor:
        z = (y - eta) / self.scale
        return torch.where(z < 0, 0.5 * z.clamp_max(0).exp(), 1 - 0.5 * (-z.clamp_min(0)).exp())

    def check_targets(self, y: Tensor, *, outputs: int, values: bool = True) -> None:
        pass

    def geometric(self, eta_BMC: Tensor) -> Tensor:
        return eta_BMC.mean(dim=1)

    def average(self, eta: Tensor, log_weights: Tensor) -> Tensor:
        return (eta * log_weights.exp().unsqueeze(-1)).sum(dim=-2)
