"""Deep ensembles: M whole networks (Lakshminarayanan et al. 2017), the upper baseline of the papers."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, final, get_args

import torch
from torch import nn

from motet.errors import InputError, nearest
from motet.layers import TOGETHER_AT_MOST, SeparateNetworks
from motet.method import Given, Method, Model, check_members, instance_of
from motet.surgery import CannotStackError, Probe, fresh_copy, head_stack, member_stack, probe, stack

Execution = Literal["auto", "stacked", "loop"]
# Convolutional members are stacked where a batch of so many rows would run together. Where it would run in turn,
# stacked weights cost a twentieth of a forward pass: WRN-16-1 on 32x32 images, measured before this rule.
_BATCH = 16


@final
@dataclass(frozen=True, kw_only=True)
class DeepEnsemble(Method):
    """M networks that share nothing but the order of the data; M times the parameters and the compute.

    Under the default objective (sum over members) each member gets exactly the gradient that it would get alone.
    Members trained in separate runs would also see the data in different orders; here they see the same batches.

    Attributes:
        members: M; the papers use 4.
        execution: how the members run. ``"loop"``: one after another. ``"stacked"``: together, side by side in the
            channels of one network, which for small networks is several times faster. ``"auto"``: stacked where the
            networks can be and it was measured to be faster (`motet.layers.Stack`), otherwise in a loop. It computes
            the same either way, and costs the same memory in training.

    >>> net = torch.nn.Linear(4, 3)
    >>> ensemble = DeepEnsemble(members=4).wrap(net, example=torch.zeros(1, 4))
    >>> ensemble(torch.zeros(5, 4)).shape
    torch.Size([5, 4, 3])
    """

    name: ClassVar[str] = "deep-ensemble"
    label: ClassVar[str] = "Deep ensemble"
    summary: ClassVar[str] = "M whole networks, nothing shared, M times the cost"
    shares_nothing: ClassVar[bool] = True

    members: int = 4
    execution: Execution = "auto"

    def __post_init__(self) -> None:
        check_members(self.members)
        if self.execution not in get_args(Execution):
            raise InputError(
                f"execution must be one of {', '.join(get_args(Execution))}",
                got=repr(self.execution),
                fix=nearest(str(self.execution), get_args(Execution)),
            )

    @property
    def size(self) -> int:
        """M."""
        return self.members

    def convert(self, model: Model, given: Given) -> nn.Module:
        """M networks side by side."""
        networks, probed = member_networks(model, given, self.members)
        if self.execution == "loop" or (self.execution == "auto" and len(networks) == 1):
            return SeparateNetworks(networks, layout=given.layout)
        together = self.execution == "stacked"
        try:
            return stack(
                networks,
                given.example,
                probed,
                layout=given.layout,
                at_most=None if together else TOGETHER_AT_MOST // _BATCH,
                always=together,
            )
        except CannotStackError as reason:
            if together:
                raise InputError(
                    "execution='stacked' needs a model that works with the members in its channels",
                    got=f"a model that {reason}",
                    fix="Pass execution='auto', which runs such a model in a loop",
                ) from reason
            return SeparateNetworks(networks, layout=given.layout)


def part_members(networks: Sequence[nn.Module], probed: Probe, *, members: int, only: range) -> None:
    """Nudge the output layers of networks with the same weights, as `motet.surgery.member_stack` keeps them.

    The networks are those of the members `only`, of so many.

    Members with the same weights that see the same batches would get the same gradients, and stay one network.
    """
    with torch.no_grad():
        for name in probed.output_layers:
            for index, parameter in enumerate(networks[0].get_submodule(name).parameters()):
                draw = head_stack if parameter.ndim > 1 else member_stack
                stack = draw(parameter, members, "keep")
                for network, member in zip(networks, only, strict=True):
                    list(network.get_submodule(name).parameters())[index].copy_(stack[member])


def member_networks(model: Model, given: Given, members: int) -> tuple[list[nn.Module], Probe]:
    """M networks with initial weights of their own, the first with the model's, and what the first showed.

    Where only some are to be held, all are drawn, one after another, so that each is what it is beside all others.

    Args:
        model: what `Method.convert` is given.
        given: the same; `Given.only` tells which members are held.
        members: M.

    Returns:
        The networks of the members that are held, and what `motet.surgery.probe` found of the first.

    Raises:
        InputError: for a model that writes on its input, and for a function that gives one module again and again.
    """
    network = instance_of(model)
    probed = probe(network, given.example)
    if probed.changes_input and members > 1:
        raise InputError(
            "members that share an input must not write on it",
            got="a model that changes its input in place",
            fix="Use the operation that is not in place there: x - mean for x.sub_(mean)",
        )
    only = range(members) if given.only is None else given.only
    if given.init == "keep":
        networks = [network if member == 0 else copy.deepcopy(network) for member in only]
        part_members(networks, probed, members=members, only=only)
        return networks, probed
    networks, known = [network] if 0 in only else [], set(map(id, network.parameters()))
    for member in range(1, members):
        made = fresh_copy(network) if isinstance(model, nn.Module) else instance_of(model)
        _check_new(made, known)
        if member in only:  # of the others the ids come again
            networks.append(made)
            known.update(map(id, made.parameters()))
    return networks, probed


def _check_new(network: nn.Module, known: set[int]) -> None:
    if any(id(parameter) in known for parameter in network.parameters()):
        raise InputError(
            "a function given as the model must make a new module each time",
            got="modules that share parameters",
            fix="Build the model inside the function, or give the model itself",
        )
