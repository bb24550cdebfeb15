"""Subsets of members: their indices, and the network that has only them.

The ``subset(indices)`` of a `motet.layers.MemberLayer` returns the layer for fewer members. If its members cannot be
separated, because it adds up or concatenates what all of them read, its folded form is used, or the layer itself if it
has none. The smaller network can then only be used for inference.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import Generator, Tensor, nn

from motet._internal.copying import copy_of
from motet.errors import InputError
from motet.layers import MemberLayer
from motet.surgery import replace_module

T = TypeVar("T", bound=nn.Module)


def chosen_members(members: int | Sequence[int] | Tensor, total: int) -> tuple[int, ...]:
    """Return the indices of members: the first k if a number is passed, otherwise the indices passed, from 0.

    Negative indices count from the end.

    Raises:
        InputError: for a number outside 1 to M, and for indices that are empty, repeated, out of range or not integers.
    """
    if isinstance(members, Tensor) or hasattr(members, "tolist"):  # also NumPy's integers
        members = members.tolist()
    if isinstance(members, int) and not isinstance(members, bool):
        if not 1 <= members <= total:
            raise InputError(
                f"the number of members must lie in 1..{total}",
                got=f"members={members}",
                fix=f"Pass a number from 1 to {total}, or a list of indices",
            )
        return tuple(range(members))
    if isinstance(members, str | bytes | bool | float) or not isinstance(members, Sequence | range):
        raise InputError(
            "members must be a number or a list of indices",
            got=repr(members),
            fix="Pass [0, 2], for example",
        )
    indices: list[int] = []
    for index in members:
        if isinstance(index, bool) or not hasattr(index, "__index__"):
            raise InputError(
                "indices of members must be integers", got=repr(index), fix=f"Pass indices from 0 to {total - 1}"
            )
        place = index.__index__()
        if not -total <= place < total:
            raise InputError(
                f"indices of {total} members must lie in 0..{total - 1}",
                got=f"index {place}",
                fix="Pass indices in that range",
            )
        indices.append(place % total)
    if not indices:
        raise InputError("at least one member must be chosen", got="none", fix="Pass [0], for example")
    if len(set(indices)) < len(indices):
        raise InputError(
            "each member can be chosen only once",
            got=f"the indices {list(members)} of {total} members",
            fix="Remove the repeated indices",
        )
    return tuple(indices)


def surviving_members(
    lost: float | Sequence[int], chosen: Sequence[int], total: int, *, generator: Generator | None = None
) -> tuple[int, ...]:
    """Return the `chosen` members that are not lost.

    Args:
        lost: indices of the members that are lost, or the probability of losing each member, independently (Joint
            training, section 4.1). At least one remains: if all would be lost, the one with the largest
            random number is kept.
        chosen: the indices of the members that would run.
        total: M.
        generator: random numbers; torch's default generator if None.

    Raises:
        InputError: for a probability outside [0, 1), for invalid indices, and if no member remains.
    """
    if isinstance(lost, float) or (isinstance(lost, int) and not isinstance(lost, bool)):
        if not 0 <= lost < 1:
            raise InputError(
                "the probability of losing a member must lie in [0, 1)",
                got=f"lost={lost}",
                fix="Pass lost=0.3, for example, or a list of the lost members: lost=[1]",
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
            "at least one member must remain",
            got=f"lost={list(lost)}, all members that run",
            fix="Leave one of them out of the list",
        )
    return left


def subset_network(network: nn.Module, indices: Sequence[int]) -> tuple[nn.Module, bool]:
    """Return a network with only the chosen members, and whether it can still be trained.

    Parts of `network` are reused, so do not use it afterwards. Parameters that members share, or that belong to
    separate networks, are the same objects.
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
    """Return a copy that shares all parameters and buffers, with an identity in place of each module in `without`."""
    memo: dict[int, Any] = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
    memo |= {id(part): nn.Identity() for part in without}
    return copy_of(module, memo)


def dropped_parts(network: nn.Module, indices: Sequence[int]) -> list[nn.Module]:
    """Return the modules of members that are not chosen, which need not be copied."""
    parts: list[nn.Module] = []
    for module in network.modules():
        if isinstance(module, MemberLayer) and (own := module.member_modules):
            chosen = {id(part) for index in indices for part in own[index].modules()}
            parts += [each for index, each in enumerate(own) if index not in indices and id(each) not in chosen]
    return parts


def with_members(ensemble: T, indices: Sequence[int]) -> T:
    """Return an ensemble of the chosen members that is not a copy: it shares parameters that it needs as a whole.

    Args:
        ensemble: the ensemble.
        indices: the members' indices.
    """
    whole: Any = ensemble
    twin = copy_of_structure(ensemble, without=dropped_parts(whole.network, indices))
    twin.network, trainable = subset_network(twin.network, indices)
    twin.members = len(indices)
    twin.members_in_training = min(whole.members_in_training, twin.members)
    twin.description = f"{whole.description}, members {list(indices)}"
    twin.is_folded = whole.is_folded or not trainable
    found: T = twin
    return found


def fold_layers(ensemble: nn.Module) -> None:
    """Replace every member layer that has a cheaper form for shared inputs by that form, in place."""
    for layer in list(ensemble.modules()):
        if isinstance(layer, MemberLayer) and (folded := layer.folded()) is not None:
            replace_module(ensemble, layer, folded)
