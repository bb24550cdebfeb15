"""Modular networks: M networks under the modular loss (Webb et al., Joint Training of Neural Network Ensembles)."""

from dataclasses import dataclass
from typing import ClassVar, final

from torch import nn

from motet.likelihoods import Combination
from motet.method import Given, Method, Model
from motet.methods.deep_ensemble import DeepEnsemble, Execution
from motet.objectives.modular import Modular, Reduction, Schedule


@final
@dataclass(frozen=True, kw_only=True)
class ModularNetwork(Method):
    """M networks that share nothing but the data and, by lambda, the loss (S3, sections 3.1 and 3.3).

    The members are a `DeepEnsemble`'s; the loss is `motet.Modular`, the mean of members' logits is the prediction.
    Where each network is small, joint training (lambda near 1) makes one good predictor of many weak ones; where each
    is large, independent training is better (S3, sections 4.1 to 4.3). Slightly under 1 the ensemble also survives the
    loss of members, at 1 it does not (S3, figure 4).

    Attributes:
        members: M; the paper takes 16, 64 and 256 small perceptrons.
        lam: lambda, from 0 (independent) to 1 (joint); 0.95 was the paper's best for many small modules.
        schedule, start, reduction: see `motet.Modular`. The paper's reduction is ``"mean"``, with learning rates
            that grow with M.
        execution: how the members run, see `DeepEnsemble`.

    >>> net = torch.nn.Linear(4, 3)
    >>> ensemble = ModularNetwork(members=16, lam=0.95).wrap(net, example=torch.zeros(1, 4))
    >>> ensemble.combination
    'geometric'
    """

    name: ClassVar[str] = "modular-network"
    label: ClassVar[str] = "Modular network"
    summary: ClassVar[str] = "M whole networks trained between independently and jointly, by lambda"
    shares_nothing: ClassVar[bool] = True

    members: int = 16
    lam: float = 0.95
    schedule: Schedule = "constant"
    start: float = 0.0
    reduction: Reduction = "mean"
    execution: Execution = "auto"

    def __post_init__(self) -> None:
        self._networks  # refuses what a deep ensemble refuses  # noqa: B018
        object.__setattr__(self, "lam", self.default_objective.lam)
        object.__setattr__(self, "start", self.default_objective.start)

    @property
    def size(self) -> int:
        """M."""
        return self.members

    @property
    def combination(self) -> Combination:
        """The normalised geometric mean, whatever lambda is (S3, section 2.3)."""
        return "geometric"

    @property
    def default_objective(self) -> Modular:
        """The modular loss with these settings."""
        return Modular(lam=self.lam, schedule=self.schedule, start=self.start, reduction=self.reduction)

    def convert(self, model: Model, given: Given) -> nn.Module:
        """M networks side by side."""
        return self._networks.convert(model, given)

    @property
    def _networks(self) -> DeepEnsemble:
        return DeepEnsemble(members=self.members, execution=self.execution)
