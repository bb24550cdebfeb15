"""The naive multi-headed network: one body, M heads (MIMO, section 3.1 and table 1)."""

from dataclasses import dataclass
from typing import ClassVar, final

from torch import nn

from motet._internal.field_types import check_field_types
from motet.method import ConversionContext, Method, Model, check_members, instance_of
from motet.methods.heads import with_heads
from motet.methods.member_layers import member_heads
from motet.surgery import output_layers, probe, replace_module


@final
@dataclass(frozen=True, kw_only=True)
class Multihead(Method):
    """The input layer and the body are shared; each member has its own output layer.

    Paper: the baseline of https://arxiv.org/abs/2010.06610.

    This is the lower baseline for methods of the same cost: all heads read the same features, so their predictions
    hardly differ.

    **Differences from the reference:** none known. Under the default objective, the sum over members, the shared body
    gets the sum of the heads' gradients. What Multihead gains over the single network at the same learning rate may
    come from that and not from ensembling. ``Independent(reduction="mean")`` keeps the body's gradients at the single
    network's scale.

    Attributes:
        members: M; 3, as for MIMO.

    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    >>> ensemble = Multihead(members=3).wrap(net, example=torch.zeros(1, 4))
    >>> ensemble(torch.zeros(5, 4)).shape
    torch.Size([5, 3, 3])
    """

    name: ClassVar[str] = "multihead"
    label: ClassVar[str] = "Multihead"
    summary: ClassVar[str] = "one body, M heads that read the same features"

    members: int = 3

    def __post_init__(self) -> None:
        check_field_types(self, convert=False)
        check_members(self.members)

    def convert(self, model: Model, context: ConversionContext) -> nn.Module:
        """Return the model with M heads in place of its output layer."""
        network = instance_of(model)
        for layer in output_layers(network, probe(network, context.example), context.last):
            network = replace_module(network, layer, member_heads(layer, self.members, context.init))
        return with_heads(network, context, self.members)
