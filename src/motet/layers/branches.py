"""Where a network that all members share branches into parts of their own."""

from collections.abc import Iterable, Sequence
from typing import Any, final

import torch
from jaxtyping import Shaped
from torch import Tensor, nn

from motet.layers.base import MemberLayer
from motet.layers.layout import Layout
from motet.layers.ordinary import ReplacedLayer


@final
class Tile(MemberLayer):
    """Rows ``B`` that all members share become ``(M B)``, member-major.

    Args:
        members: M.
        layout: says whether rows are shared, and how many members run.
    """

    layout: Layout

    def __init__(self, members: int, *, layout: Layout) -> None:
        super().__init__()
        self.members = members
        self.layout = layout

    def forward(self, x: Shaped[Tensor, "rows ..."]) -> Shaped[Tensor, "out_rows ..."]:
        """``(B, ...)`` to ``(M B, ...)``; rows of the members' own are left as they are."""
        members = self.layout.members or self.members
        if self.layout.distinct or members == 1:
            return x
        tiled: Tensor = x.unsqueeze(0).expand(members, *x.shape).flatten(0, 1)
        return tiled

    def member(self, member: int) -> nn.Module:
        """One member needs no tiling."""
        return nn.Identity()

    def subset(self, indices: Sequence[int]) -> "Tile":
        """For fewer members."""
        return Tile(len(indices), layout=self.layout)

    def extra_repr(self) -> str:
        """Shown by ``print(module)``."""
        return f"members={self.members}"


@final
class Branches(MemberLayer, ReplacedLayer):
    """M modules behind a branching point, each applied to its own of the rows ``(M B)``.

    Args:
        modules: the members', in order. They take tensors with the rows first, and whatever else, which goes to all.
    """

    def __init__(self, modules: Iterable[nn.Module]) -> None:
        super().__init__()
        self.branches = nn.ModuleList(modules)

    def equivalent_attribute(self, name: str) -> Any:
        """The first member's own."""
        return getattr(self.branches[0], name)

    @property
    def member_modules(self) -> Sequence[nn.Module]:
        """The branches."""
        return tuple(self.branches)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the members' modules return, their rows one member after another."""
        members = len(self.branches)
        rows = next((len(value) for value in (*args, *kwargs.values()) if isinstance(value, Tensor) and value.ndim), 0)

        def apart(value: Any) -> tuple[Any, ...]:
            if isinstance(value, Tensor) and value.ndim and len(value) == rows:
                by_member = value.unflatten(0, (members, -1))
                # Copies where gradients are kept: a member that writes on its rows, as dropout in place does, would
                # write on what autograd keeps for the others.
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
        """The member's own module."""
        return self.branches[member]

    def subset(self, indices: Sequence[int]) -> "Branches":
        """The chosen members' modules alone."""
        return Branches(self.branches[index] for index in indices)


def _joined(outputs: list[Any]) -> Any:
    first = outputs[0]
    if isinstance(first, Tensor):
        return torch.cat(outputs)
    if isinstance(first, tuple):
        return tuple(_joined(list(parts)) for parts in zip(*outputs, strict=True))
    if first is None:
        return None
    raise TypeError(f"a module behind the branching point returned a {type(first).__name__}, not tensors")
