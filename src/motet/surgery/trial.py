"""Find by trial whether one pass gives every member its own output."""

import torch
from torch import Tensor, nn

from motet._internal.copying import stand_in_for
from motet._internal.evaluation_mode import on_trial
from motet._internal.nested import Inputs
from motet.surgery.extract_member import member_network
from motet.surgery.routed_rows import noticing_routed_rows

# Far above rounding errors (TF32 convolutions: 0.1 %), far below the differences between rows.
_TOLERANCE = 0.05


def gives_own_outputs(network: nn.Module, example: Inputs, members: int) -> bool:
    """Whether a pass over shared rows returns, for the first and the last member, what the member alone returns.

    A network whose outputs cannot be repeated is only asked for the right number of rows.

    Args:
        network: maps shared rows ``B`` to rows ``(M B, ...)``, member-major.
        example: an input batch of rows that differ.
        members: M.
    """
    network = stand_in_for(network)
    devices = [example.device] if example.is_cuda else []
    try:
        with torch.random.fork_rng(devices=devices), torch.no_grad(), on_trial(network):
            with noticing_routed_rows() as routed:
                rows: Tensor = network(example.clone())
            if routed.found or len(rows) != members * len(example):
                return False
            if example.is_meta or not _close(network(example.clone()), rows):
                return True
            parts = rows.unflatten(0, (members, -1))
            return all(
                _close(member_network(network, member, share=True)(example.clone()), parts[member])
                for member in {0, members - 1}
            )
    except Exception:  # a network that cannot run like this may raise any error
        return False


def returns_rows(network: nn.Module, example: Inputs, members: int) -> bool:
    """Whether a pass over shared rows returns rows ``(M B, ...)``.

    Args:
        network, example, members: see `gives_own_outputs`.
    """
    network = stand_in_for(network)
    devices = [example.device] if example.is_cuda else []
    try:
        with torch.random.fork_rng(devices=devices), torch.no_grad(), on_trial(network):
            return len(network(example.clone())) == members * len(example)
    except Exception:  # a network that cannot run like this may raise any error
        return False


def _close(one: Tensor, other: Tensor) -> bool:
    if one.shape != other.shape:
        return False
    return bool((one - other).abs().max() <= _TOLERANCE * other.abs().max()) if one.numel() else True
