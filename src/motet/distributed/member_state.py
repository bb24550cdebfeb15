"""A state dict of an ensemble of whole networks, taken apart into its members' and put together again.

The networks may stand in a loop (`motet.layers.Members`) or stacked (`motet.layers.Stack`), all of them or some; taken
apart, the state of a member is that of its ordinary network, under that network's own names.
"""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

_LOOP = re.compile(r"network\.networks\.(\d+)\.(.+)")
_STACK = re.compile(r"network\.network\.(?:(.+)\.)?layer\.([^.]+)")

MemberState = dict[tuple[int, str], Tensor]
"""Tensors by member and name."""


def split_members(state: Mapping[str, Tensor], *, members: int, first: int = 0) -> MemberState:
    """The members' tensors, by the number of the member among all and the name in its own network.

    Args:
        state: of an ensemble that holds `members` members, or other tensors under the same names (an optimiser's).
        members: how many it holds.
        first: the number of the first of them.

    Raises:
        KeyError: for a name that is no member's.
    """
    found: MemberState = {}
    for name, tensor in state.items():
        index, own = _place(name)
        if index is not None:
            found[first + index, own] = tensor
            continue
        parts = tensor.unflatten(0, (members, -1)).unbind() if tensor.ndim else (tensor,) * members
        for member, part in enumerate(parts):
            found[first + member, own] = part
    return found


def join_members(found: MemberState, *, names: list[str], members: int, first: int = 0) -> dict[str, Tensor]:
    """What `split_members` takes apart: the tensors of these names, for members from `first` on.

    Raises:
        KeyError: if a member's tensor is missing.
    """
    state = {}
    for name in names:
        index, own = _place(name)
        if index is not None:
            state[name] = found[first + index, own]
            continue
        parts = [found[first + member, own] for member in range(members)]
        state[name] = torch.cat(parts) if parts[0].ndim else parts[0]
    return state


def own_name(name: str) -> str:
    """The name in a member's own network of what an ensemble calls so. Raises `KeyError` for what is no member's."""
    return _place(name)[1]


def _place(name: str) -> tuple[int | None, str]:
    """Whose a tensor is (None: all members' in one), and its name in a member's own network."""
    if match := _LOOP.fullmatch(name):
        return int(match[1]), match[2]
    if match := _STACK.fullmatch(name):
        return None, f"{match[1]}.{match[2]}" if match[1] else match[2]
    raise KeyError(f"{name!r} belongs to no member")
