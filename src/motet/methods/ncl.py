"""Negative correlation learning: M networks for regression (Liu and Yao, 1999; Brown et al., 2005)."""

import math
from dataclasses import dataclass
from typing import ClassVar, final

from torch import nn

from motet._internal.field_types import check_field_types
from motet.errors import InputError
from motet.likelihoods import Combination, Gaussian, Likelihood
from motet.method import ConversionContext, Method, Model
from motet.methods.deep_ensemble import Execution
from motet.methods.modular_network import ModularNetwork
from motet.objectives.modular import Modular, Reduction


@final
@dataclass(frozen=True, kw_only=True)
class NCL(Method):
    """M networks for regression, each trained on its squared error and on a penalty that makes their errors differ.

    Papers: Liu and Yao, Neural Networks 12, 1999, https://doi.org/10.1016/S0893-6080(99)00073-8; Brown, Wyatt and Tino,
    JMLR 6, 2005, https://www.jmlr.org/papers/v6/brown05a.html.

    Network i minimises ``e_i = (f_i - y)^2 / 2 + gamma p_i``, averaged over rows, with the penalty ``p_i = (f_i - fbar)
    sum_{j != i} (f_j - fbar) = -(f_i - fbar)^2``, where fbar is the mean over networks, which is also the prediction.

    The papers differ in the derivative. Brown et al. differentiate fbar, which contains ``f_i / M``: ``d e_i / d f_i =
    (f_i - y) - 2 gamma (1 - 1/M) (f_i - fbar)``. Liu and Yao hold fbar constant, and have ``(f_i - y) - lambda (f_i -
    fbar)``. So both train in the same way if ``lambda = 2 gamma (1 - 1/M)``. `gamma` is that of Brown et al.; `lam`
    is Liu and Yao's lambda, and `from_lambda` makes the method from it. This is `ModularNetwork` with that lambda,
    under the likelihood `Gaussian` of unit variance.

    **Differences from the reference**, here the papers: with ``reduction="sum"`` the gradients are those above;
    ``"mean"`` divides them by M. The gradients of all e_i, each with respect to its own f_i, are those of one loss,
    ``sum_i (f_i - y)^2 / 2 + (lambda / 2) sum_i p_i``, which is the loss that is reported. Lambda above 1 is refused,
    because that loss then has no lower bound. The papers train on single examples in turn, motet on batches.

    Attributes:
        members: M.
        gamma: strength of the penalty, from 0 (independent networks) to ``M / (2 (M - 1))`` (lambda = 1: the networks
            are trained as one). The default, 0.5, is allowed for every M; lambda is then ``1 - 1/M``.
        reduction: ``"sum"`` or ``"mean"`` over networks.
        execution: how the members run, see `DeepEnsemble`.

    >>> NCL(members=4, gamma=0.5).lam
    0.75
    >>> NCL.from_lambda(0.75, members=4) == NCL(members=4, gamma=0.5)
    True
    >>> net = torch.nn.Linear(4, 1)
    >>> ensemble = NCL(members=4).wrap(net, example=torch.zeros(1, 4))
    >>> ensemble.likelihood
    Gaussian()
    """

    name: ClassVar[str] = "ncl"
    label: ClassVar[str] = "NCL"
    summary: ClassVar[str] = "M separate networks for regression, with a penalty that makes their errors differ"
    shares_nothing: ClassVar[bool] = True

    members: int = 4
    gamma: float = 0.5
    reduction: Reduction = "sum"
    execution: Execution = "auto"

    def __post_init__(self) -> None:
        check_field_types(self, convert=False)
        ModularNetwork(members=self.members, lam=0.0, reduction=self.reduction, execution=self.execution)
        try:
            object.__setattr__(self, "gamma", math.nan if isinstance(self.gamma, str) else float(self.gamma))
        except (TypeError, ValueError):
            object.__setattr__(self, "gamma", math.nan)
        most = _largest_gamma(self.members)
        if not 0 <= self.gamma < math.inf or self.gamma > most * (1 + 1e-12):
            raise InputError(
                f"gamma must lie in [0, M / (2 (M - 1))], which is [0, {most:.6g}] for {self.members} members: above, "
                "lambda = 2 gamma (1 - 1/M) exceeds 1, and the loss has no lower bound"
                if self.members > 1
                else "gamma must be a finite number of at least 0",
                got=f"gamma={self.gamma:g}",
                fix="Pass gamma=0.5, which is allowed for every number of members",
            )

    @classmethod
    def from_lambda(cls, lam: float, *, members: int) -> "NCL":
        """Return the method with Liu and Yao's lambda.

        Args:
            lam: lambda, from 0 to 1.
            members: M.

        Raises:
            InputError: for lambda outside [0, 1], and for one member, which has no penalty, with lambda above 0.
        """
        lam = Modular(lam=lam).lam  # checked
        if members == 1 and lam > 0:
            raise InputError(
                "one member has no penalty, whatever lambda is", got=f"lam={lam:g}", fix="Pass lam=0, or more members"
            )
        return cls(members=members, gamma=lam * _largest_gamma(members) if lam else 0.0)

    @property
    def lam(self) -> float:
        """Liu and Yao's lambda, ``2 gamma (1 - 1/M)``, which is also that of `Modular`."""
        return min(1.0, 2 * self.gamma * (1 - 1 / self.members))

    @property
    def combination(self) -> Combination:
        """The normalised geometric mean: the normal distribution at the mean of the networks' outputs."""
        return "geometric"

    @property
    def default_likelihood(self) -> Likelihood:
        """Regression with unit variance."""
        return Gaussian()

    @property
    def default_objective(self) -> Modular:
        """Return the modular loss with lambda = 2 gamma (1 - 1/M)."""
        return Modular(lam=self.lam, reduction=self.reduction)

    def convert(self, model: Model, context: ConversionContext) -> nn.Module:
        """Return M networks that run side by side.

        Raises:
            InputError: for another likelihood than `Gaussian`; see also `DeepEnsemble.convert`.
        """
        if not isinstance(context.likelihood, Gaussian):
            raise InputError(
                "negative correlation learning (ncl) is for regression with the likelihood gaussian, of unit variance",
                got=f"the likelihood {type(context.likelihood).__name__}",
                fix="Use modular-network, which has the same loss for classes, labels and counts"
                if context.likelihood.target_kind != "real"
                else "Pass --likelihood gaussian, or likelihood=motet.Gaussian()",
            )
        networks = ModularNetwork(members=self.members, lam=0.0, execution=self.execution)
        return networks.convert(model, context)


def _largest_gamma(members: int) -> float:
    """Return the gamma at which lambda is 1; infinity for one member."""
    return members / (2 * (members - 1)) if members > 1 else math.inf
