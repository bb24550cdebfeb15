"""The abstract training losses `Objective` and `ExitObjective`."""

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
        """How members trained with this loss are combined; None leaves it to the method."""
        return None

    def check(self, likelihood: Likelihood, grouping: Grouping) -> None:  # noqa: B027 - most losses refuse nothing
        """Raise `InputError` if the loss is undefined for this likelihood or for this grouping."""

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
        """Return the loss in nats, a scalar. Row b of member m has target ``targets_BM[b, m]``.

        Args:
            outputs_BMC: natural parameters.
            targets_BM: targets.
            likelihood: the distribution whose natural parameters the outputs are.
            weights_BM: factors of each row's and member's loss; 1 if None.
            progress: how far training has come; None for an objective without schedules.
        """


@dataclass(frozen=True, kw_only=True)
class ExitObjective(ABC):
    """A training loss over the outputs of members that have an output at every depth."""

    @property
    def combination(self) -> Combination | None:
        """How members trained with this loss are combined; None leaves it to the method."""
        return None

    def check(self, likelihood: Likelihood) -> None:  # noqa: B027 - most losses refuse nothing
        """Raise `InputError` if the loss is undefined for this likelihood."""

    @abstractmethod
    def __call__(
        self,
        exits_BMDC: Float[Tensor, "batch member depth out"],
        targets_BM: Shaped[Tensor, "batch member ..."],
        likelihood: Likelihood,
        *,
        log_weights_MD: Float[Tensor, "member depth"],
        weights_BM: Float[Tensor, "batch member"] | None = None,
        progress: Progress | None = None,
    ) -> Float[Tensor, ""]:
        """Return the loss in nats, a scalar.

        Args:
            exits_BMDC: natural parameters of every exit, the deepest last.
            targets_BM: targets.
            likelihood: the distribution whose natural parameters the outputs are.
            log_weights_MD: log of each member's weights over depths, differentiable with respect to their parameters.
            weights_BM: factors of each row's and member's loss, which is then passed; a class of your own needs it only
                for positions that are ignored for some members.
            progress: how far training has come; None if warm starts are over.
        """

    def estimate(
        self,
        exits_BMDC: Float[Tensor, "batch member depth out"],
        targets_BM: Shaped[Tensor, "batch member ..."],
        likelihood: Likelihood,
        *,
        logits_MD: Float[Tensor, "member depth"],
        weights_BM: Float[Tensor, "batch member"] | None = None,
        progress: Progress | None = None,
    ) -> Float[Tensor, "member depth"] | None:
        """Return new logits of the weights over depths; None, the default, if these weights are parameters.

        It is called once in each training step, before the loss, without gradients.

        Args:
            exits_BMDC: natural parameters of every exit, the deepest last.
            targets_BM: targets.
            likelihood: the distribution whose natural parameters the outputs are.
            logits_MD: the current logits.
            weights_BM: factors of each row's and member's loss; 1 if None. Passed only if there are any.
            progress: how far training has come; None if warm starts are over.
        """
        return None
