"""How members are coupled in the loss: the abstract `Objective` and `ExitObjective`."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from jaxtyping import Float, Shaped
from torch import Tensor

from motet.grouping import Grouping
from motet.likelihoods import Combination, Likelihood
from motet.types import Progress


@dataclass(frozen=True, kw_only=True)
class Objective(ABC):
    """A training loss over the members' outputs."""

    @property
    def combination(self) -> Combination | None:
        """How members that were trained under this loss are combined; None leaves it to the method."""
        return None

    def check(self, likelihood: Likelihood, grouping: Grouping) -> None:  # noqa: B027 - most losses refuse nothing
        """Raise `InputError` where the loss has no meaning for this likelihood, or for what members are dealt."""

    @abstractmethod
    def __call__(
        self,
        outputs_BMC: Float[Tensor, "batch member out"],
        targets_BM: Shaped[Tensor, "batch member ..."],
        likelihood: Likelihood,
        *,
        weights_BM: Float[Tensor, "batch member"] | None = None,
        progress: Progress | None = None,
    ) -> Float[Tensor, ""]:
        """The loss in nats, a scalar. Row b of member m has target ``targets_BM[b, m]``.

        Args:
            outputs_BMC: natural parameters.
            targets_BM: what they should have been.
            likelihood: what the outputs mean.
            weights_BM: multiplies each row's and member's loss; 1 if None.
            progress: how far training has come; None for an objective without schedules.
        """


@dataclass(frozen=True, kw_only=True)
class ExitObjective(ABC):
    """A training loss over the outputs of members that have an output at every depth."""

    @property
    def combination(self) -> Combination | None:
        """How members that were trained under this loss are combined; None leaves it to the method."""
        return None

    def check(self, likelihood: Likelihood) -> None:  # noqa: B027 - most losses refuse nothing
        """Raise `InputError` where the loss has no meaning for this likelihood."""

    @abstractmethod
    def __call__(
        self,
        exits_BMDC: Float[Tensor, "batch member depth out"],
        targets_BM: Shaped[Tensor, "batch member ..."],
        likelihood: Likelihood,
        *,
        log_weights_MD: Float[Tensor, "member depth"],
        progress: Progress | None = None,
    ) -> Float[Tensor, ""]:
        """The loss in nats, a scalar.

        Args:
            exits_BMDC: natural parameters of every exit, the deepest last.
            targets_BM: what they should have been.
            likelihood: what the outputs mean.
            log_weights_MD: log of each member's weights over depths, connected to the parameters behind them.
            progress: how far training has come; None when warm starts are over.
        """

    def estimate(
        self,
        exits_BMDC: Float[Tensor, "batch member depth out"],
        targets_BM: Shaped[Tensor, "batch member ..."],
        likelihood: Likelihood,
        *,
        logits_MD: Float[Tensor, "member depth"],
        progress: Progress | None = None,
    ) -> Float[Tensor, "member depth"] | None:
        """New logits of the weights over depths, of an objective under which these are no parameters; else None.

        Asked for once in each training step, before the loss, without gradients. The arguments are those of the loss
        and the logits so far.
        """
        return None
