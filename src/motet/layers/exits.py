"""A network that predicts at several depths."""

from collections.abc import Sequence
from functools import partial
from typing import Any, final

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from motet.layers.depth_weights import DepthWeights


@final
class Exits(nn.Module):
    """A network with heads at named points besides its own output, the deepest exit.

    What a point puts out goes on through the network unchanged; the exit's head reads it on the way.

    Args:
        network: maps rows to rows ``(M B, C)``.
        points: names of the network's submodules, in the order in which they run; each runs once in a pass.
        heads: for each point, what maps its output to rows ``(M B, C)``. A head may hold a submodule of the network
            (an output layer that all depths share).
        weights: the members' weights over the ``D = len(points) + 1`` depths.
    """

    def __init__(
        self, network: nn.Module, points: Sequence[str], heads: Sequence[nn.Module], weights: DepthWeights
    ) -> None:
        super().__init__()
        self.network = network
        self.points = tuple(points)
        self.heads = nn.ModuleList(heads)
        self.weights = weights

    def forward(self, x: Shaped[Tensor, "rows ..."]) -> Float[Tensor, "out_rows depth out"]:
        """Rows in; every depth's output for each row ``(M B, D, C)`` out, the deepest last."""
        exits: list[Tensor] = []
        # For this pass only: hooks that stay would travel with every copy of the network that a user makes.
        handles = [
            self.network.get_submodule(point).register_forward_hook(partial(_read, head, exits))
            for point, head in zip(self.points, self.heads, strict=True)
        ]
        try:
            last = self.network(x)
        finally:
            for handle in handles:
                handle.remove()
        return torch.stack([*exits, last], dim=1)


def _read(head: nn.Module, exits: list[Tensor], _: nn.Module, args: Any, output: Tensor) -> None:
    exits.append(head(output))
