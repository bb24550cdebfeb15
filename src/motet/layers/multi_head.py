"""The output layer of a network with one head for each member."""

from collections.abc import Sequence
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from motet._internal.nested import Inputs
from motet.layers.base import MemberLayer
from motet.layers.ordinary import Ordinary, ReplacedLayer, layer_like


@final
class MultiHead(MemberLayer, ReplacedLayer):
    """M heads on the same features, computed as one layer (MIMO, section 2).

    Output ``k`` of member m has index ``m K + k`` of the layer, as in the paper's implementation. The result has rows
    ``(M B)``, member-major, so that operations after the output layer (pooling, a softmax) work as for one head.

    Args:
        layer: the ordinary output layer to replace (Linear, or a convolution without groups); not changed.
        weights: the heads' weights, ``(M, *layer.weight.shape)``.
        biases: the heads' biases, ``(M, K)``; None if the layer has none.
    """

    member_parameters = frozenset({"layer.weight", "layer.bias"})
    is_single_pass = True
    stays_in_channels = False
    """Whether the members' outputs stay side by side in one row, for `HeadsInChannels`."""

    def __init__(self, layer: Ordinary, weights: Tensor, biases: Tensor | None) -> None:
        super().__init__()
        self.members = len(weights)
        features = layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels
        self.layer = layer_like(layer, inputs=features, outputs=self.members * len(layer.weight))
        with torch.no_grad():
            self.layer.weight.copy_(weights.flatten(0, 1))
            if biases is not None:
                assert self.layer.bias is not None
                self.layer.bias.copy_(biases.flatten())
        self.layer.weight.requires_grad_(layer.weight.requires_grad)
        if layer.bias is not None:
            assert self.layer.bias is not None
            self.layer.bias.requires_grad_(layer.bias.requires_grad)

    def forward(self, h: Float[Tensor, "batch ..."]) -> Float[Tensor, "rows ..."]:
        """Features ``(B, ...)`` in; ``(M B, ...)`` out, member-major."""
        out: Tensor = self.layer(h)
        if self.stays_in_channels:
            return out
        axis = out.ndim - 1 if isinstance(self.layer, nn.Linear) else 1
        rows: Tensor = out.unflatten(axis, (self.members, -1)).movedim(axis, 0).flatten(0, 1)
        return rows

    def equivalent_attribute(self, name: str) -> Any:
        """The attribute of one head; its weight and bias are the means over the members."""
        value = getattr(self.layer, name)
        if name in ("weight", "bias"):
            return None if value is None else value.unflatten(0, (self.members, -1)).mean(dim=0)
        return value // self.members if name in ("out_features", "out_channels") else value

    @torch.no_grad()
    def member(self, member: int) -> Ordinary:
        """Return the ordinary layer that is the member's head."""
        features = self.layer.in_features if isinstance(self.layer, nn.Linear) else self.layer.in_channels
        layer = layer_like(self.layer, inputs=features, outputs=len(self.layer.weight) // self.members)
        layer.weight.copy_(self.layer.weight.unflatten(0, (self.members, -1))[member])
        if self.layer.bias is not None:
            assert layer.bias is not None
            layer.bias.copy_(self.layer.bias.unflatten(0, (self.members, -1))[member])
        return layer

    @torch.no_grad()
    def subset(self, indices: Sequence[int]) -> "MultiHead":
        """The chosen members' heads."""
        one, chosen = self.member(indices[0]), list(indices)
        one.weight.requires_grad_(self.layer.weight.requires_grad)
        biases = None
        if self.layer.bias is not None:
            assert one.bias is not None
            one.bias.requires_grad_(self.layer.bias.requires_grad)
            biases = self.layer.bias.unflatten(0, (self.members, -1))[chosen]
        own = MultiHead(one, self.layer.weight.unflatten(0, (self.members, -1))[chosen], biases)
        own.stays_in_channels = self.stays_in_channels
        return own.train(self.training)

    def extra_repr(self) -> str:
        """Shown by ``print(module)``."""
        return f"members={self.members}"


@final
class HeadsInChannels(MemberLayer):
    """A network whose heads' outputs stay in the channels of B rows up to its end, where they become rows ``(M B)``.

    For models whose code after the output layer selects rows by the batch size of the input, such as the last token's
    logits of each text.

    Args:
        network: the network, with a `MultiHead` that ``stays_in_channels``.
        members: M.
        axis: the axis of the classes in its output.
    """

    is_single_pass = True

    def __init__(self, network: nn.Module, members: int, *, axis: int) -> None:
        super().__init__()
        self.network, self.members, self.axis = network, members, axis

    def forward(self, x: Inputs) -> Float[Tensor, "rows ..."]:
        """Rows ``(B, ...)`` in, or ``(M B, ...)`` if the network reads them; ``(M B, ...)`` out, member-major."""
        out: Tensor = self.network(x)
        axis = self.axis % out.ndim
        rows: Tensor = out.unflatten(axis, (self.members, -1)).movedim(axis, 0).flatten(0, 1)
        return rows

    def member(self, member: int) -> nn.Module:
        """The network, whose head becomes the member's."""
        return self.network

    def subset(self, indices: Sequence[int]) -> "HeadsInChannels":
        """The same for the heads of fewer members."""
        return HeadsInChannels(self.network, len(indices), axis=self.axis)
