"""The single network: one deterministic predictor, the baseline of every comparison."""

from dataclasses import dataclass
from typing import ClassVar, final

from torch import nn

from motet.method import Given, Method, Model, instance_of
from motet.surgery import probe


@final
@dataclass(frozen=True, kw_only=True)
class Single(Method):
    """The model as it is, with the ensemble's interface and one member.

    >>> net = torch.nn.Linear(4, 3)
    >>> Single().wrap(net, example=torch.zeros(1, 4))(torch.zeros(5, 4)).shape
    torch.Size([5, 1, 3])
    """

    name: ClassVar[str] = "single"
    label: ClassVar[str] = "Single network"
    summary: ClassVar[str] = "the model as it is: the baseline for quality and cost"

    @property
    def size(self) -> int:
        """One member."""
        return 1

    def convert(self, model: Model, given: Given) -> nn.Module:
        """A copy of the model."""
        network = instance_of(model)
        probe(network, given.example)  # for its checks of what the model takes and returns
        return network
