"""Deep ensembles: M separate networks (Lakshminarayanan et al., NeurIPS 2017), the upper baseline."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, final, get_args

import torch
from torch import nn

from motet._internal.copying import copy_of
from motet._internal.field_types import check_field_types
from motet.errors import InputError, nearest
from motet.layers import MAX_ENTRIES_AT_ONCE, SeparateNetworks
from motet.method import ConversionContext, Method, Model, check_members, instance_of
from motet.surgery import CannotStackError, Probe, fresh_copy, head_stack, member_stack, probe, stack

Execution = Literal["auto", "stacked", "loop"]
# Convolutional members are stacked if a batch of this many rows would run all members at once. Otherwise the members
# run in turn, and stacked weights then cost a twentieth of a forward pass (WRN-16-1 on 32x32 images, measured before
# this rule).
_BATCH = 16


@final
@dataclass(frozen=True, kw_only=True)
class DeepEnsemble(Method):
    """M separate networks that see the same batches; M times the parameters and the compute.

    Paper: https://arxiv.org/abs/1612.01474.

    Under the default objective (the sum over members) each member gets exactly the gradient that it would get if it
    were trained separately.

    **Differences from the reference:** members of the papers' code are trained in separate runs, so each sees the data
    in a different order. Here all members see the same batches, because they are trained in one run. The adversarial
    training of the original paper is not included: the papers that use deep ensembles as a baseline leave it out as
    well.

    Attributes:
        members: M; the papers use 4.
        execution: how the members run. ``"loop"``: one after another. ``"stacked"``: together, side by side in the
            channels of one network, which for small networks is several times faster. ``"auto"``: stacked if the
            networks can be stacked and stacking is known to be faster (see `motet.layers.Stack`), otherwise in a loop.
            Both give the same results and need the same memory in training. On the meta device it is a loop. The
            names in the ``state_dict`` differ between the two.

    >>> net = torch.nn.Linear(4, 3)
    >>> ensemble = DeepEnsemble(members=4).wrap(net, example=torch.zeros(1, 4))
    >>> ensemble(torch.zeros(5, 4)).shape
    torch.Size([5, 4, 3])
    """

    name: ClassVar[str] = "deep-ensemble"
    label: ClassVar[str] = "Deep ensemble"
    summary: ClassVar[str] = "M separate networks, nothing shared, M times the cost"
    shares_nothing: ClassVar[bool] = True

    members: int = 4
    execution: Execution = "auto"

    def __post_init__(self) -> None:
        check_field_types(self, convert=False)
        check_members(self.members)
        if self.execution not in get_args(Execution):
            raise InputError(
                f"execution must be one of {', '.join(get_args(Execution))}",
                got=repr(self.execution),
                fix=nearest(str(self.execution), get_args(Execution)),
            )

    def convert(self, model: Model, context: ConversionContext) -> nn.Module:
        """Return M networks that run side by side.

        Raises:
            InputError: if the model modifies its input in place, if a function returns modules that share parameters,
                and for ``execution="stacked"`` if the model cannot be stacked.
        """
        networks, probed = member_networks(model, context, self.members)
        if self.execution == "loop" or (self.execution == "auto" and len(networks) == 1):
            return SeparateNetworks(networks, layout=context.layout)
        together = self.execution == "stacked"
        try:
            return stack(
                networks,
                context.example,
                probed,
                layout=context.layout,
                at_most=None if together else MAX_ENTRIES_AT_ONCE // _BATCH,
                always=together,
            )
        except CannotStackError as reason:
            if together:
                raise InputError(
                    "execution='stacked' needs a model whose layers can run with the members stacked in their channels",
                    got=f"a model that {reason}",
                    fix="Pass execution='auto', which runs such a model in a loop",
                ) from reason
            return SeparateNetworks(networks, layout=context.layout)


def part_members(networks: Sequence[nn.Module], probed: Probe, *, members: int, only: range) -> None:
    """Add small differences to the output layers of networks with equal weights, as `motet.surgery.member_stack` does.

    Members with equal weights that see the same batches would get equal gradients and stay equal.

    Args:
        networks: the networks of the members `only`, in that order; they are changed in place.
        probed: what `motet.surgery.probe` found in the first network.
        members: M, the number of members of the whole ensemble.
        only: indices of the members that `networks` holds.
    """
    with torch.no_grad():
        for name in probed.output_layers:
            for index, parameter in enumerate(networks[0].get_submodule(name).parameters()):
                draw = head_stack if parameter.ndim > 1 else member_stack
                stack = draw(parameter, members, "keep")
                for network, member in zip(networks, only, strict=True):
                    list(network.get_submodule(name).parameters())[index].copy_(stack[member])


def member_networks(model: Model, context: ConversionContext, members: int) -> tuple[list[nn.Module], Probe]:
    """Return M networks with separate initial weights, the first with the model's, and the first network's probe.

    If only some members are held, all are drawn, one after another, so that a member's weights do not depend on which
    other members are held.

    Args:
        model: what `Method.convert` is passed.
        context: what `Method.convert` is passed; `ConversionContext.only` tells which members are held.
        members: M.

    Returns:
        The networks of the members that are held, and what `motet.surgery.probe` found in the first network.

    Raises:
        InputError: if the model modifies its input in place, or if a function returns modules that share parameters.
    """
    network = instance_of(model)
    probed = probe(network, context.example)
    if probed.changes_input and members > 1:
        raise InputError(
            "members that share an input must not change it in place",
            got="a model that changes its input in place",
            fix="Use an operation that is not in place: x - mean instead of x.sub_(mean)",
        )
    only = range(members) if context.only is None else context.only
    if context.init == "keep":
        networks = [network if member == 0 else copy_of(network) for member in only]
        part_members(networks, probed, members=members, only=only)
        return networks, probed
    networks, known = [network] if 0 in only else [], set(map(id, network.parameters()))
    for member in range(1, members):
        made = fresh_copy(network) if isinstance(model, nn.Module) else instance_of(model)
        _check_new(made, known)
        if member in only:  # Python may reuse the ids of members that are not kept.
            networks.append(made)
            known.update(map(id, made.parameters()))
    return networks, probed


def _check_new(network: nn.Module, known: set[int]) -> None:
    if any(id(parameter) in known for parameter in network.parameters()):
        raise InputError(
            "a function given as the model must make a new module at each call",
            got="modules that share parameters",
            fix="Build the model inside the function, or pass the model itself",
        )
