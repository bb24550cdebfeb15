"""Losses that train members jointly, as one modular network (Joint training of neural network ensembles).

Paper: https://arxiv.org/abs/1902.04422.

Members see the same examples. The joint loss is that of their normalised geometric mean, the distribution at the mean
natural parameter. The modular loss interpolates between joint and independent training with one number, lambda.
"""

import math
from dataclasses import dataclass
from typing import Literal, final, get_args

from jaxtyping import Float, Shaped
from torch import Tensor

from motet._internal.field_types import check_field_types
from motet.errors import InputError
from motet.grouping import Grouping
from motet.likelihoods import Combination, Likelihood, NaturalExponentialFamily
from motet.objectives.base import ExitObjective, Objective
from motet.objectives.independent import Independent
from motet.types import Progress

Schedule = Literal["constant", "linear"]
Reduction = Literal["mean", "sum"]

_MEAN = Independent(reduction="mean")


@final
@dataclass(frozen=True, kw_only=True)
class Modular(Objective):
    """``lambda NLL(mean eta) + (1 - lambda) mean_j NLL(eta_j)``, averaged over rows.

    Paper: https://arxiv.org/abs/1902.04422, equations 4, 7 and 10.

    Its gradient with respect to member j's natural parameter is ``(ybar_j - y - lambda (ybar_j - ybar)) / M`` (equation
    8) for every natural exponential family. At lambda = 0 members are trained independently, each with 1/M of the
    gradient that it would have by itself. At lambda = 1 it is the NLL of the modular network. Between these values it
    is the members' mean NLL minus lambda times their ambiguity, the mean divergence of members from the ensemble
    (equation 6).

    With the unit-variance Gaussian this is Negative Correlation Learning (Liu and Yao 1999). In coupled ensembles (Dutt
    et al. 2018, https://arxiv.org/abs/1709.06053) lambda = 1 is the training method "FC", and lambda = 0 is both "LL"
    and "SM", whose gradients differ from independent training only by the factor 1/M (appendix of the paper).

    Members are combined as in the loss, by their normalised geometric mean.

    Attributes:
        lam: lambda, in [0, 1]. Above 1 the loss has no lower bound (theorem 1).
        schedule: ``"linear"`` goes from `start` to `lam` over the epochs of training. Under ``"constant"``, and in a
            training loop that passes no progress, lambda is always `lam`.
        start: the first value of the linear schedule.
        reduction: ``"mean"`` as in the paper, or ``"sum"``: M times that, so that at lambda = 0 each member has the
            gradient that it would have by itself. With ``"mean"`` a good learning rate grows with M (the paper's: about
            0.02 M).
    """

    lam: float = 0.95
    schedule: Schedule = "constant"
    start: float = 0.0
    reduction: Reduction = "mean"

    def __post_init__(self) -> None:
        check_field_types(self, convert=False)
        object.__setattr__(self, "lam", _lambda("lam", self.lam))
        object.__setattr__(self, "start", _lambda("start", self.start))
        _one_of("schedule", self.schedule, get_args(Schedule))
        _one_of("reduction", self.reduction, get_args(Reduction))

    @property
    def combination(self) -> Combination | None:
        """The normalised geometric mean."""
        return "geometric"

    @property
    def is_coupled(self) -> bool:
        """Whether members are coupled at any time: lambda is above 0 at some point of the schedule."""
        return self.lam > 0 or (self.schedule == "linear" and self.start > 0)

    def check(self, likelihood: Likelihood, grouping: Grouping) -> None:
        """Check that the loss is defined for this likelihood and this grouping.

        Raises:
            InputError: for lambda > 0 if members see different examples, or if the likelihood is not a natural
                exponential family.
        """
        if self.is_coupled:
            _check_family(likelihood, f"lambda={self.lam:g}")
        if self.is_coupled and not grouping.shares_examples:
            raise InputError(
                "a modular loss with lambda > 0 needs members that see the same examples",
                got=f"lambda={self.lam:g} with the grouping {grouping}",
                fix="Pass lam=0, or use a method whose members see the same examples, such as DeepEnsemble",
            )

    def lambda_at(self, progress: Progress | None) -> float:
        """Return lambda at this point of training."""
        if self.schedule == "constant" or progress is None:
            return self.lam
        return self.start + (self.lam - self.start) * progress.fraction

    def __call__(
        self,
        outputs_BMC: Float[Tensor, "batch member out"],
        targets_BM: Shaped[Tensor, "batch member ..."],
        likelihood: Likelihood,
        *,
        weights_BM: Float[Tensor, "batch member"] | None = None,
        progress: Progress | None = None,
    ) -> Float[Tensor, ""]:
        """Return the loss. Row b must have the same target for all members, and rows cannot have weights for each
        member.

        Raises:
            InputError: for weights, with lambda > 0.
        """
        lam, members = self.lambda_at(progress), outputs_BMC.shape[1]
        if lam > 0 and weights_BM is not None:
            raise InputError(
                "a modular loss with lambda > 0 cannot weight members differently in each row",
                got=f"lambda={lam:g} and weights of shape {tuple(weights_BM.shape)}",
                fix="Pass lam=0, or use a method that does not mix examples",
            )
        if members == 1 or lam == 0:
            loss = _MEAN(outputs_BMC, targets_BM, likelihood, weights_BM=weights_BM)
        else:
            loss = lam * likelihood.mean_nll(likelihood.geometric(outputs_BMC), targets_BM[:, 0])
            if lam < 1:
                loss = loss + (1 - lam) * _MEAN(outputs_BMC, targets_BM, likelihood)
        return loss * members if self.reduction == "sum" and members > 1 else loss


@final
@dataclass(frozen=True, kw_only=True)
class Joint(Objective):
    """The NLL of the members' normalised geometric mean: `Modular` with lambda = 1; "FC" in coupled ensembles.

    Attributes:
        reduction: ``"mean"``: the NLL itself; ``"sum"``: M times that, see `Modular`.
    """

    reduction: Reduction = "mean"

    def __post_init__(self) -> None:
        check_field_types(self, convert=False)
        _one_of("reduction", self.reduction, get_args(Reduction))

    @property
    def combination(self) -> Combination | None:
        """The normalised geometric mean."""
        return "geometric"

    def check(self, likelihood: Likelihood, grouping: Grouping) -> None:
        """See `Modular.check`."""
        self._modular.check(likelihood, grouping)

    def __call__(
        self,
        outputs_BMC: Float[Tensor, "batch member out"],
        targets_BM: Shaped[Tensor, "batch member ..."],
        likelihood: Likelihood,
        *,
        weights_BM: Float[Tensor, "batch member"] | None = None,
        progress: Progress | None = None,
    ) -> Float[Tensor, ""]:
        """Return the NLL of the modular network, averaged over rows."""
        return self._modular(outputs_BMC, targets_BM, likelihood, weights_BM=weights_BM, progress=progress)

    @property
    def _modular(self) -> Modular:
        return Modular(lam=1.0, reduction=self.reduction)


@final
@dataclass(frozen=True, kw_only=True)
class ModularExits(ExitObjective):
    """The modular loss over the depths of each member: its exits are the modules. An addition of motet, not from a
    paper.

    ``lambda NLL(sum_d w_d eta_d) + (1 - lambda) sum_d w_d NLL(eta_d)`` with the member's weights w over depths,
    averaged over rows and summed over members. The exits of one member see the same example under every grouping, so
    this loss also works with MIMMO.

    Attributes:
        lam: lambda, in [0, 1].
    """

    lam: float = 0.5

    def __post_init__(self) -> None:
        check_field_types(self, convert=False)
        object.__setattr__(self, "lam", _lambda("lam", self.lam))

    def check(self, likelihood: Likelihood) -> None:
        """Raise `InputError` for lambda > 0 with a likelihood outside the natural exponential family."""
        if self.lam > 0:
            _check_family(likelihood, f"lambda={self.lam:g}")

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
        """Return the loss, summed over members, averaged over rows."""
        weights_MD, members, depths = log_weights_MD.exp(), exits_BMDC.shape[1], exits_BMDC.shape[2]
        mean_BMC = (exits_BMDC * weights_MD.unsqueeze(-1)).sum(dim=2)
        joint = _MEAN(mean_BMC, targets_BM, likelihood, weights_BM=weights_BM) * members
        if self.lam == 1:
            return joint
        targets = targets_BM.unsqueeze(2).expand(-1, -1, depths, *targets_BM.shape[2:])
        nll_BMD = likelihood.nll(exits_BMDC, targets)
        if weights_BM is not None:
            nll_BMD = nll_BMD * weights_BM.unsqueeze(-1)
        each = (nll_BMD.mean(dim=0) * weights_MD).sum()
        return self.lam * joint + (1 - self.lam) * each if self.lam > 0 else each


def _check_family(likelihood: Likelihood, what: str) -> None:
    if not isinstance(likelihood, NaturalExponentialFamily):
        raise InputError(
            "a modular loss with lambda > 0 needs a natural exponential family",
            got=f"{what} with the likelihood {type(likelihood).__name__}",
            fix="Pass lam=0, or use the likelihood gaussian (of unit variance), categorical, bernoulli or poisson",
        )


def _lambda(name: str, value: float) -> float:
    try:
        number = math.nan if isinstance(value, str) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not 0 <= number <= 1:
        raise InputError(
            f"{name} (lambda) must lie in [0, 1]" + ("" if not number > 1 else ": above 1 the loss has no lower bound"),
            got=f"{name}={value!r}",
            fix="Pass 0 for independent members, 1 for joint training, 0.95 for nearly joint",
        )
    return number


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise InputError(
            f"{name} must be {' or '.join(map(repr, allowed))}", got=repr(value), fix=f"Pass {name}={allowed[0]!r}"
        )
