"""Split the state dict of an ensemble of separate networks into its members' states, and join them again.

The networks may run in a loop (`motet.layers.SeparateNetworks`) or stacked (`motet.layers.Stack`), all of them or some.
The state of a member has the names of its ordinary network.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

_LOOP = re.compile(r"network\.networks\.(\d+)\.(.+)")
_STACK = re.compile(r"network\.network\.(?:(.+)\.)?layer\.([^.]+)")

_WHOLE = "target_units."  # tensors that belong to the ensemble and to no member: the scale of the targets

MemberState = dict[tuple[int, str], Tensor]
"""Tensors by member and name."""


def split_members(state: Mapping[str, Tensor], *, members: int, first: int = 0) -> MemberState:
    """Return the members' tensors by the index of the member and the name in its own network.

    The scale of the targets is left out, because it belongs to no member.

    Args:
        state: the state of an ensemble that holds `members` members, or other tensors under the same names (an
            optimiser's).
        members: the number of members that it holds.
        first: the index of the first of them.

    Raises:
        KeyError: for a name that does not belong to a member.
    """
    found: MemberState = {}
    for name, tensor in state.items():
        if name.startswith(_WHOLE):
            continue
        index, own = _place(name)
        if index is not None:
            found[first + index, own] = tensor
            continue
        parts = tensor.unflatten(0, (members, -1)).unbind() if tensor.ndim else (tensor,) * members
        for member, part in enumerate(parts):
            found[first + member, own] = part
    return found


def join_members(found: MemberState, *, names: list[str], members: int, first: int = 0) -> dict[str, Tensor]:
    """Undo `split_members`.

    Args:
        found: the members' tensors, by index and name.
        names: the names in the ensemble's state.
        members: the number of members to join.
        first: the index of the first of them.

    Raises:
        KeyError: if a member's tensor is missing.
    """
    state = {}
    for name in names:
        if name.startswith(_WHOLE):
            continue
        index, own = _place(name)
        if index is not None:
            state[name] = found[first + index, own]
            continue
        parts = [found[first + member, own] for member in range(members)]
        state[name] = torch.cat(parts) if parts[0].ndim else parts[0]
    return state


def own_name(name: str) -> str:
    """Return the name in a member's own network for a name in the ensemble's state.

    Raises:
        KeyError: for a name that does not belong to a member.
    """
    return _place(name)[1]


def _place(name: str) -> tuple[int | None, str]:
    """Return the member that a tensor belongs to (None: it holds all members), and its name in a member's own
    network.
    """
    if match := _LOOP.fullmatch(name):
        return int(match[1]), match[2]
    if match := _STACK.fullmatch(name):
        return None, f"{match[1]}.{match[2]}" if match[1] else match[2]
    raise KeyError(f"{name!r} belongs to no member")
