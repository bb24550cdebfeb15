"""The naive multi-headed network: one body, M heads (MIMO, section 3.1 and table 1)."""

from dataclasses import dataclass
from typing import ClassVar, final

from torch import nn

from motet.method import Given, Method, Model, check_members, instance_of
from motet.methods.member_layers import member_heads
from motet.surgery import output_layers, probe, replace_module


@final
@dataclass(frozen=True, kw_only=True)
class Multihead(Method):
    """The input and the body are shared, each member has its own output layer.

    The papers' lower baseline: all heads read the same features, so their predictions hardly differ. Under the default
    objective, the sum over members, the shared body gets the sum of the heads' gradients: what Multihead gains over the
    single network at the same learning rate may be that, and not ensembling. ``Independent(reduction="mean")`` keeps
    the body's gradients at the single network's scale.

    Attributes:
        members: M; 3, as for MIMO.

    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    >>> ensemble = Multihead(members=3).wrap(net, example=torch.zeros(1, 4))
    >>> ensemble(torch.zeros(5, 4)).shape
    torch.Size([5, 3, 3])
    """

    name: ClassVar[str] = "multihead"
    label: ClassVar[str] = "Multihead"
    summary: ClassVar[str] = "one body, M heads that all see the same features"

    members: int = 3

    def __post_init__(self) -> None:
        check_members(self.members)

    @property
    def size(self) -> int:
        """M."""
        return self.members

    def convert(self, model: Model, given: Given) -> nn.Module:
        """The model with M heads in place of its output layer."""
        network = instance_of(model)
        for layer in output_layers(network, probe(network, given.example), given.last):
            network = replace_module(network, layer, member_heads(layer, self.members, given.init))
        return network
