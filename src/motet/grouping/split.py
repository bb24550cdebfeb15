"""Every member sees a part of the batch of its own."""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Shaped
from torch import Generator, Tensor

from motet.grouping.base import Grouping
from motet.types import Batch, Progress


@final
@dataclass(frozen=True, kw_only=True)
class Split(Grouping):
    """The batch is cut in M parts, one for each member (BatchEnsemble's paper, section 3).

    The parts are blocks of the batch in its order, so shuffle the data. They have ``n = ceil(u / M)`` rows each: where
    the u examples are not a multiple of M, the batch starts over at its end, and up to M - 1 examples have a second
    member that sees them. So no example is left out, and a batch of any size will do.
    """

    def deal(
        self,
        x: Shaped[Tensor, "unique ..."],
        y: Shaped[Tensor, "unique ..."],
        *,
        members: int,
        generator: Generator | None = None,
        progress: Progress | None = None,
    ) -> Batch:
        """Rows ``(n, M, ...)``: row i of member m is the example ``(m n + i) mod u``."""
        unique = len(x)
        rows = -(-unique // members)
        if rows * members > unique:
            indices = torch.arange(rows * members, device=x.device) % unique
            x, y = x[indices], y[indices.to(y.device)]
        parts = [values.unflatten(0, (members, rows)).transpose(0, 1) for values in (x, y)]
        return Batch(inputs=parts[0], targets_BM=parts[1], distinct=True)
