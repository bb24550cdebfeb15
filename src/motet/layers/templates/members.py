"""Whole networks whose layers are mixtures of the same templates."""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import final

from jaxtyping import Float, Shaped
from torch import Tensor, nn

from motet.layers.separate_networks import SeparateNetworks
from motet.layers.templates.bank import Bank


@final
class TemplateMembers(nn.Module):
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
        self.summary_note = note

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
