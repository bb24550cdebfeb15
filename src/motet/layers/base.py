"""The abstract `MemberLayer`, the base class of every layer with a member axis."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence

from torch import nn

from motet.layers.layout import Layout
from motet.layers.parameter_roles import ParameterRoles


class MemberLayer(ParameterRoles, ABC):
    """Base class of layers, and of whole networks, with a member axis.

    Inside an ensemble's network members are folded into the rows, member-major: ``(M B)``. A member layer defines its
    equivalent for one member, for fewer members, and for an input that all members share. motet finds it by its class,
    at any depth of a network. Modules of other classes are not changed, even if they have methods with the same names.

    `member` and `subset` are abstract. Everything else has a default.
    """

    layout: Layout | None = None
    """The ensemble's layout, if the layer needs it to know whether the rows are ``(M B)`` or ``B`` rows for all
    members.

    None for other layers. An ensemble accepts different examples for its members (`motet.Ensemble.forward_distinct`) if
    one of its layers holds its layout. Set it in ``__init__``.
    """

    @abstractmethod
    def member(self, member: int) -> nn.Module:
        """Return the module that computes one member's output for a shared input.

        It maps the member's rows ``(B, ...)`` to the member's output rows ``(B, ...)``. It may be or contain another
        member layer, whose `member` is then called too. A layer of one member returns itself, and so does a layer that
        reads all members' rows at once. motet calls this method on a copy, so it may return parts of the layer.

        Args:
            member: the index of the member, from 0 to M - 1.
        """

    @abstractmethod
    def subset(self, indices: Sequence[int]) -> nn.Module | None:
        """Return a trainable layer with the members of these indices, in this order.

        Parameters that all members share must be this layer's own, not copies. `subset` is then also called on member
        layers inside the result, so a layer that only contains others returns itself. Return None if the members cannot
        be separated: then the layer is folded, or kept if it has no folded form, and the smaller ensemble can only be
        used for inference.
        """

    def folded(self) -> nn.Module | None:
        """Return a cheaper module that computes the same for an input that all members share, for inference.

        None, the default, if there is none: the layer is then kept.
        """
        return None

    def member_view(self, member: int) -> nn.Module | None:
        """Return a module that runs one member of a whole network on this network's weights, at one member's cost.

        It is called on an ensemble's outermost module when members run one after another. None, the default: the member
        is extracted with `member` first.
        """
        return None

    @property
    def member_modules(self) -> Sequence[nn.Module]:
        """Submodules that each belong to one member, in the order of members. Default: none."""
        return ()

    @property
    def is_single_pass(self) -> bool:
        """Whether all members' rows come from one pass over shared features, so that one member costs as much as all.

        Default: False.
        """
        return False

    @property
    def member_parameters(self) -> frozenset[str]:
        """Names of parameters that belong to individual members. Default: those in exactly one of `member_modules`."""
        users = self._users()
        return frozenset(name for name, value in self.named_parameters() if users[id(value)] == 1)

    @property
    def shared_parameters(self) -> frozenset[str]:
        """See `ParameterRoles.shared_parameters`. Default: those in several of `member_modules`."""
        users = self._users()
        return frozenset(name for name, value in self.named_parameters() if users[id(value)] > 1)

    def _users(self) -> Counter[int]:
        return Counter(id(value) for part in self.member_modules for value in part.parameters())
