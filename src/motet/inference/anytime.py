"""Predictions that improve while an ensemble runs: member after member, or exit after exit.

The generators yield the outputs after each step. Every module is in evaluation mode while it runs, and in its own mode
between steps. Later steps run only when they are requested. If row indices ``(B',)`` are sent, a generator continues
with only these rows.
"""

from collections.abc import Callable, Generator, Iterator
from contextlib import closing

import torch
from torch import Tensor, nn

from motet._internal.evaluation_mode import evaluating
from motet._internal.nested import Inputs
from motet.errors import InputError
from motet.inference.checks import by_member
from motet.layers import Exits, MemberLayer, exits_stepwise
from motet.likelihoods import Likelihood
from motet.prediction import Prediction
from motet.surgery import member_network

Steps = Generator[Tensor, Tensor | None, None]


def run_member(network: nn.Module, x: Inputs, member: int) -> Tensor:
    """Return one member's rows ``(B, C)``, at one member's cost, in evaluation mode.

    Args:
        network: the ensemble's network.
        x: rows ``(B, ...)``.
        member: the index of the member.
    """
    own = network.member_view(member) if isinstance(network, MemberLayer) else None
    if own is None:
        # Parts that members share, also a trunk, run again for each, because a pass cannot be continued in the middle.
        own = member_network(network, member, share=True)
    with evaluating(own):
        rows: Tensor = own(x)
        return rows


def is_single_pass(network: nn.Module) -> bool:
    """Whether any member costs a full pass, because members are heads on the same features."""
    return any(isinstance(module, MemberLayer) and module.is_single_pass for module in network.modules())


def depths_of(exits: Exits) -> tuple[int, ...]:
    """Return the depths that a prediction uses, in order."""
    with evaluating(exits):
        kept = exits.kept()
    return tuple(range(len(exits.points) + 1)) if kept is None else kept


def predict_steps(steps: Steps, make: Callable[[Tensor], Prediction]) -> Iterator[Prediction]:
    """Yield a prediction for the outputs after each step; closing it closes the steps."""
    with closing(steps):
        for outputs in steps:
            yield make(outputs)


# Gradients are off only while something runs: between two steps the caller has its own mode.


def all_at_once(network: nn.Module, x: Inputs, members: int, likelihood: Likelihood) -> Steps:
    """Yield all members' outputs ``(B, M, C)`` in one step.

    Args:
        network: the ensemble's network.
        x: rows ``(B, ...)``.
        members: M.
        likelihood: says where the classes of outputs with positions are.
    """
    with evaluating(network), torch.no_grad():
        outputs = by_member(network(x), len(x), members, likelihood=likelihood)
    yield outputs


def member_by_member(network: nn.Module, x: Inputs, members: int, likelihood: Likelihood) -> Steps:
    """Yield outputs ``(B, m, C)`` of the first m members, for m from 1 to M.

    Args:
        network: the ensemble's network.
        x: rows ``(B, ...)``.
        members: M.
        likelihood: says where the classes of outputs with positions are.
    """
    outputs_BMC: Tensor | None = None
    for member in range(members):
        with torch.no_grad():
            rows_B1C = by_member(run_member(network, x, member), len(x), 1, likelihood=likelihood)
            if outputs_BMC is None:  # one tensor for all steps, so that no step copies earlier outputs
                with torch.inference_mode(False):  # the caller may enter or leave that mode between two steps
                    outputs_BMC = rows_B1C.new_empty(len(x), members, *rows_B1C.shape[2:])
            outputs_BMC[:, member] = rows_B1C[:, 0]
        kept = yield outputs_BMC[:, : member + 1]
        if kept is not None:  # after a send, a generator has to yield once more
            x, outputs_BMC = x[kept], outputs_BMC[kept]
            yield outputs_BMC[:, : member + 1]


def exit_by_exit(
    network: Exits,
    x: Inputs,
    members: int,
    likelihood: Likelihood,
    average: Callable[[Tensor, tuple[int, ...]], Tensor],
) -> Steps:
    """Yield outputs ``(B, M, C)`` averaged over the exits so far.

    Args:
        network: a network with exits.
        x: rows ``(B, ...)``.
        members: M.
        likelihood: the distribution whose natural parameters the outputs are.
        average: computes the average from outputs ``(B, M, d, C)`` and their depths.
    """
    depths, rows = depths_of(network), len(x)
    found: list[Tensor] = []
    with closing(exits_stepwise(network, x, depths)) as run:
        for step, exit_rows in enumerate(run, start=1):
            with torch.no_grad():
                outputs = by_member(exit_rows.unsqueeze(1), rows, members, likelihood=likelihood, axes=3).squeeze(2)
                _check_sizes(found, outputs)
                found.append(outputs)
                outputs_BMC = average(torch.stack(found, dim=2), depths[:step])
            kept = yield outputs_BMC
            if kept is not None:
                run.send(kept)
                rows, found = len(kept), [outputs[kept] for outputs in found]
                yield outputs_BMC[kept]


def _check_sizes(before: list[Tensor], outputs: Tensor) -> None:
    """Raise `InputError` if earlier exits could not know the size of the network's output."""
    if before and before[0].shape != outputs.shape:
        raise InputError(
            "to predict exit by exit, the sizes of an input must be multiples of the network's strides",
            got=f"exits at positions {tuple(before[0].shape[2:-1])} and {tuple(outputs.shape[2:-1])}",
            fix="Pad the inputs, or use predict, which runs the whole network",
        )
