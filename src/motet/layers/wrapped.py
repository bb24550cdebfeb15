"""A layer with something before or behind it."""

from collections.abc import Sequence
from typing import Any, final

from torch import nn

from motet.layers.base import MemberLayer
from motet.layers.ordinary import ReplacedLayer


class _Wrapped(ReplacedLayer):
    """Three modules one after the other; models read of it what they read of the one in the middle."""

    def __init__(self, inner: nn.Module, *, before: nn.Module | None = None, behind: nn.Module | None = None) -> None:
        super().__init__()
        self.before = before
        self.inner = inner
        self.behind = behind

    def forward(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """What the three make of it, one after the other."""
        out = self.inner(x if self.before is None else self.before(x), *args, **kwargs)
        return out if self.behind is None else self.behind(out)

    def equivalent_attribute(self, name: str) -> Any:
        """The inner module's own."""
        return getattr(self.inner, name)


@final
class WrappedLayer(MemberLayer, _Wrapped):
    """A module with another before or behind it, in its place; models read of it what they read of the module itself.

    Args:
        inner: the module; it may take several arguments.
        before: changes its first argument; nothing if None.
        behind: changes what it puts out; nothing if None.
    """

    def member(self, member: int) -> nn.Module:
        """The module between what the others are for the member; itself where they are nothing."""
        before, behind = _member_of(self.before, member), _member_of(self.behind, member)
        return self.inner if before is behind is None else _Wrapped(self.inner, before=before, behind=behind)

    def subset(self, indices: Sequence[int]) -> "WrappedLayer":
        """Itself: the three modules are the members'."""
        return self


def _member_of(module: nn.Module | None, member: int) -> nn.Module | None:
    own = module.member(member) if isinstance(module, MemberLayer) else module
    return None if isinstance(own, nn.Identity) else own
