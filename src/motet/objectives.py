"""How members are coupled in the loss: member outputs and targets to one scalar."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal, final

from jaxtyping import Float, Shaped
from torch import Tensor

from motet.errors import InputError
from motet.likelihoods import Likelihood


@dataclass(frozen=True, kw_only=True)
class Objective(ABC):
    """A training loss over the members' outputs."""

    @abstractmethod
    def __call__(
        self,
        outputs_BMC: Float[Tensor, "batch member out"],
        targets_BM: Shaped[Tensor, "batch member ..."],
        likelihood: Likelihood,
    ) -> Float[Tensor, ""]:
        """The loss in nats, a scalar. Row b of member m has target ``targets_BM[b, m]``."""


@final
@dataclass(frozen=True, kw_only=True)
class Independent(Objective):
    """Each member's own NLL, averaged over rows and summed or averaged over members.

    Papers differ in the reduction, and it matters: ``"sum"`` gives each member the gradient it would have alone
    (MIMO, section 2: the sum of the members' log-likelihoods), ``"mean"`` gives 1/M of it, which makes the
    learning rate M times smaller and an L2 penalty M times stronger.
    """

    reduction: Literal["sum", "mean"] = "sum"

    def __post_init__(self) -> None:
        if self.reduction not in ("sum", "mean"):
            raise InputError(
                "reduction over members must be 'sum' or 'mean'",
                got=repr(self.reduction),
                fix="Pass reduction='sum' for the gradient each member would have alone",
            )

    def __call__(
        self,
        outputs_BMC: Float[Tensor, "batch member out"],
        targets_BM: Shaped[Tensor, "batch member ..."],
        likelihood: Likelihood,
    ) -> Float[Tensor, ""]:
        """Sum or mean over members of the mean over rows of the NLL."""
        mean, members = likelihood.mean_nll(outputs_BMC, targets_BM), outputs_BMC.shape[1]
        return mean * members if self.reduction == "sum" and members > 1 else mean
