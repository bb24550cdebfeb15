"""Early-exit ensembles (Qendro, Campbell, Lio and Mascolo, PMLR 158, 2021), MIMMO's baseline EE."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, final

from torch import Tensor, nn

from motet._internal.field_types import check_field_types
from motet.errors import InputError
from motet.inference.positions import classes_last
from motet.layers import Ordinary, ParameterRoles, mean_over_positions
from motet.method import ConversionContext, Method, Model, instance_of
from motet.methods.exits import check_exits, exempt_with_exits, input_width, plan_exits
from motet.objectives import ExitObjective
from motet.objectives.depth import ExitSum
from motet.surgery import Features, probe


@final
@dataclass(frozen=True, kw_only=True)
class EarlyExit(Method):
    """One network with a separate classifier at each of D depths; the prediction is their mean.

    Paper: https://proceedings.mlr.press/v158/qendro21a.html.

    Every exit is a global average pool and a classifier with one hidden layer, which is wider at shallower exits.

    **Differences from the reference:** the settings are the arguments of yamle's `methods/early_exit.py`, by MIMMO's
    first author, with the values of MIMMO's appendix B. It was not verified that alpha, beta and gamma have the same
    meaning in the original paper.

    Attributes:
        exits: names of the points with an exit; None for points after 1/2 and 3/4 of the layers, or for those that
            the model names itself, see `motet.methods.exits.plan_exits`; ``()`` for none.
        alpha: weight of each exit's loss; the model's own output has weight 1.
        beta: weight of the mean cross-entropy between pairs of exits, added to the loss (`ExitSum`).
        gamma: exit i of D has ``int(sqrt(1 + gamma)^(D - i) F)`` hidden units, where F is the number of features that
            the output layer reads; 0 for a linear classifier.

    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 8), torch.nn.Linear(8, 3))
    >>> EarlyExit(exits=("1",)).wrap(net, example=torch.zeros(1, 4)).network.heads[0].hidden
    Linear(in_features=8, out_features=9, bias=True)
    """

    name: ClassVar[str] = "early-exit"
    label: ClassVar[str] = "Early exits"
    summary: ClassVar[str] = "one network, a classifier at each of several depths, their mean"

    exits: tuple[str, ...] | None = None
    alpha: float = 1.0
    beta: float = 0.0
    gamma: float = 0.3

    def __post_init__(self) -> None:
        check_exits(self.exits)
        check_field_types(self, convert=False)
        _ = self.default_objective  # checks the weights of the loss
        if not 0 <= self.gamma < math.inf:
            raise InputError(
                "gamma must be a finite number of at least 0",
                got=f"gamma={self.gamma}",
                fix="Pass gamma=0.0 for linear classifiers",
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
        """The weighted sum of the exits' losses."""
        return ExitSum(alpha=self.alpha, beta=self.beta)

    def convert(self, model: Model, context: ConversionContext) -> nn.Module:
        """Return the model with a classifier at each point."""
        network = instance_of(model)
        probed = probe(network, context.example)
        plan = plan_exits(network, context, probed, self.exits)
        classes = classes_last(probed.output, context.likelihood).shape[-1]

        def head(depth: int, depths: int, features: Features, layer: Ordinary) -> nn.Module:
            hidden = int(math.sqrt(1 + self.gamma) ** (depths - depth) * input_width(layer)) if self.gamma else None
            return ExitHead(features, hidden, classes, layer)

        return plan.exits(network, context, members=1, learned=False, head=head)


@final
class ExitHead(ParameterRoles):
    """The mean over positions, then one linear layer, or two with a ReLU between them.

    In a model that predicts at positions, `pools` is False: the layers are applied at each position.

    Args:
        features: the features at the exit.
        hidden: the width of the hidden layer; no hidden layer if None.
        classes: the number of outputs.
        layer: a layer with the device and dtype to use.
    """

    def __init__(self, features: Features, hidden: int | None, classes: int, layer: Ordinary) -> None:
        super().__init__()
        place: dict[str, Any] = {"device": layer.weight.device, "dtype": layer.weight.dtype}
        self.axis, self.pools = features.axis, True
        self.hidden = nn.Identity() if hidden is None else nn.Linear(features.width, hidden, **place)
        self.act = nn.Identity() if hidden is None else nn.ReLU()
        self.out = nn.Linear(features.width if hidden is None else hidden, classes, **place)

    @property
    def shared_parameters(self) -> frozenset[str]:
        """All parameters: none of them was in the model before."""
        return frozenset(name for name, _ in self.named_parameters())

    def forward(self, h: Tensor) -> Tensor:
        """Return rows ``(B, C)`` for features ``h``, or ``(B, *P, C)`` at their positions."""
        h = mean_over_positions(h, self.axis) if self.pools else h.movedim(self.axis, -1)
        rows: Tensor = self.out(self.act(self.hidden(h)))
        return rows
