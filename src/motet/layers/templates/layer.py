"""A layer whose weight is a mixture of templates."""

import copy
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from motet.layers.ordinary import Ordinary, apply
from motet.layers.templates.bank import Bank


@final
class TemplateLayer(nn.Module):
    """One member's Linear, Conv1d or Conv2d, with the bank's mixture for a weight and a bias of its own.

    The bank is not a submodule: the network that holds the members has it once. Copies of that network, and pickles
    of it, keep the tie.

    Args:
        layer: the ordinary layer to replace; it is not changed.
        bank: where the weight comes from.
        layer_index: which of the bank's layers this is.
        member_index: whose layer it is.
    """

    def __init__(self, layer: Ordinary, bank: Bank, *, layer_index: int, member_index: int = 0) -> None:
        super().__init__()
        self.layer = copy.deepcopy(layer)
        self.layer.register_parameter("weight", None)
        self.source = (bank,)  # in a tuple, where torch does not look for submodules
        self.layer_index, self.member_index = layer_index, member_index

    @property
    def weight(self) -> Float[Tensor, "out inputs ..."]:
        """The mixture, connected to templates and coefficients."""
        return self.source[0].weight(self.layer_index, self.member_index)

    @property
    def bias(self) -> Float[Tensor, "out"] | None:
        """The member's own bias; None where the layer has none."""
        return self.layer.bias

    def __getattr__(self, name: str) -> Any:
        """What the model's own code may ask of the layer besides: its numbers of features or channels, its stride."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            if name.startswith("_") or name == "layer":
                raise
            return getattr(self.layer, name)

    def forward(self, x: Float[Tensor, "rows ..."]) -> Float[Tensor, "rows ..."]:
        """What the ordinary layer computes."""
        return apply(self.layer, x, self.weight)

    @torch.no_grad()
    def folded(self) -> Ordinary:
        """The ordinary layer that computes the same."""
        layer = copy.deepcopy(self.layer)
        layer.weight = nn.Parameter(self.weight.clone(memory_format=torch.contiguous_format))
        return layer

    def member(self, member: int) -> Ordinary:
        """See `folded`: the layer is one member's already."""
        return self.folded()

    def extra_repr(self) -> str:
        """Shown by ``print(module)``."""
        return f"templates={self.source[0].counts[self.layer_index]}"
