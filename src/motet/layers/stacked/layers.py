"""Layers of M networks whose weights are in the channels of one network.

Inside a *stack* the feature or channel axis of a tensor holds all members, member-major: channel c of member m has
index ``m C + c``. So a layer of all members is one torch layer, and modules without parameters work unchanged. Layers
that read the model's input take rows, and layers that make its output return rows ``(M B)``.
"""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from motet.layers.base import MemberLayer
from motet.layers.layout import ActiveMember, Layout
from motet.layers.ordinary import Convolution, OneInputLayer, Ordinary, convolve, layer_like

BatchNorm = nn.BatchNorm1d | nn.BatchNorm2d


class StackedLayer(MemberLayer, OneInputLayer):
    """The same layer of M networks. ``layer`` holds their weights as one torch layer, member-major.

    Args:
        members: M.
        active: the stack's active member.
    """

    layer: nn.Module
    member_parameters = frozenset({"layer.weight", "layer.bias"})

    def __init__(self, members: int, active: ActiveMember) -> None:
        super().__init__()
        self.members = members
        self.active = active
        self._parts: dict[str, tuple[Tensor, ...] | Mapping[int, Tensor]] = {}

    def forward(self, x: Tensor) -> Tensor:
        """Apply all members to their channels of `x`, or the active member to `x`."""
        return self.forward_all(x) if self.active.member is None else self.forward_one(x, self.active.member)

    @abstractmethod
    def forward_all(self, x: Tensor) -> Tensor:
        """Apply all members at once."""

    @abstractmethod
    def forward_one(self, x: Tensor, member: int) -> Tensor:
        """Apply one member, between `prepare_parts` and `release_parts`."""

    @abstractmethod
    def like_for(self, layer: Any, members: int) -> "StackedLayer":
        """Return a stacked layer of the same stack for `members` layers like `layer`; fill it with `fill`."""

    def prepare_parts(self, *, only: int | None = None) -> None:
        """Split the parameters for a loop over members, or for one member only."""
        apart = {
            name: tensor.unflatten(0, (self.members, -1))
            for name, tensor in (*self.layer.named_parameters(), *self.layer.named_buffers())
            if tensor.ndim
        }
        # Once per pass, not once per member, because the gradient of each of M slices would be as large as the whole.
        self._parts = {
            name: tensor.unbind() if only is None else {only: tensor[only]} for name, tensor in apart.items()
        }

    def release_parts(self) -> None:
        """Release the split parameters after the loop."""
        self._parts = {}

    def part(self, name: str, member: int) -> Tensor | None:
        """Return the member's part of a parameter or buffer; None if the layer has none with this name."""
        parts = self._parts.get(name)
        return None if parts is None else parts[member]

    @torch.no_grad()
    def fill(self, layers: list[nn.Module]) -> None:
        """Copy the state of the members' separate layers, and which parameters are frozen."""
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
        """Copy the member's state into `layer` and return it."""
        own = {**dict(self.layer.named_parameters()), **dict(self.layer.named_buffers())}
        for name, tensor in (*layer.named_parameters(), *layer.named_buffers()):
            tensor.copy_(own[name].unflatten(0, (self.members, -1))[member] if tensor.ndim else own[name])
            if isinstance(tensor, nn.Parameter):
                tensor.requires_grad_(own[name].requires_grad)
        return layer.train(self.layer.training)

    @torch.no_grad()
    def subset(self, indices: Sequence[int]) -> "StackedLayer":
        """The chosen members' layers; call it on all layers of the stack."""
        separate = [self.member(index) for index in indices]
        own = self.like_for(separate[0], len(separate))
        own.fill(separate)
        return own.train(self.training)

    def extra_repr(self) -> str:
        """Shown by ``print(module)``."""
        return f"members={self.members}"


@final
class StackedLinear(StackedLayer):
    """M Linear layers: one matrix product if they read the same rows, a batched product if each reads its own.

    Args:
        layer: one of them; not changed.
        members: M.
        active: the stack's active member.
        layout: says whether the rows that a layer with `reads` takes are shared.
        reads: whether it takes the model's input, in rows ``B`` or ``(M B)``.
        writes: whether it returns rows ``(M B)``.
    """

    layer: nn.Linear
    layout: Layout

    def __init__(
        self, layer: nn.Linear, members: int, active: ActiveMember, *, layout: Layout, reads: bool, writes: bool
    ) -> None:
        super().__init__(members, active)
        self.layout, self.reads, self.writes = layout, reads, writes
        made = layer_like(layer, inputs=layer.in_features, outputs=members * layer.out_features)
        assert isinstance(made, nn.Linear)
        self.layer = made

    def forward_all(self, x: Float[Tensor, "rows ..."]) -> Float[Tensor, "out_rows ..."]:
        """``(B, ..., F)`` or ``(M B, ..., F)`` if it reads, else ``(B, ..., M F)``; returns ``(B, ..., M K)``,
        or rows.
        """
        # Rows are innermost in memory: a product of few features with many rows is then up to four times faster, and
        # the next layer gets its input in the order that it needs (benchmarks/results/member_layers.json).
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

    def forward_one(self, x: Float[Tensor, "rows ..."], member: int) -> Float[Tensor, "rows ..."]:
        """``(B, ..., F)`` to ``(B, ..., K)``."""
        weight = self.part("weight", member)
        assert weight is not None
        return F.linear(x, weight, self.part("bias", member))

    def like_for(self, layer: nn.Linear, members: int) -> "StackedLinear":
        """See `StackedLayer.like_for`."""
        return StackedLinear(layer, members, self.active, layout=self.layout, reads=self.reads, writes=self.writes)

    def member(self, member: int) -> Ordinary:
        """The member's Linear layer."""
        layer = layer_like(self.layer, inputs=self.layer.in_features, outputs=self.layer.out_features // self.members)
        self.empty(layer, member)
        return layer


@final
class StackedConvolution(StackedLayer):
    """M convolutions: one over shared channels if they read the same rows, otherwise a grouped one.

    Args:
        layer: one of them; not changed.
        members: M.
        active: the stack's active member.
        layout, reads, writes: see `StackedLinear`.
    """

    layer: Convolution
    layout: Layout

    def __init__(
        self, layer: Convolution, members: int, active: ActiveMember, *, layout: Layout, reads: bool, writes: bool
    ) -> None:
        super().__init__(members, active)
        self.layout, self.reads, self.writes = layout, reads, writes
        made = layer_like(
            layer,
            inputs=members * layer.in_channels,
            outputs=members * layer.out_channels,
            groups=members * layer.groups,
        )
        assert not isinstance(made, nn.Linear)
        self.layer = made

    def forward_all(self, x: Float[Tensor, "rows ..."]) -> Float[Tensor, "out_rows ..."]:
        """``(B, C, ...)`` or ``(M B, C, ...)`` if it reads, else ``(B, M C, ...)``; returns ``(B, M K, ...)``,
        or rows.
        """
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

    def forward_one(self, x: Float[Tensor, "rows ..."], member: int) -> Float[Tensor, "rows ..."]:
        """``(B, C, ...)`` to ``(B, K, ...)``."""
        weight = self.part("weight", member)
        assert weight is not None
        return convolve(self.layer, x, weight, self.part("bias", member), groups=self.layer.groups // self.members)

    def like_for(self, layer: Convolution, members: int) -> "StackedConvolution":
        """See `StackedLayer.like_for`."""
        return StackedConvolution(layer, members, self.active, layout=self.layout, reads=self.reads, writes=self.writes)

    def member(self, member: int) -> Ordinary:
        """The member's convolution."""
        layer = layer_like(
            self.layer,
            inputs=self.layer.in_channels // self.members,
            outputs=self.layer.out_channels // self.members,
            groups=self.layer.groups // self.members,
        )
        self.empty(layer, member)
        return layer
