"""Some members of an ensemble as a smaller one: which, and the network that has these alone.

A `motet.layers.MemberLayer` says what it is for fewer members by ``subset(indices)``. A layer whose members cannot be
separated, because it adds up or concatenates what all of them read, takes its folded form, or is left as it is where it
has none. The smaller network is then for inference.
"""

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Generator, Tensor, nn

from motet.errors import InputError
from motet.layers import MemberLayer


def chosen_members(members: int | Sequence[int] | Tensor, total: int) -> tuple[int, ...]:
    """Indices of members: the first k where a number is given, else those that are named, counted from 0.

    A negative index counts from the end.

    Raises:
        InputError: for a number outside 1 to M, and for indices that are none, no integers, repeated or out of range.
    """
    if isinstance(members, Tensor) or hasattr(members, "tolist"):  # NumPy's too
        members = members.tolist()
    if isinstance(members, int) and not isinstance(members, bool):
        if not 1 <= members <= total:
            raise InputError(
                f"the number of members must lie in 1..{total}",
                got=f"members={members}",
                fix=f"Pass one from 1 to {total}, or a list of members' indices",
            )
        return tuple(range(members))
    if isinstance(members, str | bytes | bool | float) or not isinstance(members, Sequence | range):
        raise InputError(
            "members must be given as a list of their indices",
            got=repr(members),
            fix="Pass [0, 2], for example",
        )
    indices: list[int] = []
    for index in members:
        if isinstance(index, bool) or not hasattr(index, "__index__"):
            raise InputError(
                "members are named by integers", got=repr(index), fix=f"Pass indices from 0 to {total - 1}"
            )
        place = index.__index__()
        if not -total <= place < total:
            raise InputError(
                f"an ensemble of {total} has the members 0 to {total - 1}",
                got=f"index {place}",
                fix="Pass indices in that range",
            )
        indices.append(place % total)
    if not indices:
        raise InputError("at least one member must be chosen", got="none", fix="Pass [0], for example")
    if len(set(indices)) < len(indices):
        raise InputError(
            "each member can be chosen once",
            got=f"the indices {list(members)} of {total} members",
            fix="Leave out those that are repeated",
        )
    return tuple(indices)


def surviving_members(
    lost: float | Sequence[int], chosen: Sequence[int], total: int, *, generator: Generator | None = None
) -> tuple[int, ...]:
    """Which of the `chosen` members are left.

    Args:
        lost: indices of the members that are lost, or the probability with which each is, independently of the others
            (Joint training, section 4.1). At least one survives: where the draw takes all, the one whose own draw was
            furthest from being lost stays.
        chosen: those that would run.
        total: M.
        generator: draws who is lost; torch's default generator if None.

    Raises:
        InputError: for a probability outside [0, 1), for bad indices, and for a list that leaves none.
    """
    if isinstance(lost, float) or (isinstance(lost, int) and not isinstance(lost, bool)):
        if not 0 <= lost < 1:
            raise InputError(
                "the probability of losing a member must lie in [0, 1)",
                got=f"lost={lost}",
                fix="Pass lost=0.3, for example, or a list of the members that are lost: lost=[1]",
            )
        device = torch.device("cpu") if generator is None else generator.device
        draws = torch.rand(len(chosen), generator=generator, device=device, dtype=torch.float64)
        kept = draws >= lost
        kept[draws.argmax()] = True
        return tuple(member for member, survives in zip(chosen, kept.tolist(), strict=True) if survives)
    if isinstance(lost, Sequence) and len(lost) == 0:
        return tuple(chosen)
    gone = chosen_members(lost, total)
    left = tuple(member for member in chosen if member not in gone)
    if not left:
        raise InputError(
            "at least one member must survive", got=f"lost={list(lost)}, all that run", fix="Leave one of them out"
        )
    return left


def subset_network(network: nn.Module, indices: Sequence[int]) -> tuple[nn.Module, bool]:
    """A network with the chosen members alone, and whether it can still be trained.

    `network` is used up: what it is made of goes into the smaller one. Parameters that members share, or that belong to
    whole networks, are the same objects.
    """
    done: dict[int, nn.Module] = {}
    trainable = [True]

    def smaller(module: nn.Module) -> nn.Module:
        if id(module) in done:
            return done[id(module)]
        new = module
        if isinstance(module, MemberLayer):
            subset = module.subset(indices)
            if subset is None:
                folded, trainable[0] = module.folded(), False
                new = module if folded is None else folded
            else:
                new, subset.training = subset, module.training
        # Keep both alive: Python may reuse the id of a freed object.
        done[id(module)] = done[id(new)] = new
        kept.extend((module, new))
        for name, child in list(new._modules.items()):
            if child is not None and (own := smaller(child)) is not child:
                setattr(new, name, own)
        return new

    kept: list[nn.Module] = []
    return smaller(network), trainable[0]


def copy_of_structure(module: nn.Module, *, without: Sequence[nn.Module]) -> Any:
    """A copy whose parameters and buffers are the module's own; nothing stands where `without` stood."""
    memo: dict[int, Any] = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
    memo |= {id(part): nn.Identity() for part in without}
    return copy.deepcopy(module, memo)


def dropped_parts(network: nn.Module, indices: Sequence[int]) -> list[nn.Module]:
    """Modules that belong to members that are not chosen: they need not be copied."""
    parts: list[nn.Module] = []
    for module in network.modules():
        if isinstance(module, MemberLayer) and (own := module.member_modules):
            chosen = {id(part) for index in indices for part in own[index].modules()}
            parts += [each for index, each in enumerate(own) if index not in indices and id(each) not in chosen]
    return parts
