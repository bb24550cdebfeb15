"""Independent training: the sum or the mean of the members' own losses."""

from dataclasses import dataclass
from typing import Literal, final

from jaxtyping import Float, Shaped
from torch import Tensor

from motet._internal.field_types import check_field_types
from motet.errors import InputError
from motet.likelihoods import Likelihood
from motet.objectives.base import Objective
from motet.types import Progress


@final
@dataclass(frozen=True, kw_only=True)
class Independent(Objective):
    """Each member's own NLL, averaged over rows, and summed or averaged over members.

    Papers use different reductions, and the difference matters. ``"sum"`` gives each member the gradient that it would
    have if it were trained separately (MIMO, section 2: the sum of the members' log-likelihoods). ``"mean"`` gives 1/M
    of it, which makes the learning rate M times smaller and an L2 penalty M times stronger.
    """

    reduction: Literal["sum", "mean"] = "sum"

    def __post_init__(self) -> None:
        check_field_types(self, convert=False)
        if self.reduction not in ("sum", "mean"):
            raise InputError(
                "reduction over members must be 'sum' or 'mean'",
                got=repr(self.reduction),
                fix="Pass reduction='sum' for the gradient that each member would have by itself",
            )

    def __call__(
        self,
        outputs_BMC: Float[Tensor, "batch member out"],
        targets_BM: Shaped[Tensor, "batch member ..."],
        likelihood: Likelihood,
        *,
        weights_BM: Float[Tensor, "batch member"] | None = None,
        progress: Progress | None = None,
    ) -> Float[Tensor, ""]:
        """Return the sum or mean over members of the mean over rows of the (weighted) NLL."""
        members = outputs_BMC.shape[1]
        if weights_BM is None:
            mean = likelihood.mean_nll(outputs_BMC, targets_BM)
        else:
            mean = (weights_BM * likelihood.nll(outputs_BMC, targets_BM)).mean()
        return mean * members if self.reduction == "sum" and members > 1 else mean
