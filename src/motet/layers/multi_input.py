"""Input layers that read the inputs of several members."""

from collections.abc import Sequence
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from motet._internal.wording import with_article
from motet.errors import InputError
from motet.layers.base import MemberLayer
from motet.layers.inputs_in_turn import ReadsInTurn
from motet.layers.layout import Layout
from motet.layers.ordinary import Ordinary, ReplacedLayer, apply, layer_like


@final
class MultiInput(MemberLayer, ReplacedLayer, ReadsInTurn):
    """A Linear, Conv1d, Conv2d or Conv3d layer that reads M inputs at once (MIMO, section 2 and figure 1).

    The M inputs are concatenated along their features or channels and pass through one ordinary layer. Channel c of
    member m has index ``c M + m``, as in the paper's implementation: members are interleaved, which also keeps every
    group of a grouped convolution together. The output is the sum over members of their kernels applied to their
    inputs, plus one bias.

    If the layout has mixing ratios (MixMo), each member's part is multiplied by M times its ratio: ``h = M sum_m
    share_m e_m(x_m) + bias``. With equal ratios this is the plain sum. The bias is added once, for any ratios: they add
    up to 1, so this equals M layers that each have 1/M of the bias.

    Args:
        layer: the ordinary layer to replace; it is not changed.
        kernels: the members' kernels, ``(M, *layer.weight.shape)``.
        layout: says at each forward pass whether the rows are ``(M B)``, one input for each member, or ``B``, the same
            input for all members; and how inputs are mixed.
        scale: multiplies the sum over members, but not the bias, if inputs are not mixed.
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
            # conv(x, W_1) + ... + conv(x, W_M) = conv(x, W_1 + ... + W_M), so the input is not repeated.
            return apply(self.layer, x, self._scaled(self.kernels.sum(dim=0)))
        read = self.collected(x)
        if read is None:
            return apply(self.layer, x, self.kernels[0])
        x = read
        if mixing is None:
            return apply(self.layer, side_by_side(self.layer, x, self.members), self._scaled(self.layer.weight))
        mixing = self.members * mixing.to(x.dtype)
        if mixing.ndim == 2:
            # share conv(x, W) = conv(share x, W), so one layer over all inputs is enough here too.
            shares = mixing.T.reshape(-1, *[1] * (x.ndim - 1))
            return apply(self.layer, side_by_side(self.layer, shares * x, self.members), self.layer.weight)
        return self._masked(x, mixing)

    def _masked(self, x: Tensor, masks: Tensor) -> Tensor:
        """Mask each member's features: ratios that vary from pixel to pixel, ``(B, M, H, W)``, times M."""
        if not isinstance(self.layer, nn.Conv2d):
            raise InputError(
                "a mixing ratio for each pixel needs a Conv2d as the input layer",
                got=with_article(type(self.layer).__name__),
                fix="Mix linearly, with one ratio for each member's input: (B, M)",
            )
        total: Tensor | None = None
        for member, (rows, kernel) in enumerate(zip(x.chunk(self.members), self.kernels, strict=True)):
            out = apply(self.layer, rows, kernel, bias=False)
            if masks.shape[2:] != out.shape[2:]:
                # The mean over the pixels that belong to a feature. Ratios still add up to 1, and a mask keeps its
                # area; with the nearest pixel's value thin boxes would be lost.
                masks = F.adaptive_avg_pool2d(masks, (out.shape[2], out.shape[3]))
            part = masks[:, member, None].to(out.dtype) * out
            total = part if total is None else total + part
        assert total is not None
        return total if self.layer.bias is None else total + self.layer.bias.to(total.dtype).view(-1, 1, 1)

    def _scaled(self, weight: Tensor) -> Tensor:
        return weight if self.scale == 1 else self.scale * weight

    def equivalent_attribute(self, name: str) -> Any:
        """The attribute of the layer for one shared input; its weight is the sum of the kernels."""
        value = _of_one_input(self.layer, self.members, name)
        return self._scaled(value) if name == "weight" else value

    @torch.no_grad()
    def folded(self) -> Ordinary:
        """Return the ordinary layer that computes the same for one shared input: the M kernels added."""
        features = self.layer.in_features if isinstance(self.layer, nn.Linear) else self.layer.in_channels
        layer = layer_like(self.layer, inputs=features // self.members, outputs=len(self.layer.weight))
        layer.weight.copy_(self._scaled(self.kernels.sum(dim=0)))
        if self.layer.bias is not None:
            assert layer.bias is not None
            layer.bias.copy_(self.layer.bias)
        return layer

    def member(self, member: int) -> Ordinary:
        """With a shared input every member has the same input layer: see `folded`."""
        return self.folded()

    def subset(self, indices: Sequence[int]) -> None:
        """None: the members' kernels are added."""

    def extra_repr(self) -> str:
        """Shown by ``print(module)``."""
        return f"members={self.members}" + ("" if self.scale == 1 else f", scale={self.scale}")


@final
class ConcatenatedInput(MemberLayer, ReplacedLayer, ReadsInTurn):
    """A Linear, Conv1d, Conv2d or Conv3d layer that reads M inputs at once, which always differ.

    Like `MultiInput`, but for members whose rows differ even if they share the model's input, because a transform
    before this layer has changed them (DataMUX). So kernels cannot be added.

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
        read = self.collected(x)
        if read is None:
            return apply(self.layer, x, _kernels(self.layer, self.members)[0])
        concatenated: Tensor = self.layer(side_by_side(self.layer, read, self.members))
        return concatenated

    def member(self, member: int) -> "ConcatenatedInput":
        """The whole layer: it reads all members' rows at once."""
        return self

    def subset(self, indices: Sequence[int]) -> None:
        """None: it reads all members' rows at once."""

    def equivalent_attribute(self, name: str) -> Any:
        """The attribute of the layer for one input; its weight is the sum of the kernels."""
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
    """Return a layer like `layer` over M concatenated inputs, with the members' kernels interleaved; frozen if
    `layer` is.
    """
    members = len(kernels)
    features = layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels
    wide = layer_like(layer, inputs=features * members, outputs=len(layer.weight))
    wide.weight.copy_(kernels.movedim(0, 2).flatten(1, 2))
    wide.weight.requires_grad_(layer.weight.requires_grad)
    if layer.bias is not None:
        assert wide.bias is not None
        wide.bias.copy_(layer.bias)
        wide.bias.requires_grad_(layer.bias.requires_grad)
    return wide


def side_by_side(layer: Ordinary, x: Tensor, members: int) -> Tensor:
    """Reshape rows ``(M B, ...)`` to ``B`` rows with the members' features or channels interleaved.

    Args:
        layer: a layer from `widened`.
        x: rows ``(M B, ...)``.
        members: M.
    """
    x_MB = x.unflatten(0, (members, -1))
    axis = x.ndim - 1 if isinstance(layer, nn.Linear) else 1
    # (M, B, ..., F, ...) -> (B, ..., F, M, ...) -> (B, ..., F M, ...)
    interleaved: Tensor = x_MB.movedim(0, axis + 1).flatten(axis, axis + 1)
    return interleaved
