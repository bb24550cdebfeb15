"""A layer with another module before or after it."""

import inspect
from collections.abc import Sequence
from typing import Any, final

from torch import nn

from motet._internal.renamed_settings import renamed_arguments
from motet.layers.base import MemberLayer
from motet.layers.ordinary import ReplacedLayer, WithOtherAttributes


class _Wrapped(WithOtherAttributes, ReplacedLayer):
    """Three modules in sequence, with the attributes of the middle one."""

    takes_one_input = False

    def __init__(self, inner: nn.Module, *, pre: nn.Module | None = None, post: nn.Module | None = None) -> None:
        super().__init__()
        self.pre = pre
        self.inner = inner
        self.post = post

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Apply the three modules in sequence."""
        if self.pre is not None and args:
            args = (self.pre(args[0]), *args[1:])
        elif self.pre is not None:
            name = _first_argument(self.inner, kwargs)
            kwargs = {**kwargs, name: self.pre(kwargs[name])}
        out = self.inner(*args, **kwargs)
        return out if self.post is None else self.post(out)

    @property
    def _other(self) -> nn.Module | None:
        return self._modules.get("inner")

    def equivalent_attribute(self, name: str) -> Any:
        """The attribute of the inner module."""
        return getattr(self.inner, name)


@final
@renamed_arguments(before="pre", behind="post")
class WrappedLayer(MemberLayer, _Wrapped):
    """A module with another module before or after it, in its place.

    Attributes that the model reads are those of the module itself.

    Args:
        inner: the module; it may take several arguments.
        pre: is applied to the module's first argument; nothing if None.
        post: is applied to the module's output; nothing if None.
    """

    def member(self, member: int) -> nn.Module:
        """The module between the member's `pre` and `post`; the module itself if both are identities."""
        pre, post = _member_of(self.pre, member), _member_of(self.post, member)
        return self.inner if pre is post is None else _Wrapped(self.inner, pre=pre, post=post)

    def subset(self, indices: Sequence[int]) -> "WrappedLayer":
        """Itself: its three modules are replaced by those of the members."""
        return self


def _first_argument(module: nn.Module, named: dict[str, Any]) -> str:
    """Return the name of the module's first argument, which was passed by name."""
    names = (name for name in inspect.signature(module.forward).parameters if name in named)
    return next(names, next(iter(named)))


def _member_of(module: nn.Module | None, member: int) -> nn.Module | None:
    own = module.member(member) if isinstance(module, MemberLayer) else module
    return None if isinstance(own, nn.Identity) else own
