"""Layers of M networks that stand side by side in the channels of one network.

Inside a *stack* a tensor has the members in its feature or channel axis, member-major: channel c of member m has index
``m C + c``. So a layer of all members is one torch layer, and what has no parameters works unchanged. Layers that read
the model's input take rows, and layers that make its output give rows ``(M B)``.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from motet.layers.base import MemberLayer
from motet.layers.layout import Layout
from motet.layers.ordinary import Convolution, Ordinary, convolve, like

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d


@final
class ActiveMember:
    """Whose turn it is in a loop over the members of a stack.

    Attributes:
        member: the member that runs alone, on tensors without other members' channels; None when all run together.
    """

    def __init__(self) -> None:
        self.member: int | None = None


class StackedLayer(MemberLayer):
    """The same layer of M networks. ``layer`` holds their weights as one torch layer, member-major."""

    layer: nn.Module
    member_parameters = frozenset({"layer.weight", "layer.bias"})

    def __init__(self, members: int, turn: ActiveMember) -> None:
        super().__init__()
        self.members = members
        self.turn = turn
        self._parts: dict[str, tuple[Tensor, ...] | Mapping[int, Tensor]] = {}

    def forward(self, x: Tensor) -> Tensor:
        """What all members make of their channels of `x`, or one member of `x`."""
        return self.together(x) if self.turn.member is None else self.alone(x, self.turn.member)

    @abstractmethod
    def together(self, x: Tensor) -> Tensor:
        """All members at once."""

    @abstractmethod
    def alone(self, x: Tensor, member: int) -> Tensor:
        """One member, between `split` and `join`."""

    @abstractmethod
    def of(self, layer: Any, members: int) -> "StackedLayer":
        """A stacked layer of the same stack, for so many layers like `layer`, to `fill`."""

    def split(self, *, only: int | None = None) -> None:
        """Make ready for a loop over members, or for one member alone."""
        apart = {
            name: tensor.unflatten(0, (self.members, -1))
            for name, tensor in (*self.layer.named_parameters(), *self.layer.named_buffers())
            if tensor.ndim
        }
        # Once a pass, not once a member: the gradients of M slices would each be as large as the whole.
        self._parts = {
            name: tensor.unbind() if only is None else {only: tensor[only]} for name, tensor in apart.items()
        }

    def join(self) -> None:
        """The loop is over."""
        self._parts = {}

    def part(self, name: str, member: int) -> Tensor | None:
        """The member's part of a parameter or buffer; None if the layer has none of this name."""
        parts = self._parts.get(name)
        return None if parts is None else parts[member]

    @torch.no_grad()
    def fill(self, layers: list[nn.Module]) -> None:
        """Take over the state of the members' own layers, and which parameters are frozen."""
        own = {**dict(self.layer.named_parameters()), **dict(self.layer.named_buffers())}
        states = [{**dict(layer.named_parameters()), **dict(layer.named_buffers())} for layer in layers]
        for name, tensor in own.items():
            values = [state[name] for state in states]
            tensor.copy_(torch.cat(values) if tensor.ndim else values[0])
            if isinstance(tensor, nn.Parameter):
                tensor.requires_grad_(values[0].requires_grad)
        self.layer.train(layers[0].training)

    @torch.no_grad()
    def empty(self, layer: nn.Module, member: int) -> nn.Module:
        """`layer`, with the member's state."""
        own = {**dict(self.layer.named_parameters()), **dict(self.layer.named_buffers())}
        for name, tensor in (*layer.named_parameters(), *layer.named_buffers()):
            tensor.copy_(own[name].unflatten(0, (self.members, -1))[member] if tensor.ndim else own[name])
            if isinstance(tensor, nn.Parameter):
                tensor.requires_grad_(own[name].requires_grad)
        return layer.train(self.layer.training)

    @torch.no_grad()
    def subset(self, indices: Sequence[int]) -> "StackedLayer":
        """The chosen members' layers; together with all others of the stack."""
        alone = [self.member(index) for index in indices]
        own = self.of(alone[0], len(alone))
        own.fill(alone)
        return own.train(self.training)

    def extra_repr(self) -> str:
        """Shown by ``print(module)``."""
        return f"members={self.members}"


@final
class StackedLinear(StackedLayer):
    """M Linear layers: one product where they read the same rows, a batched product where each has its own.

    Args:
        layer: one of them; not changed.
        members: M.
        turn: the stack's.
        layout: says whether the rows that a layer with `reads` takes are shared.
        reads: whether it takes the model's input, in rows ``B`` or ``(M B)``.
        writes: whether it gives rows ``(M B)``.
    """

    layer: nn.Linear
    layout: Layout

    def __init__(
        self, layer: nn.Linear, members: int, turn: ActiveMember, *, layout: Layout, reads: bool, writes: bool
    ) -> None:
        super().__init__(members, turn)
        self.layout, self.reads, self.writes = layout, reads, writes
        made = like(layer, inputs=layer.in_features, outputs=members * layer.out_features)
        assert isinstance(made, nn.Linear)
        self.layer = made

    def together(self, x: Float[Tensor, "rows ..."]) -> Float[Tensor, "out_rows ..."]:
        """``(B, ..., F)`` or ``(M B, ..., F)`` where it reads, else ``(B, ..., M F)``; ``(B, ..., M K)``, or rows."""
        # Rows lie innermost in memory: a product of few features with many rows is up to four times faster that way
        # round, and each layer finds its input as it needs it (benchmarks/results/member_layers.json).
        bias = None if self.layer.bias is None else self.layer.bias.unsqueeze(-1)
        if self.reads and not self.layout.distinct:
            axes = x.shape[:-1]
            x_FN = x.reshape(-1, x.shape[-1]).t()
            weight = self.layer.weight
            out_JN = weight @ x_FN if bias is None else torch.addmm(bias, weight, x_FN)
        else:
            if self.reads:
                axes = torch.Size((len(x) // self.members, *x.shape[1:-1]))
                x_MFN = x.reshape(self.members, -1, x.shape[-1]).transpose(1, 2)
            else:
                axes = x.shape[:-1]
                x_MFN = x.reshape(-1, x.shape[-1]).t().contiguous().unflatten(0, (self.members, -1))
            weights = self.layer.weight.unflatten(0, (self.members, -1))
            if bias is None:
                out_MKN = torch.bmm(weights, x_MFN)
            else:
                out_MKN = torch.baddbmm(bias.unflatten(0, (self.members, -1)), weights, x_MFN)
            out_JN = out_MKN.flatten(0, 1)
        if self.writes:
            rows: Tensor = out_JN.unflatten(0, (self.members, -1)).transpose(1, 2).unflatten(1, axes).flatten(0, 1)
            return rows
        out: Tensor = out_JN.t().unflatten(0, axes)
        return out

    def alone(self, x: Float[Tensor, "rows ..."], member: int) -> Float[Tensor, "rows ..."]:
        """``(B, ..., F)`` to ``(B, ..., K)``."""
        weight = self.part("weight", member)
        assert weight is not None
        return F.linear(x, weight, self.part("bias", member))

    def of(self, layer: nn.Linear, members: int) -> "StackedLinear":
        """As the base class says."""
        return StackedLinear(layer, members, self.turn, layout=self.layout, reads=self.reads, writes=self.writes)

    def member(self, member: int) -> Ordinary:
        """The member's own Linear layer."""
        layer = like(self.layer, inputs=self.layer.in_features, outputs=self.layer.out_features // self.members)
        self.empty(layer, member)
        return layer


@final
class StackedConvolution(StackedLayer):
    """M convolutions: one from shared channels to all members' where they read the same rows, else a grouped one.

    Args: see `StackedLinear`.
    """

    layer: Convolution
    layout: Layout

    def __init__(
        self, layer: Convolution, members: int, turn: ActiveMember, *, layout: Layout, reads: bool, writes: bool
    ) -> None:
        super().__init__(members, turn)
        self.layout, self.reads, self.writes = layout, reads, writes
        made = like(
            layer,
            inputs=members * layer.in_channels,
            outputs=members * layer.out_channels,
            groups=members * layer.groups,
        )
        assert not isinstance(made, nn.Linear)
        self.layer = made

    def together(self, x: Float[Tensor, "rows ..."]) -> Float[Tensor, "out_rows ..."]:
        """``(B, C, ...)`` or ``(M B, C, ...)`` where it reads, else ``(B, M C, ...)``; ``(B, M K, ...)``, or rows."""
        groups = self.layer.groups
        if self.reads and self.layout.distinct:
            x = x.unflatten(0, (self.members, -1)).transpose(0, 1).flatten(1, 2)
        elif self.reads and groups == self.members:
            groups = 1
        elif self.reads:
            x = torch.cat([x] * self.members, dim=1)
        out = convolve(self.layer, x, self.layer.weight, self.layer.bias, groups=groups)
        if not self.writes:
            return out
        rows: Tensor = out.unflatten(1, (self.members, -1)).transpose(0, 1).flatten(0, 1)
        return rows

    def alone(self, x: Float[Tensor, "rows ..."], member: int) -> Float[Tensor, "rows ..."]:
        """``(B, C, ...)`` to ``(B, K, ...)``."""
        weight = self.part("weight", member)
        assert weight is not None
        return convolve(self.layer, x, weight, self.part("bias", member), groups=self.layer.groups // self.members)

    def of(self, layer: Convolution, members: int) -> "StackedConvolution":
        """As the base class says."""
        return StackedConvolution(layer, members, self.turn, layout=self.layout, reads=self.reads, writes=self.writes)

    def member(self, member: int) -> Ordinary:
        """The member's own convolution."""
        layer = like(
            self.layer,
            inputs=self.layer.in_channels // self.members,
            outputs=self.layer.out_channels // self.members,
            groups=self.layer.groups // self.members,
        )
        self.empty(layer, member)
        return layer
