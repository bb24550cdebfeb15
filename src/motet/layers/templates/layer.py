"""Layers whose weights are mixtures of templates, and networks of such layers."""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, final

import torch
from jaxtyping import Float
from torch import Tensor, nn

from motet._internal.copying import copy_of
from motet._internal.nested import Inputs
from motet.layers.base import MemberLayer
from motet.layers.ordinary import OneInputLayer, Ordinary, WithOtherAttributes, apply
from motet.layers.separate_networks import SeparateNetworks
from motet.layers.templates.bank import Bank
from motet.layers.transposed import TRANSPOSED, Transposed, apply_transposed


@final
class TemplateLayer(MemberLayer, WithOtherAttributes, OneInputLayer):
    """One member's Linear layer or (transposed) convolution, with the bank's mixture as its weight and its own bias.

    The bank is not a submodule, because the network that holds the members has it once. Copies of that network, and
    pickles of it, keep the connection.

    Args:
        layer: the ordinary layer to replace; it is not changed.
        bank: the bank of the weight.
        layer_index: the layer's index in the bank.
        member_index: the index of the member.
    """

    def __init__(self, layer: Ordinary | Transposed, bank: Bank, *, layer_index: int, member_index: int = 0) -> None:
        super().__init__()
        self.layer = copy_of(layer)
        self.layer.register_parameter("weight", None)
        self.source = (bank,)  # in a tuple, in which torch does not look for submodules
        self.layer_index, self.member_index = layer_index, member_index

    @property
    def weight(self) -> Float[Tensor, "out inputs ..."]:
        """The mixture, differentiable with respect to templates and coefficients."""
        return self.source[0].weight(self.layer_index, self.member_index)

    @property
    def bias(self) -> Float[Tensor, "out"] | None:
        """The member's bias; None if the layer has none."""
        return self.layer.bias

    @property
    def _other(self) -> nn.Module | None:
        return self._modules.get("layer")

    def forward(self, x: Float[Tensor, "rows ..."], output_size: Any = None) -> Float[Tensor, "rows ..."]:
        """Compute the output of the ordinary layer."""
        if isinstance(self.layer, TRANSPOSED):
            return apply_transposed(self.layer, x, self.weight, self.layer.bias, output_size)
        return apply(self.layer, x, self.weight)

    @torch.no_grad()
    def folded(self) -> Ordinary | Transposed:
        """Return the ordinary layer that computes the same."""
        layer = copy_of(self.layer)
        layer.weight = nn.Parameter(self.weight.clone(memory_format=torch.contiguous_format))
        return layer

    def member(self, member: int) -> Ordinary | Transposed:
        """See `folded`: the layer already belongs to one member."""
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
        note: the line about the budget in `motet.summary`.
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

    def forward(self, x: Inputs) -> Float[Tensor, "out_rows ..."]:
        """See `SeparateNetworks`: the same rows in and out."""
        with ExitStack() as stack:
            for bank in self.banks:
                stack.enter_context(bank.composed())  # type: ignore[operator]
            rows: Tensor = self.members(x)
            return rows

    def folded(self) -> SeparateNetworks:
        """Return the members without the banks; their layers become ordinary: M times the single network's
        parameters.
        """
        return self.members

    def subset(self, indices: Sequence[int]) -> SeparateNetworks:
        """Return the chosen members, whose layers become ordinary, because which templates are read depends on M."""
        return self.members.subset(indices)

    def member(self, member: int) -> nn.Module:
        """The member's network, whose layers still read the banks."""
        return self.members.member(member)
