"""MIMMO: Multi-Input Massive Multi-Output neural network (Ferianc and Rodrigues, CVPR workshops 2023)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, final

from torch import nn

from motet._internal.field_types import check_field_types
from motet.grouping import Grouping, Permuted
from motet.method import ConversionContext, Method, Model, check_members, instance_of
from motet.methods.exits import check_exits, exempt_with_exits, plan_exits
from motet.methods.member_layers import multi_input, replace_inputs_and_heads
from motet.objectives import ExitObjective
from motet.objectives.depth import DepthELBO
from motet.surgery import probe


@final
@dataclass(frozen=True, kw_only=True)
class MIMMO(Method):
    """MIMO with predictions at D depths for each member, and learned weights over the depths.

    Paper: Ferianc and Rodrigues, CVPR workshops 2023,
    https://openaccess.thecvf.com/content/CVPR2023W/ECV/html/Ferianc_MIMMO_Multi-Input_Massive_Multi-Output_Neural_Network_CVPRW_2023_paper.html.

    M inputs are concatenated at the input layer, as in MIMO. The features at each exit go through an adapter (1x1
    convolution with bias, batch norm, ReLU, global average pool) to the M heads, which all depths share. Member m
    weights its depths with a categorical posterior theta_m, which is learned with the other parameters under the
    evidence lower bound. The prediction is ``1/M sum_m sum_i theta_{m,i} p_{m,i}``. Every head is evaluated at every
    depth.

    **Differences from the reference:** the paper's own code was not available. Details follow its appendix and the
    first author's framework yamle. Which alpha the main tables use is not known; 1, the default, gives the evidence
    lower bound itself.

    Attributes:
        members: M; 2, 4 and 8 in the paper.
        exits: names of the points with an exit; None for points after 1/2 and 3/4 of the layers, or for those that
            the model names itself, see `motet.methods.exits.plan_exits`; ``()`` for none, which gives MIMO.
        batch_repetition: see `MIMO`; 2 in appendix B.
        input_repetition: rho, see `MIMO`; 0.25 in appendix B.
        alpha: weight of the KL divergence to the uniform prior, on the paper's scale, relative to the log-likelihood of
            all N training examples; 0 to 1e6 in appendix C. N comes from `motet.training.fit`, see `DepthELBO`.
        warm_start_epochs: the number of epochs in which the depths have equal weight; 5 in appendix B.
        learn_depth: whether theta is learned. If not, it stays uniform: the paper's "MIMMO gamma".

    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 8), torch.nn.Linear(8, 3))
    >>> ensemble = MIMMO(members=2, exits=("1",)).wrap(net, example=torch.zeros(1, 4))
    >>> ensemble.forward_exits(torch.zeros(5, 4)).shape
    torch.Size([5, 2, 2, 3])
    """

    name: ClassVar[str] = "mimmo"
    label: ClassVar[str] = "MIMMO"
    summary: ClassVar[str] = "MIMO with exits at several depths, and a learned posterior over depth for each member"

    members: int = 2
    exits: tuple[str, ...] | None = None
    batch_repetition: int = 2
    input_repetition: float = 0.25
    alpha: float = 1.0
    warm_start_epochs: float = 5.0
    learn_depth: bool = True

    def __post_init__(self) -> None:
        check_members(self.members)
        check_exits(self.exits)
        check_field_types(self, convert=False)
        _ = self.grouping, self.default_objective  # check their settings

    @property
    def exempt_from(self) -> Mapping[str, str]:
        """With exits, one member predicts more than the single network does."""
        return exempt_with_exits(self.exits)

    @property
    def grouping(self) -> Grouping:
        """Each member sees its own permutation of the repeated batch."""
        return Permuted(batch_repetition=self.batch_repetition, input_repetition=self.input_repetition)

    @property
    def default_objective(self) -> ExitObjective:
        """The evidence lower bound. If theta stays at the prior, its KL divergence is 0."""
        return DepthELBO(alpha=self.alpha, warm_start_epochs=self.warm_start_epochs)

    def convert(self, model: Model, context: ConversionContext) -> nn.Module:
        """Return the model with a multi-input layer, M heads, and exits that lead to these heads.

        Raises:
            InputError: if the input or output layers are ambiguous or cannot be replaced, or an exit does not fit the
                model.
        """
        network = instance_of(model)
        probed = probe(network, context.example)
        plan = plan_exits(network, context, probed, self.exits)
        network = replace_inputs_and_heads(
            self, network, probed, context, lambda layer, kernels: multi_input(layer, kernels, context.layout)
        )
        return plan.exits(network, context, members=self.members, learned=self.learn_depth)
