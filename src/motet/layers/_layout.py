"""What the rows of a wrapped model's tensors are."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import final


@final
class Layout:
    """Tells the member layers of one ensemble whether its input rows are examples, or members' examples.

    Inside a wrapped model members are folded into the batch axis, member-major: rows ``(M B)``. An input that all
    members share enters as ``B`` rows and is never tiled; inputs of the members' own enter as ``M B`` rows. A layer
    cannot tell the two apart by shape, so the ensemble says which it is for the time of a forward pass.
    """

    def __init__(self) -> None:
        self.distinct = False

    @contextmanager
    def distinct_rows(self) -> Iterator[None]:
        """Within this context the rows that enter the model are ``(M B)``, member-major."""
        before, self.distinct = self.distinct, True
        try:
            yield
        finally:
            self.distinct = before
