"""Modular networks: M networks trained with the modular loss (Webb et al., 2019)."""

from dataclasses import dataclass
from typing import ClassVar, final

from torch import nn

from motet._internal.field_types import check_field_types
from motet.likelihoods import Combination
from motet.method import ConversionContext, Method, Model
from motet.methods.deep_ensemble import DeepEnsemble, Execution
from motet.objectives.modular import Modular, Reduction, Schedule


@final
@dataclass(frozen=True, kw_only=True)
class ModularNetwork(Method):
    """M networks that share no weights and are coupled by the modular loss (sections 3.1 and 3.3 of the paper).

    Paper: https://arxiv.org/abs/1902.04422.

    The members are those of `DeepEnsemble`. The loss is `motet.Modular`, and the prediction is the mean of the members'
    logits. If each network is small, joint training (lambda near 1) makes one good predictor of many weak ones. If each
    network is large, independent training is better (sections 4.1 to 4.3). With lambda slightly below 1 the
    ensemble also works when members are lost; at 1 it does not (figure 4).

    **Differences from the reference** (https://github.com/grey-area/modular-loss-experiments): none in the loss.
    Schedules of lambda and ``reduction="sum"`` are additions.

    Attributes:
        members: M; the paper uses 16, 64 and 256 small perceptrons.
        lam: lambda, from 0 (independent) to 1 (joint); 0.95 was the paper's best for many small modules.
        schedule, start, reduction: see `motet.Modular`. The paper's reduction is ``"mean"``, with learning rates that
            grow with M.
        execution: how the members run, see `DeepEnsemble`.

    >>> net = torch.nn.Linear(4, 3)
    >>> ensemble = ModularNetwork(members=16, lam=0.95).wrap(net, example=torch.zeros(1, 4))
    >>> ensemble.combination
    'geometric'
    """

    name: ClassVar[str] = "modular-network"
    label: ClassVar[str] = "Modular network"
    summary: ClassVar[str] = "M separate networks, trained independently (lambda 0), jointly (lambda 1), or in between"
    shares_nothing: ClassVar[bool] = True

    members: int = 16
    lam: float = 0.95
    schedule: Schedule = "constant"
    start: float = 0.0
    reduction: Reduction = "mean"
    execution: Execution = "auto"

    def __post_init__(self) -> None:
        check_field_types(self, convert=False)
        self._networks  # checks the settings that a deep ensemble shares  # noqa: B018
        object.__setattr__(self, "lam", self.default_objective.lam)
        object.__setattr__(self, "start", self.default_objective.start)

    @property
    def combination(self) -> Combination:
        """The normalised geometric mean, for every lambda (section 2.3 of the paper)."""
        return "geometric"

    @property
    def default_objective(self) -> Modular:
        """Return the modular loss with these settings."""
        return Modular(lam=self.lam, schedule=self.schedule, start=self.start, reduction=self.reduction)

    def convert(self, model: Model, context: ConversionContext) -> nn.Module:
        """Return M networks that run side by side.

        Raises:
            InputError: see `DeepEnsemble.convert`.
        """
        return self._networks.convert(model, context)

    @property
    def _networks(self) -> DeepEnsemble:
        return DeepEnsemble(members=self.members, execution=self.execution)
