"""One member of an ensemble as an ordinary network."""

import copy
from collections.abc import Callable

from torch import nn

from motet.surgery.replace import replace_module


def member_network(network: nn.Module, member: int) -> nn.Module:
    """A copy of `network` that computes one member's output for a shared input, ``(B, ...)`` to ``(B, C)``.

    Every layer that has a method ``member(m)`` is replaced by what it returns: the ordinary layer that computes the
    same for member m. What stands below such a layer is left to it.
    """
    return _extracted(copy.deepcopy(network), member)


def _extracted(network: nn.Module, member: int) -> nn.Module:
    ordinary: Callable[[int], nn.Module] | None = getattr(network, "member", None)
    if callable(ordinary):
        return _extracted(ordinary(member), member)
    for child in list(network.children()):
        if (new := _extracted(child, member)) is not child:
            network = replace_module(network, child, new)
    return network
