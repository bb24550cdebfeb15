"""Extract one member of an ensemble as an ordinary network, or all of them."""

from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from motet._internal.copying import copy_of
from motet._internal.nested import Inputs
from motet.layers import ActiveMember, Layout, MemberLayer, SeparateNetworks
from motet.surgery.replace import replace_module


def member_network(network: nn.Module, member: int, *, share: bool = False) -> nn.Module:
    """Return a copy of `network` that computes one member's output for a shared input, ``(B, ...)`` to ``(B, C)``.

    Every `motet.layers.MemberLayer` is replaced by the result of its ``member(m)``, and so are the member layers inside
    that.

    Args:
        network: the network of an ensemble.
        member: m.
        share: whether parameters and buffers that members share are the network's own, not copies.
    """
    kept = [*network.parameters(), *network.buffers()] if share else []
    return _extracted(copy_of(network, {id(tensor): tensor for tensor in kept}), member)


def _extracted(network: nn.Module, member: int) -> nn.Module:
    if isinstance(network, MemberLayer) and (own := network.member(member)) is not network:
        return _extracted(own, member)
    for child in list(network.children()):
        if (new := _extracted(child, member)) is not child:
            network = replace_module(network, child, new)
    return network


@final
class SharedNetwork(MemberLayer):
    """One network through which the rows of all members pass, and in which the members have some separate weights.

    Args:
        network: the network with member layers.
        members: M.
        layout: says whether the rows that enter are ``(M B)`` or ``B`` shared by all members.
        tiles: whether shared rows are repeated for the members before they enter; otherwise layers of the network do
            it.
        active: if given, members run one after another, each on its own rows, and this tells the network's layers
            whose turn it is. It takes as many operations, and is right for networks in which the rows of a layer are
            not those of the batch (routed tokens, position buffers). A batch norm that members share then sees one
            member's rows at a time in training.
    """

    layout: Layout

    def __init__(
        self, network: nn.Module, members: int, *, layout: Layout, tiles: bool, active: ActiveMember | None = None
    ) -> None:
        super().__init__()
        self.network = network
        self.members, self.layout, self.tiles, self.active = members, layout, tiles, active
        # torch's fused kernel reads the weights of its layers directly, and so ignores the layers that replaced them.
        self.has_fused_layers = any(isinstance(module, nn.TransformerEncoderLayer) for module in network.modules())

    def forward(self, x: Inputs) -> Float[Tensor, "out_rows ..."]:
        """Rows ``(M B, ...)`` or ``(B, ...)`` in, as the layout says; ``(M B, C)`` out, member-major."""
        running = self.layout.members or self.members
        if self.tiles and self.active is None and not self.layout.distinct and running > 1:
            x = x.repeat(running, *(1,) * (x.ndim - 1))
        fused = torch.backends.mha.get_fastpath_enabled()
        if not self.has_fused_layers or not fused:
            return self._output(x)
        torch.backends.mha.set_fastpath_enabled(False)
        try:
            return self._output(x)
        finally:
            torch.backends.mha.set_fastpath_enabled(fused)

    def _output(self, x: Inputs) -> Tensor:
        if self.active is not None:
            return self._in_turn(x, self.active)
        out: Tensor = self.network(x)
        return out

    def _in_turn(self, x: Inputs, active: ActiveMember) -> Tensor:
        running = self.layout.members or self.members
        parts = x.chunk(running) if self.layout.distinct else (x,) * running
        outputs: list[Tensor] = []
        try:
            for active.member, part in enumerate(parts):
                # A network that changes its input in place would change it for the members after it.
                outputs.append(self.network(part.clone() if running > 1 else part))
        finally:
            active.member = None
        return torch.cat(outputs)

    def member(self, member: int) -> nn.Module:
        """The member's network."""
        return member_network(self.network, member)

    def subset(self, indices: Sequence[int]) -> "SharedNetwork":
        """The same for the rows of fewer members; the network's own layers select them."""
        return SharedNetwork(self.network, len(indices), layout=self.layout, tiles=self.tiles, active=self.active)

    def folded(self) -> SeparateNetworks:
        """Return M ordinary networks side by side, so that inference costs no more than M passes of the single network.

        Shared weights stay shared. Weights that differ between members take M times the memory.
        """
        networks = [member_network(self.network, member, share=True) for member in range(self.members)]
        return SeparateNetworks(networks, layout=self.layout)
