"""Layers whose weights are mixtures of templates, and whole networks of such layers."""

import copy
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, final

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from motet.layers.base import MemberLayer
from motet.layers.ordinary import Ordinary, apply
from motet.layers.separate_networks import SeparateNetworks
from motet.layers.templates.bank import Bank


@final
class TemplateLayer(MemberLayer):
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

    def subset(self, indices: Sequence[int]) -> None:
        """None: which templates the layer reads depends on M."""

    def extra_repr(self) -> str:
        """Shown by ``print(module)``."""
        return f"templates={self.source[0].counts[self.layer_index]}"


@final
class TemplateMembers(MemberLayer):
    """The banks, and the members whose `TemplateLayer` layers read them.

    Args:
        banks: every bank that the members' layers read.
        members: the networks.
        note: what `motet.summary` is to say about the budget.
    """

    def __init__(self, banks: Sequence[Bank], members: SeparateNetworks, *, note: str = "") -> None:
        super().__init__()
        self.banks = nn.ModuleList(banks)
        self.members = members
        self.note = note

    @property
    def summary_note(self) -> str:
        """The note."""
        return self.note

    def forward(self, x: Shaped[Tensor, "rows ..."]) -> Float[Tensor, "out_rows out"]:
        """See `SeparateNetworks`: the same rows in and out."""
        with ExitStack() as stack:
            for bank in self.banks:
                stack.enter_context(bank.composed())  # type: ignore[operator]
            rows: Tensor = self.members(x)
            return rows

    def folded(self) -> SeparateNetworks:
        """The members alone, whose layers fold to ordinary ones: M times the single network's parameters."""
        return self.members

    def subset(self, indices: Sequence[int]) -> SeparateNetworks:
        """The chosen members alone. Their layers fold to ordinary ones: which templates are read depends on M."""
        return self.members.subset(indices)

    def member(self, member: int) -> nn.Module:
        """The member's own network, whose layers still read the banks."""
        return self.members.member(member)
