"""Layers at which a shared network branches into separate parts for the members."""

from collections.abc import Iterable, Sequence
from typing import Any, final

import torch
from torch import Tensor, nn

from motet._internal.nested import Inputs
from motet._internal.wording import with_article
from motet.layers.base import MemberLayer
from motet.layers.layout import ActiveMember, Layout
from motet.layers.ordinary import ReplacedLayer, WithOtherAttributes


@final
class Tile(MemberLayer):
    """Repeats rows ``B`` that all members share to ``(M B)``, member-major.

    Args:
        members: M.
        layout: says whether rows are shared, and how many members run.
    """

    layout: Layout

    def __init__(self, members: int, *, layout: Layout) -> None:
        super().__init__()
        self.members = members
        self.layout = layout

    def forward(self, x: Inputs) -> Inputs:
        """``(B, ...)`` to ``(M B, ...)``; rows that are already separate are not changed."""
        members = self.layout.members or self.members
        if self.layout.distinct or members == 1:
            return x
        tiled: Inputs = x.unsqueeze(0).expand(members, *x.shape).flatten(0, 1)
        return tiled

    def member(self, member: int) -> nn.Module:
        """One member needs no repetition."""
        return nn.Identity()

    def subset(self, indices: Sequence[int]) -> "Tile":
        """The same layer for fewer members."""
        return Tile(len(indices), layout=self.layout)

    def extra_repr(self) -> str:
        """Shown by ``print(module)``."""
        return f"members={self.members}"


@final
class Branches(MemberLayer, WithOtherAttributes, ReplacedLayer):
    """M modules after a branching point, each applied to its member's rows of ``(M B)``.

    Args:
        modules: the members' modules, in order. They take tensors with the rows first, and other arguments, which are
            passed to all of them.
        active: names the member that runs, where members run one after another; None where they never do.
    """

    takes_one_input = False

    def __init__(self, modules: Iterable[nn.Module], *, active: ActiveMember | None = None) -> None:
        super().__init__()
        self.active = active
        self.branches = nn.ModuleList(modules)

    @property
    def _other(self) -> nn.Module | None:
        branches = self._modules.get("branches")
        return None if branches is None else next(branches.children(), None)

    def equivalent_attribute(self, name: str) -> Any:
        """The attribute of the first member's module."""
        return getattr(self.branches[0], name)

    @property
    def member_modules(self) -> Sequence[nn.Module]:
        """The branches."""
        return tuple(self.branches)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Return the members' outputs, concatenated along the rows; or those of the member that runs."""
        if self.active is not None and self.active.member is not None:
            return self.branches[self.active.member](*args, **kwargs)
        members = len(self.branches)
        rows = next((len(value) for value in (*args, *kwargs.values()) if isinstance(value, Tensor) and value.ndim), 0)

        def apart(value: Any) -> tuple[Any, ...]:
            if isinstance(value, Tensor) and value.ndim and len(value) == rows:
                by_member = value.unflatten(0, (members, -1))
                # Copies if gradients are needed: a member that changes its rows in place, like in-place dropout, would
                # change what autograd keeps for the others.
                keeps = torch.is_grad_enabled() and value.requires_grad
                return tuple(by_member[m].clone() if keeps else by_member[m] for m in range(members))
            return (value,) * members

        own_args = [apart(value) for value in args]
        own_kwargs = {name: apart(value) for name, value in kwargs.items()}
        return _joined(
            [
                branch(*(value[m] for value in own_args), **{name: value[m] for name, value in own_kwargs.items()})
                for m, branch in enumerate(self.branches)
            ]
        )

    def member(self, member: int) -> nn.Module:
        """The member's module."""
        return self.branches[member]

    def subset(self, indices: Sequence[int]) -> "Branches":
        """The chosen members' modules."""
        return Branches((self.branches[index] for index in indices), active=self.active)


def _joined(outputs: list[Any]) -> Any:
    first = outputs[0]
    if isinstance(first, Tensor):
        return torch.cat(outputs)
    if isinstance(first, tuple):
        return tuple(_joined(list(parts)) for parts in zip(*outputs, strict=True))
    if first is None:
        return None
    raise TypeError(f"a module after the branching point returned {with_article(type(first).__name__)}, not tensors")
