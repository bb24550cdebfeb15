"""What every layer with a member axis declares: the abstract `MemberLayer`."""

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Sequence

from torch import nn

from motet.layers.layout import Layout
from motet.layers.parameter_roles import ParameterRoles


class MemberLayer(ParameterRoles, ABC):
    """Base class of layers, and of whole networks, with a member axis.

    Inside an ensemble's network members are folded into the rows, member-major: ``(M B)``. A member layer says what
    it is for one member, for fewer members, and for an input that all members share. Motet finds it by its class, at
    any depth of a network; modules of other classes are left as they are, whatever their methods are called.

    `member` and `subset` are abstract. Everything else has a default.
    """

    layout: Layout | None = None
    """The ensemble's layout, of a layer that asks it whether the rows are ``(M B)`` or ``B`` rows for all members.

    None of a layer that need not know. An ensemble can be given different examples for its members
    (`motet.Ensemble.forward_distinct`) if one of its layers holds its layout. Set it in ``__init__``.
    """

    @abstractmethod
    def member(self, member: int) -> nn.Module:
        """The module that computes for a shared input what this layer computes for one member.

        It maps the member's rows ``(B, ...)`` to the member's output rows ``(B, ...)``. It may be or contain another
        member layer, which is then asked for the same member. A layer of one member, or one that every member needs
        as a whole because it reads all members' rows at once, returns itself. Motet calls this method on a copy, so
        that it may return parts of the layer.

        Args:
            member: its index, from 0 to M - 1.
        """

    @abstractmethod
    def subset(self, indices: Sequence[int]) -> nn.Module | None:
        """The layer of the members with these indices, in this order. It can be trained.

        Parameters that all members share are this layer's own, not copies. Member layers inside the result are asked
        for the same members, so a layer that only contains others returns itself. Return None if the members cannot
        be separated: then the layer is folded, or left as it is where it has no folded form, and the smaller ensemble
        can only be used for inference.
        """

    def folded(self) -> nn.Module | None:
        """A cheaper module that computes the same for an input that all members share, for inference.

        None if there is none, the default: the layer is left as it is.
        """
        return None

    def member_view(self, member: int) -> nn.Module | None:
        """What runs one member of a whole network on this network's own weights, at one member's cost.

        Asked of an ensemble's outermost module when members are run one after another. None, the default: the member
        is extracted first, as `member` says.
        """
        return None

    @property
    def member_modules(self) -> Sequence[nn.Module]:
        """Submodules that belong to one member each, in the members' order. Default: none."""
        return ()

    @property
    def is_single_pass(self) -> bool:
        """Whether all members' rows come from one pass over shared features, so that one member costs as much as all.

        Default: False.
        """
        return False

    @property
    def member_parameters(self) -> frozenset[str]:
        """Names of parameters that belong to individual members. Default: those in one of `member_modules` only."""
        users = self._users()
        return frozenset(name for name, value in self.named_parameters() if users[id(value)] == 1)

    @property
    def shared_parameters(self) -> frozenset[str]:
        """See `ParameterRoles.shared_parameters`. Default: those in several of `member_modules`."""
        users = self._users()
        return frozenset(name for name, value in self.named_parameters() if users[id(value)] > 1)

    def _users(self) -> Counter[int]:
        return Counter(id(value) for part in self.member_modules for value in part.parameters())
