"""Predictions that become better while an ensemble runs: member after member, or exit after exit."""

from collections.abc import Callable, Generator
from contextlib import closing

import torch
from torch import Tensor, nn

from motet._internal.evaluation_mode import evaluating
from motet.layers import Exits, MemberLayer, exits_stepwise
from motet.likelihoods import Likelihood
from motet.surgery import member_network

ByMember = Callable[[Tensor, int, int], Tensor]
"""Rows ``(M B, ...)``, B and M to outputs ``(B, M, ...)``."""


def count_steps(network: nn.Module, members: int) -> int:
    """How many predictions follow each other: exits, members, or one where members share the last layer's features."""
    if isinstance(network, Exits):
        return len(depths_of(network))
    return 1 if _runs_at_once(network) else members


def outputs_in_steps(
    network: nn.Module, x: Tensor, members: int, by_member: ByMember, likelihood: Likelihood
) -> Generator[Tensor, Tensor | None, None]:
    """Outputs after each step: ``(B, m, C)`` of the first m members, or ``(B, M, C)`` averaged over the exits so far.

    Every module is in evaluation mode while it runs, and in its own in between; nothing is run before it is asked for.

    Args:
        network: what a method made.
        x: rows ``(B, ...)``, the same for all members.
        members: M.
        by_member: checks a network's rows and gives them a member axis.
        likelihood: averages exits.

    Yields:
        The outputs. Sent the indices of rows ``(B',)``, what follows is of these alone.
    """
    if isinstance(network, Exits):
        steps = _by_exit(network, x, members, by_member, likelihood)
    elif _runs_at_once(network):
        steps = _at_once(network, x, members, by_member)
    else:
        steps = _by_member(network, x, members, by_member)
    return steps


def run_member(network: nn.Module, x: Tensor, member: int) -> Tensor:
    """One member's rows ``(B, C)`` at one member's cost, in evaluation mode."""
    own = network.member_view(member) if isinstance(network, MemberLayer) else None
    if own is None:
        # What members share, a trunk too, is run for each: a pass cannot be taken up in the middle.
        own = member_network(network, member, share=True)
    with evaluating(own):
        rows: Tensor = own(x)
        return rows


def _runs_at_once(network: nn.Module) -> bool:
    """Whether any member costs a pass of all: heads on the same features."""
    return any(isinstance(module, MemberLayer) and module.is_single_pass for module in network.modules())


def depths_of(exits: Exits) -> tuple[int, ...]:
    """The depths that a prediction takes, in order."""
    with evaluating(exits):
        kept = exits.kept()
    return tuple(range(len(exits.points) + 1)) if kept is None else kept


# Without gradients while something runs, and only then: the caller has its own mode between two steps.


def _at_once(
    network: nn.Module, x: Tensor, members: int, by_member: ByMember
) -> Generator[Tensor, Tensor | None, None]:
    with evaluating(network), torch.no_grad():
        outputs = by_member(network(x), len(x), members)
    yield outputs


def _by_member(
    network: nn.Module, x: Tensor, members: int, by_member: ByMember
) -> Generator[Tensor, Tensor | None, None]:
    outputs_BMC: Tensor | None = None
    for member in range(members):
        with torch.no_grad():
            rows_B1C = by_member(run_member(network, x, member), len(x), 1)
            if outputs_BMC is None:  # one place for all, so that no step copies those before it
                with torch.inference_mode(False):  # the caller may leave that mode, or come to it, between two steps
                    outputs_BMC = rows_B1C.new_empty(len(x), members, rows_B1C.shape[-1])
            outputs_BMC[:, member] = rows_B1C[:, 0]
        kept = yield outputs_BMC[:, : member + 1]
        if kept is not None:  # sent, for which a generator has to yield once more
            x, outputs_BMC = x[kept], outputs_BMC[kept]
            yield outputs_BMC[:, : member + 1]


def _by_exit(
    network: Exits, x: Tensor, members: int, by_member: ByMember, likelihood: Likelihood
) -> Generator[Tensor, Tensor | None, None]:
    depths, rows = depths_of(network), len(x)
    found: list[Tensor] = []
    with closing(exits_stepwise(network, x, depths)) as run:
        for step, exit_rows in enumerate(run, start=1):
            with torch.no_grad():
                found.append(by_member(exit_rows.unsqueeze(1), rows, members)[:, :, 0])
                log_weights_MD = network.log_weights(depths[:step]).to(found[-1].dtype)
                outputs_BMC = likelihood.average(torch.stack(found, dim=2), log_weights_MD)
            kept = yield outputs_BMC
            if kept is not None:
                run.send(kept)
                rows, found = len(kept), [outputs[kept] for outputs in found]
                yield outputs_BMC[kept]
