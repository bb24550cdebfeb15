"""What the rows of a wrapped model's tensors are."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import final

from torch import Tensor


@final
class Layout:
    """Tells the member layers of one ensemble what its input rows are.

    Inside a wrapped model members are folded into the batch axis, member-major: rows ``(M B)``. An input that all
    members share enters as ``B`` rows and is never tiled; inputs of the members' own enter as ``M B`` rows. A layer
    cannot tell the two apart by shape, so the ensemble says which it is for the time of a forward pass.

    Attributes:
        distinct: whether the rows that enter the model are ``(M B)``, one example for each member.
        members: how many members run in this pass, where that is not all (Monte Carlo samples in training); None
            for all.
        mixing: what `motet.types.Batch.mixing` says; None where inputs are not mixed, or mixed in equal shares.
    """

    def __init__(self) -> None:
        self.distinct = False
        self.members: int | None = None
        self.mixing: Tensor | None = None

    @contextmanager
    def distinct_rows(self) -> Iterator[None]:
        """Within this context the rows that enter the model are ``(M B)``, member-major."""
        with self.rows(distinct=True, members=None, mixing=None):
            yield

    @contextmanager
    def rows(self, *, distinct: bool, members: int | None, mixing: Tensor | None) -> Iterator[None]:
        """Within this context the rows that enter the model are what the arguments say."""
        before = self.distinct, self.members, self.mixing
        self.distinct, self.members, self.mixing = distinct, members, mixing
        try:
            yield
        finally:
            self.distinct, self.members, self.mixing = before
