"""The input layer of a multi-input network."""

from collections.abc import Sequence
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from motet.errors import InputError
from motet.layers.base import MemberLayer
from motet.layers.layout import Layout
from motet.layers.ordinary import Ordinary, ReplacedLayer, apply, like


@final
class MultiInput(MemberLayer, ReplacedLayer):
    """A Linear, Conv1d or Conv2d layer that reads M inputs at once (MIMO, section 2 and figure 1).

    The M inputs are concatenated along their features or channels and pass one ordinary layer. Channel c of member
    m has index ``c M + m``, as in the paper's implementation: members are interleaved, which also keeps every group
    of a grouped convolution together. Seen from one member it is that member's kernel; the layer's output is the sum
    over members of what their kernels make of their inputs, plus one bias.

    Where the layout has shares of a mix (MixMo), each member's part is multiplied by M times its share: ``h = M sum_m
    share_m e_m(x_m) + bias``. Equal shares are the plain sum. The bias enters once, whatever the shares: they add up
    to 1, so this is what M layers would give whose biases are all 1/M of it.

    Args:
        layer: the ordinary layer to replace; it is not changed.
        kernels: the members' kernels, ``(M, *layer.weight.shape)``.
        layout: says at each forward pass whether the rows are ``(M B)``, one input per member, or ``B``, the same
            input for all members; and how inputs are mixed.
        scale: multiplies the sum over members, but not the bias, where inputs are not mixed.
    """

    member_parameters = frozenset({"layer.weight"})
    layout: Layout

    def __init__(self, layer: Ordinary, kernels: Tensor, *, layout: Layout, scale: float = 1.0) -> None:
        super().__init__()
        self.members = len(kernels)
        self.layout = layout
        self.scale = scale
        self.layer = widened(layer, kernels)

    @property
    def kernels(self) -> Tensor:
        """The members' kernels, ``(M, out, in, ...)``: a view of the weight."""
        return _kernels(self.layer, self.members)

    def forward(self, x: Float[Tensor, "rows ..."]) -> Float[Tensor, "batch ..."]:
        """Rows ``(M B, ...)`` or ``(B, ...)`` in, as the layout says; ``(B, ...)`` out."""
        mixing = self.layout.mixing
        if not self.layout.distinct:
            # conv(x, W_1) + ... + conv(x, W_M) = conv(x, W_1 + ... + W_M): nothing is tiled.
            return apply(self.layer, x, self._scaled(self.kernels.sum(dim=0)))
        if mixing is None:
            return apply(self.layer, side_by_side(self.layer, x, self.members), self._scaled(self.layer.weight))
        mixing = self.members * mixing.to(x.dtype)
        if mixing.ndim == 2:
            # share conv(x, W) = conv(share x, W): one layer over all inputs, as without shares.
            shares = mixing.T.reshape(-1, *[1] * (x.ndim - 1))
            return apply(self.layer, side_by_side(self.layer, shares * x, self.members), self.layer.weight)
        return self._masked(x, mixing)

    def _masked(self, x: Tensor, masks: Tensor) -> Tensor:
        """Shares that differ from pixel to pixel, ``(B, M, H, W)``, times M: each member's features are masked."""
        if not isinstance(self.layer, nn.Conv2d):
            raise InputError(
                "shares for each pixel need an input layer that is a Conv2d",
                got=f"a {type(self.layer).__name__}",
                fix="Mix linearly here, with one share for each member's input: (B, M)",
            )
        total: Tensor | None = None
        for member, (rows, kernel) in enumerate(zip(x.chunk(self.members), self.kernels, strict=True)):
            out = apply(self.layer, rows, kernel, bias=False)
            if masks.shape[2:] != out.shape[2:]:
                # The mean over the pixels that a feature stands for. It keeps shares that add up to 1 adding up to 1,
                # and a mask's area, where the nearest pixel's would lose thin boxes.
                masks = F.adaptive_avg_pool2d(masks, (out.shape[2], out.shape[3]))
            part = masks[:, member, None].to(out.dtype) * out
            total = part if total is None else total + part
        assert total is not None
        return total if self.layer.bias is None else total + self.layer.bias.to(total.dtype).view(-1, 1, 1)

    def _scaled(self, weight: Tensor) -> Tensor:
        return weight if self.scale == 1 else self.scale * weight

    def equivalent_attribute(self, name: str) -> Any:
        """Of the layer for one input that all members share, whose weight is the sum of the kernels."""
        value = _of_one_input(self.layer, self.members, name)
        return self._scaled(value) if name == "weight" else value

    @torch.no_grad()
    def folded(self) -> Ordinary:
        """The ordinary layer that computes the same on one shared input: the M kernels added up."""
        features = self.layer.in_features if isinstance(self.layer, nn.Linear) else self.layer.in_channels
        layer = like(self.layer, inputs=features // self.members, outputs=len(self.layer.weight))
        layer.weight.copy_(self._scaled(self.kernels.sum(dim=0)))
        if self.layer.bias is not None:
            assert layer.bias is not None
            layer.bias.copy_(self.layer.bias)
        return layer

    def member(self, member: int) -> Ordinary:
        """For a shared input every member reads the same: see `folded`."""
        return self.folded()

    def subset(self, indices: Sequence[int]) -> None:
        """None: the members' kernels are added up."""

    def extra_repr(self) -> str:
        """Shown by ``print(module)``."""
        return f"members={self.members}" + ("" if self.scale == 1 else f", scale={self.scale}")


@final
class ConcatenatedInput(MemberLayer, ReplacedLayer):
    """A Linear, Conv1d or Conv2d layer that reads M inputs at once, which are never the same.

    As `MultiInput`, but for members whose rows differ even where they share the model's input, because something
    before this layer has made them different (DataMUX): nothing can be added up.

    Args:
        layer: the ordinary layer to replace; it is not changed.
        kernels: the members' kernels, ``(M, *layer.weight.shape)``.
    """

    member_parameters = frozenset({"layer.weight"})

    def __init__(self, layer: Ordinary, kernels: Tensor) -> None:
        super().__init__()
        self.members = len(kernels)
        self.layer = widened(layer, kernels)

    def forward(self, x: Float[Tensor, "rows ..."]) -> Float[Tensor, "batch ..."]:
        """Rows ``(M B, ...)`` in, ``(B, ...)`` out."""
        concatenated: Tensor = self.layer(side_by_side(self.layer, x, self.members))
        return concatenated

    def member(self, member: int) -> "ConcatenatedInput":
        """The whole layer: it reads all members' rows at once."""
        return self

    def subset(self, indices: Sequence[int]) -> None:
        """None: it reads all members' rows at once."""

    def equivalent_attribute(self, name: str) -> Any:
        """Of the layer for one input, whose weight is the sum of the kernels."""
        return _of_one_input(self.layer, self.members, name)

    def extra_repr(self) -> str:
        """Shown by ``print(module)``."""
        return f"members={self.members}"


def _kernels(layer: Ordinary, members: int) -> Tensor:
    weight = layer.weight
    return weight.view(len(weight), -1, members, *weight.shape[2:]).movedim(2, 0)


def _of_one_input(layer: Ordinary, members: int, name: str) -> Any:
    if name == "weight":
        return _kernels(layer, members).sum(dim=0)
    value = getattr(layer, name)
    return value // members if name in ("in_features", "in_channels") else value


@torch.no_grad()
def widened(layer: Ordinary, kernels: Tensor) -> Ordinary:
    """`layer` over M inputs side by side, with the members' kernels interleaved; frozen where `layer` is."""
    members = len(kernels)
    features = layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels
    wide = like(layer, inputs=features * members, outputs=len(layer.weight))
    wide.weight.copy_(kernels.movedim(0, 2).flatten(1, 2))
    wide.weight.requires_grad_(layer.weight.requires_grad)
    if layer.bias is not None:
        assert wide.bias is not None
        wide.bias.copy_(layer.bias)
        wide.bias.requires_grad_(layer.bias.requires_grad)
    return wide


def side_by_side(layer: Ordinary, x: Tensor, members: int) -> Tensor:
    """Rows ``(M B, ...)`` as ``B`` rows with the members' features or channels interleaved, for a `widened` layer."""
    x_MB = x.unflatten(0, (members, -1))
    axis = x.ndim - 1 if isinstance(layer, nn.Linear) else 1
    # (M, B, ..., F, ...) -> (B, ..., F, M, ...) -> (B, ..., F M, ...)
    beside: Tensor = x_MB.movedim(0, axis + 1).flatten(axis, axis + 1)
    return beside
