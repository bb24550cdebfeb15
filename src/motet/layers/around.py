"""A layer with something before or behind it."""

from collections.abc import Callable
from typing import Any, final

from torch import nn

from motet.layers._types import StandIn


@final
class Around(StandIn):
    """A module with another before or behind it, in its place; models read of it what they read of the module itself.

    Args:
        inner: the module; it may take several arguments.
        before: changes its first argument; nothing if None.
        behind: changes what it puts out; nothing if None.
    """

    def __init__(self, inner: nn.Module, *, before: nn.Module | None = None, behind: nn.Module | None = None) -> None:
        super().__init__()
        self.before = before
        self.inner = inner
        self.behind = behind

    def forward(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """What the three make of it, one after the other."""
        out = self.inner(x if self.before is None else self.before(x), *args, **kwargs)
        return out if self.behind is None else self.behind(out)

    def as_one(self, name: str) -> Any:
        """The inner module's own."""
        return getattr(self.inner, name)

    def member(self, member: int) -> nn.Module:
        """The module between what the others are for the member; itself where they are nothing."""
        parts = [_member_of(self.before, member), self.inner, _member_of(self.behind, member)]
        left = [part for part in parts if not isinstance(part, nn.Identity)]
        return left[0] if len(left) == 1 else nn.Sequential(*left)


def _member_of(module: nn.Module | None, member: int) -> nn.Module:
    if module is None:
        return nn.Identity()
    ordinary: Callable[[int], nn.Module] | None = getattr(module, "member", None)
    return ordinary(member) if callable(ordinary) else module
