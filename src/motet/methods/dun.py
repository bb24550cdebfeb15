"""DUN: Depth uncertainty in neural networks (Antoran, Allingham and Hernandez-Lobato, NeurIPS 2020)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal, final

from torch import nn

from motet._internal.field_types import check_field_types
from motet.errors import InputError
from motet.method import ConversionContext, Method, Model, instance_of
from motet.methods.exits import check_exits, exempt_with_exits, plan_exits
from motet.objectives import ExitObjective
from motet.objectives.depth import DepthELBO, DepthMarginalLikelihood
from motet.surgery import probe


@final
@dataclass(frozen=True, kw_only=True)
class DUN(Method):
    """One network that predicts at D depths and weights them with a posterior over depth.

    Paper: https://arxiv.org/abs/2006.08437.

    The features at each exit go through an adapter (1x1 convolution with bias, batch norm, ReLU, global average pool)
    to the model's own output layer, which all depths share, as in MIMMO's appendix B. The prediction is ``sum_d q_d
    p_d``, computed in one pass.

    **Differences from the reference:** the logits of the posterior are not decayed, because decay would pull the
    posterior towards the prior a second time; the original code decays them with all other parameters. Under ``"mll"``
    the posterior is a running estimate over the training set, because an estimate from one batch, as in the original
    code, chooses a depth by chance.

    Attributes:
        exits: names of the points with an exit; None for points after 1/2 and 3/4 of the layers, or for those that
            the model names itself, see `motet.methods.exits.plan_exits`; ``()`` for none, which gives the
            single network.
        objective: ``"vi"``: a learned categorical posterior q and the evidence lower bound (`DepthELBO`). ``"mll"``:
            the exact marginal likelihood, with a running estimate of the posterior (`DepthMarginalLikelihood`).
        alpha: the weight of the KL divergence under ``"vi"``; 1 gives the evidence lower bound itself.
        warm_start_epochs: the number of epochs in which all depths have equal weight; 5 in MIMMO's appendix B.
        skip_below: in evaluation, depths with a smaller weight are left out and the other weights are rescaled to add
            up to 1; layers after the deepest remaining exit do not run. 0 keeps all depths.

    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 8), torch.nn.Linear(8, 3))
    >>> ensemble = DUN(exits=("1",)).wrap(net, example=torch.zeros(1, 4))
    >>> ensemble.forward_exits(torch.zeros(5, 4)).shape
    torch.Size([5, 1, 2, 3])
    """

    name: ClassVar[str] = "dun"
    label: ClassVar[str] = "DUN"
    summary: ClassVar[str] = "one network, exits at several depths, a learned posterior over depth"

    exits: tuple[str, ...] | None = None
    objective: Literal["vi", "mll"] = "vi"
    alpha: float = 1.0
    warm_start_epochs: float = 5.0
    skip_below: float = 0.01

    def __post_init__(self) -> None:
        check_exits(self.exits)
        check_field_types(self, convert=False)
        if self.objective not in ("vi", "mll"):
            raise InputError(
                "the objective of DUN must be 'vi' or 'mll'",
                got=repr(self.objective),
                fix="Pass objective='vi' for the evidence lower bound",
            )
        DepthELBO(alpha=self.alpha, warm_start_epochs=self.warm_start_epochs)  # checks both settings
        if self.objective == "mll" and self.alpha != 1:
            raise InputError(
                "alpha weights the KL divergence, which only objective='vi' has",
                got=f"alpha={self.alpha} with objective='mll'",
                fix="Leave alpha out, or pass objective='vi'",
            )
        if not 0 <= self.skip_below < 1:
            raise InputError(
                "skip_below must lie in [0, 1)",
                got=f"skip_below={self.skip_below}",
                fix="Pass skip_below=0.0 to keep all depths",
            )

    @property
    def members(self) -> int:
        """One member."""
        return 1

    @property
    def exempt_from(self) -> Mapping[str, str]:
        """With exits, one member predicts more than the single network does."""
        return exempt_with_exits(self.exits)

    @property
    def default_objective(self) -> ExitObjective:
        """The evidence lower bound or the marginal likelihood."""
        if self.objective == "vi":
            return DepthELBO(alpha=self.alpha, warm_start_epochs=self.warm_start_epochs)
        return DepthMarginalLikelihood(warm_start_epochs=self.warm_start_epochs)

    def convert(self, model: Model, context: ConversionContext) -> nn.Module:
        """Return the model with exits that lead to its output layer."""
        network = instance_of(model)
        plan = plan_exits(network, context, probe(network, context.example), self.exits)
        learned = self.objective == "vi"
        return plan.exits(network, context, members=1, learned=learned, skip_below=self.skip_below)
