"""`Layout`: whether the rows of a wrapped model's tensors belong to single members or to all."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import final

from torch import Tensor


@final
class Layout:
    """Tells the member layers of one ensemble what its input rows are.

    Inside a wrapped model members are folded into the batch axis, member-major: rows ``(M B)``. An input that all
    members share enters as ``B`` rows and is not repeated; separate inputs for the members enter as ``M B`` rows. A
    layer cannot distinguish the two by shape, so the ensemble sets the layout for the time of a forward pass.

    Attributes:
        distinct: whether the rows that enter the model are ``(M B)``, one example for each member.
        members: the number of members that run in this pass, if not all (MC dropout runs one in training); None for
            all.
        mixing: see `motet.types.Batch.mixing`; None if inputs are not mixed, or mixed with equal ratios.
    """

    def __init__(self) -> None:
        self.distinct = False
        self.members: int | None = None
        self.mixing: Tensor | None = None

    @contextmanager
    def distinct_rows(self) -> Iterator[None]:
        """In this context the rows that enter the model are ``(M B)``, member-major."""
        with self.rows(distinct=True, members=None, mixing=None):
            yield

    @contextmanager
    def rows(self, *, distinct: bool, members: int | None, mixing: Tensor | None) -> Iterator[None]:
        """Set the layout for this context.

        Args:
            distinct: see `Layout`.
            members: see `Layout`.
            mixing: see `Layout`.
        """
        before = self.distinct, self.members, self.mixing
        self.distinct, self.members, self.mixing = distinct, members, mixing
        try:
            yield
        finally:
            self.distinct, self.members, self.mixing = before


@final
class ActiveMember:
    """The member that runs where members run one after another.

    Attributes:
        member: the index of the member that runs, on its own rows only; None if all members run at once.
    """

    def __init__(self) -> None:
        self.member: int | None = None
