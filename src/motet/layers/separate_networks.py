"""Separate networks for the members."""

from collections.abc import Iterable, Sequence
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from motet._internal.nested import Inputs
from motet.layers.base import MemberLayer
from motet.layers.layout import Layout


@final
class SeparateNetworks(MemberLayer):
    """M networks that share nothing, each applied to its own rows.

    Args:
        networks: the members, in order; each maps ``(B, ...)`` to ``(B, C)``.
        layout: says whether the rows that enter are ``(M B)`` or ``B`` shared by all members.
    """

    layout: Layout

    def __init__(self, networks: Iterable[nn.Module], *, layout: Layout) -> None:
        super().__init__()
        self.networks = nn.ModuleList(networks)
        self.layout = layout

    def forward(self, x: Inputs) -> Float[Tensor, "out_rows ..."]:
        """Rows ``(M B, ...)`` or ``(B, ...)`` in, as the layout says; ``(M B, C)`` out, member-major."""
        inputs = x.chunk(len(self.networks)) if self.layout.distinct else (x,) * len(self.networks)
        return torch.cat([network(part) for network, part in zip(self.networks, inputs, strict=True)])

    def member(self, member: int) -> nn.Module:
        """The member's network."""
        return self.networks[member]

    def member_view(self, member: int) -> nn.Module:
        """The member's network."""
        return self.networks[member]

    @property
    def member_modules(self) -> Sequence[nn.Module]:
        """The networks."""
        return tuple(self.networks)

    def subset(self, indices: Sequence[int]) -> "SeparateNetworks":
        """The chosen members' networks."""
        return SeparateNetworks((self.networks[index] for index in indices), layout=self.layout)
