"""The input layer of a multi-input network."""

from typing import Any, ClassVar, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from motet.layers._layout import Layout
from motet.layers._types import Ordinary, StandIn, apply, like


@final
class MultiInput(StandIn):
    """A Linear, Conv1d or Conv2d layer that reads M inputs at once (MIMO, section 2 and figure 1).

    The M inputs are concatenated along their features or channels and pass one ordinary layer. Channel c of member
    m has index ``c M + m``, as in the paper's implementation: members are interleaved, which also keeps every group
    of a grouped convolution together. Seen from one member it is that member's kernel; the layer's output is the sum
    over members of what their kernels make of their inputs, plus one bias.

    Args:
        layer: the ordinary layer to replace; it is not changed.
        kernels: the members' kernels, ``(M, *layer.weight.shape)``.
        layout: says at each forward pass whether the rows are ``(M B)``, one input per member, or ``B``, the same
            input for all members.
    """

    member_parameters: ClassVar[frozenset[str]] = frozenset({"layer.weight"})

    def __init__(self, layer: Ordinary, kernels: Tensor, *, layout: Layout) -> None:
        super().__init__()
        self.members = len(kernels)
        self.layout = layout
        features = layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels
        outputs = layer.out_features if isinstance(layer, nn.Linear) else layer.out_channels
        self.layer = like(layer, inputs=features * self.members, outputs=outputs)
        with torch.no_grad():
            self.layer.weight.copy_(kernels.movedim(0, 2).flatten(1, 2))
            if layer.bias is not None:
                assert self.layer.bias is not None
                self.layer.bias.copy_(layer.bias)
        self.layer.weight.requires_grad_(layer.weight.requires_grad)
        if layer.bias is not None:
            assert self.layer.bias is not None
            self.layer.bias.requires_grad_(layer.bias.requires_grad)

    @property
    def kernels(self) -> Tensor:
        """The members' kernels, ``(M, out, in, ...)``: a view of the weight."""
        weight = self.layer.weight
        return weight.view(len(weight), -1, self.members, *weight.shape[2:]).movedim(2, 0)

    def forward(self, x: Float[Tensor, "rows ..."]) -> Float[Tensor, "batch ..."]:
        """Rows ``(M B, ...)`` or ``(B, ...)`` in, as the layout says; ``(B, ...)`` out."""
        if not self.layout.distinct:
            # conv(x, W_1) + ... + conv(x, W_M) = conv(x, W_1 + ... + W_M): nothing is tiled.
            return apply(self.layer, x, self.kernels.sum(dim=0))
        x_MB = x.unflatten(0, (self.members, -1))
        axis = x.ndim - 1 if isinstance(self.layer, nn.Linear) else 1
        # (M, B, ..., F, ...) -> (B, ..., F, M, ...) -> (B, ..., F M, ...)
        concatenated: Tensor = self.layer(x_MB.movedim(0, axis + 1).flatten(axis, axis + 1))
        return concatenated

    def as_one(self, name: str) -> Any:
        """Of the layer for one input that all members share, whose weight is the sum of the kernels."""
        if name == "weight":
            return self.kernels.sum(dim=0)
        value = getattr(self.layer, name)
        return value // self.members if name in ("in_features", "in_channels") else value

    @torch.no_grad()
    def folded(self) -> Ordinary:
        """The ordinary layer that computes the same on one shared input: the M kernels added up."""
        features = self.layer.in_features if isinstance(self.layer, nn.Linear) else self.layer.in_channels
        layer = like(self.layer, inputs=features // self.members, outputs=len(self.layer.weight))
        layer.weight.copy_(self.kernels.sum(dim=0))
        if self.layer.bias is not None:
            assert layer.bias is not None
            layer.bias.copy_(self.layer.bias)
        return layer

    def member(self, member: int) -> Ordinary:
        """For a shared input every member reads the same: see `folded`."""
        return self.folded()

    def extra_repr(self) -> str:
        """Shown by ``print(module)``."""
        return f"members={self.members}"
