"""M networks as one, run together or in turn."""

from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from motet.layers.base import MemberLayer
from motet.layers.layout import Layout
from motet.layers.stacked.layers import ActiveMember, StackedConvolution, StackedLayer

# Together, a step of small networks is up to four times faster than a loop: there is less to call. Once the members'
# channels of one layer outgrow the processor's cache, a loop is faster, whose tensors are M times smaller. The number
# is where the two met on the machine of benchmarks/results/deep_ensemble.json, in entries of the largest convolution's
# output, all members'. Products of matrices are never slower together (benchmarks/results/member_layers.json).
TOGETHER_AT_MOST = 500_000


@final
class Stack(MemberLayer):
    """M networks that share nothing, with their weights in the channels of one network (`motet.layers.stacked.layers`).

    Each layer's weights are one tensor, whatever way it runs. A pass runs all members together or one after another,
    whichever was faster for this much work where it was measured. Convolutions on devices other than a CPU, and in
    other types than single precision, were not measured (or are slower together), and run in turn.

    Args:
        network: with stacked layers.
        members: M.
        turn: the one that its layers hold.
        layout: the ensemble's.
        widening: entries of the largest convolution's output (all members') for each entry of the input; 0 if there
            is no convolution.
        always: whether to run together always.
    """

    layout: Layout

    def __init__(
        self,
        network: nn.Module,
        members: int,
        turn: ActiveMember,
        *,
        layout: Layout,
        widening: float,
        always: bool = False,
    ) -> None:
        super().__init__()
        self.network = network
        self.members = members
        self.turn = turn
        self.layout = layout
        self.widening = widening
        self.always = always
        self._convolves = any(isinstance(layer, StackedConvolution) for layer in network.modules())

    def forward(self, x: Shaped[Tensor, "rows ..."]) -> Float[Tensor, "out_rows out"]:
        """Rows ``(M B, ...)`` or ``(B, ...)`` in, as the layout says; ``(M B, C)`` out, member-major."""
        if self.runs_together(x):
            out: Tensor = self.network(x)
            return out
        return self.in_turn(x)

    def runs_together(self, x: Tensor) -> bool:
        """Whether a pass over `x` runs all members at once."""
        if self.always or not self._convolves:
            return True
        if x.device.type != "cpu" or x.dtype != torch.float32:
            return False
        entries = x.numel() // self.members if self.layout.distinct else x.numel()
        return entries * self.widening <= TOGETHER_AT_MOST

    def in_turn(self, x: Shaped[Tensor, "rows ..."]) -> Float[Tensor, "out_rows out"]:
        """The same, by a loop over members."""
        inputs = x.chunk(self.members) if self.layout.distinct else (x,) * self.members
        layers = [layer for layer in self.network.modules() if isinstance(layer, StackedLayer)]
        outputs = []
        try:
            for layer in layers:
                layer.split()
            for member, part in enumerate(inputs):
                self.turn.member = member
                outputs.append(self.network(part))
        finally:
            self.turn.member = None
            for layer in layers:
                layer.join()
        return torch.cat(outputs)

    def of_member(self, x: Shaped[Tensor, "batch ..."], member: int) -> Float[Tensor, "batch out"]:
        """One member's outputs for rows ``(B, ...)``, at one member's cost."""
        layers = [layer for layer in self.network.modules() if isinstance(layer, StackedLayer)]
        try:
            for layer in layers:
                layer.split(only=member)
            self.turn.member = member
            out: Tensor = self.network(x)
        finally:
            self.turn.member = None
            for layer in layers:
                layer.join()
        return out

    def member_view(self, member: int) -> nn.Module:
        """See `of_member`."""
        return _OneOfStack(self, member)

    def subset(self, indices: Sequence[int]) -> "Stack":
        """The chosen members' stack, around the same network: its layers have a subset of their own."""
        widening = self.widening * len(indices) / self.members
        return Stack(self.network, len(indices), self.turn, layout=self.layout, widening=widening, always=self.always)

    def member(self, member: int) -> nn.Module:
        """What has the members' layers, for `motet.surgery.member_network` to take one member's from."""
        return self.network

    def extra_repr(self) -> str:
        """Shown by ``print(module)``."""
        return f"members={self.members}"


@final
class _OneOfStack(nn.Module):
    """One member of a stack, on the stack's own weights."""

    def __init__(self, stack: Stack, member: int) -> None:
        super().__init__()
        self.stack = stack
        self.index = member

    def forward(self, x: Tensor) -> Tensor:
        return self.stack.of_member(x, self.index)
