"""M networks as one network, which runs all members at once or in turn."""

from collections.abc import Sequence
from typing import final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from motet._internal.nested import Inputs, tensors_of
from motet.layers.base import MemberLayer
from motet.layers.layout import ActiveMember, Layout
from motet.layers.stacked.layers import StackedConvolution, StackedLayer

# A step of small networks is up to four times faster with all members at once than in a loop, because there are fewer
# calls. If the members' channels of one layer do not fit the processor's cache, a loop is faster, because its tensors
# are M times smaller. The number is where both were equally fast on the machine of
# benchmarks/results/deep_ensemble.json, in entries of the largest convolution's output for all members. Matrix products
# are never slower at once (benchmarks/results/member_layers.json).
MAX_ENTRIES_AT_ONCE = 500_000


@final
class Stack(MemberLayer):
    """M networks that share nothing, with their weights in the channels of one network (`motet.layers.stacked.layers`).

    Each layer's weights are always one tensor. A pass runs all members at once or one after another, whichever was
    measured to be faster for this amount of work. Convolutions on other devices than a CPU, and in other types than
    single precision, were not measured (or are slower at once), and run in turn.

    Args:
        network: the network with stacked layers.
        members: M.
        active: the active member that its layers hold.
        layout: the ensemble's layout.
        widening: entries of the largest convolution's output (all members') for each entry of the input; 0 if there is
            no convolution.
        always: whether to always run all members at once.
    """

    layout: Layout

    def __init__(
        self,
        network: nn.Module,
        members: int,
        active: ActiveMember,
        *,
        layout: Layout,
        widening: float,
        always: bool = False,
    ) -> None:
        super().__init__()
        self.network = network
        self.members = members
        self.active = active
        self.layout = layout
        self.widening = widening
        self.always = always
        self._convolves = any(isinstance(layer, StackedConvolution) for layer in network.modules())

    def forward(self, x: Inputs) -> Float[Tensor, "out_rows ..."]:
        """Rows ``(M B, ...)`` or ``(B, ...)`` in, as the layout says; ``(M B, C)`` out, member-major."""
        if self.runs_all_at_once(x):
            out: Tensor = self.network(x)
            return out
        return self.forward_in_turn(x)

    def runs_all_at_once(self, x: Inputs) -> bool:
        """Whether a pass over `x` runs all members at once."""
        if self.always or not self._convolves:
            return True
        if x.device.type != "cpu" or x.dtype != torch.float32:
            return False
        entries = sum(each.numel() for each in tensors_of(x))
        entries = entries // self.members if self.layout.distinct else entries
        return entries * self.widening <= MAX_ENTRIES_AT_ONCE

    def forward_in_turn(self, x: Inputs) -> Float[Tensor, "out_rows ..."]:
        """Compute the same with a loop over members."""
        inputs = x.chunk(self.members) if self.layout.distinct else (x,) * self.members
        layers = [layer for layer in self.network.modules() if isinstance(layer, StackedLayer)]
        outputs = []
        try:
            for layer in layers:
                layer.prepare_parts()
            for member, part in enumerate(inputs):
                self.active.member = member
                outputs.append(self.network(part))
        finally:
            self.active.member = None
            for layer in layers:
                layer.release_parts()
        return torch.cat(outputs)

    def forward_member(self, x: Inputs, member: int) -> Float[Tensor, "batch ..."]:
        """Return one member's outputs for rows ``(B, ...)``, at one member's cost."""
        layers = [layer for layer in self.network.modules() if isinstance(layer, StackedLayer)]
        try:
            for layer in layers:
                layer.prepare_parts(only=member)
            self.active.member = member
            out: Tensor = self.network(x)
        finally:
            self.active.member = None
            for layer in layers:
                layer.release_parts()
        return out

    def member_view(self, member: int) -> nn.Module:
        """See `forward_member`."""
        return _OneOfStack(self, member)

    def subset(self, indices: Sequence[int]) -> "Stack":
        """The chosen members' stack around the same network, whose layers have their own `subset`."""
        widening = self.widening * len(indices) / self.members
        return Stack(self.network, len(indices), self.active, layout=self.layout, widening=widening, always=self.always)

    def member(self, member: int) -> nn.Module:
        """The network, whose layers `motet.surgery.member_network` replaces by one member's."""
        return self.network

    def extra_repr(self) -> str:
        """Shown by ``print(module)``."""
        return f"members={self.members}"


@final
class _OneOfStack(nn.Module):
    """One member of a stack, on the stack's weights."""

    def __init__(self, stack: Stack, member: int) -> None:
        super().__init__()
        self.stack = stack
        self.index = member

    def forward(self, x: Inputs) -> Tensor:
        return self.stack.forward_member(x, self.index)
