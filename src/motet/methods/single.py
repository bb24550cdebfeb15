"""The single network: one deterministic predictor, the baseline of every comparison."""

from dataclasses import dataclass
from typing import ClassVar, final

from torch import nn

from motet.method import ConversionContext, Method, Model, instance_of
from motet.surgery import probe


@final
@dataclass(frozen=True, kw_only=True)
class Single(Method):
    """The unchanged model behind the ensemble interface, with one member.

    There is no paper and no reference implementation: the network is a copy of the model that is wrapped.

    >>> net = torch.nn.Linear(4, 3)
    >>> Single().wrap(net, example=torch.zeros(1, 4))(torch.zeros(5, 4)).shape
    torch.Size([5, 1, 3])
    """

    name: ClassVar[str] = "single"
    label: ClassVar[str] = "Single network"
    summary: ClassVar[str] = "the unchanged model: the baseline for quality and cost"

    @property
    def members(self) -> int:
        """One member."""
        return 1

    def convert(self, model: Model, context: ConversionContext) -> nn.Module:
        """Return a copy of the model."""
        network = instance_of(model)
        probe(network, context.example)  # checks what the model takes and returns
        return network
