"""Deep ensembles: M whole networks (Lakshminarayanan et al. 2017), the upper baseline of the papers."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import nn

from motet.errors import InputError
from motet.layers import Members
from motet.methods._method import Given, Method, Model, check_members, instance_of
from motet.surgery import Probe, fresh_copy, head_stack, member_stack, probe


@final
@dataclass(frozen=True, kw_only=True)
class DeepEnsemble(Method):
    """M networks that share nothing but the order of the data; M times the parameters and the compute.

    Under the default objective (sum over members) each member gets exactly the gradient that it would get alone.
    Members trained in separate runs would also see the data in different orders; here they see the same batches.

    Attributes:
        members: M; the papers use 4.

    >>> net = torch.nn.Linear(4, 3)
    >>> ensemble = DeepEnsemble(members=4).wrap(net, example=torch.zeros(1, 4))
    >>> ensemble(torch.zeros(5, 4)).shape
    torch.Size([5, 4, 3])
    """

    name: ClassVar[str] = "deep-ensemble"
    label: ClassVar[str] = "Deep ensemble"
    summary: ClassVar[str] = "M whole networks, nothing shared, M times the cost"

    members: int = 4

    def __post_init__(self) -> None:
        check_members(self.members)

    @property
    def size(self) -> int:
        """M."""
        return self.members

    def convert(self, model: Model, given: Given) -> nn.Module:
        """M networks side by side."""
        network = instance_of(model)
        probed = probe(network, given.example)
        if probed.changes_input and self.members > 1:
            raise InputError(
                "members that share an input must not write on it",
                got="a model that changes its input in place",
                fix="Use the operation that is not in place there: x - mean for x.sub_(mean)",
            )
        if given.init == "keep":
            others = [copy.deepcopy(network) for _ in range(self.members - 1)]
            part_members([network, *others], probed)
        elif isinstance(model, nn.Module):
            others = [fresh_copy(network) for _ in range(self.members - 1)]
        else:
            others = [instance_of(model) for _ in range(self.members - 1)]
        networks = [network, *others]
        parameters = [parameter for member in networks for parameter in member.parameters()]
        if len({id(parameter) for parameter in parameters}) < len(parameters):
            raise InputError(
                "a function given as the model must make a new module each time",
                got="modules that share parameters",
                fix="Build the model inside the function, or give the model itself",
            )
        return Members(networks, layout=given.layout)


def part_members(networks: Sequence[nn.Module], probed: Probe) -> None:
    """Nudge the output layers of networks with the same weights, as `motet.surgery.member_stack` keeps them.

    Members with the same weights that see the same batches would get the same gradients, and stay one network.
    """
    with torch.no_grad():
        for name in probed.output_layers:
            for index, parameter in enumerate(networks[0].get_submodule(name).parameters()):
                draw = head_stack if parameter.ndim > 1 else member_stack
                stack = draw(parameter, len(networks), "keep")
                for network, value in zip(networks, stack, strict=True):
                    list(network.get_submodule(name).parameters())[index].copy_(value)
