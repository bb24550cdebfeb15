"""Every member sees its own part of the batch."""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Shaped
from torch import Generator, Tensor

from motet._internal.nested import NestedInputs
from motet.grouping.base import Grouping
from motet.types import Batch, Progress


@final
@dataclass(frozen=True, kw_only=True)
class Split(Grouping):
    """The batch is cut into M parts, one for each member (BatchEnsemble's paper, section 3).

    Paper: https://arxiv.org/abs/2002.06715.

    The parts are consecutive blocks of the batch, so shuffle the data. They have ``n = ceil(u / M)`` rows each. If the
    number u of examples is not a multiple of M, the last part continues with the first examples, so that up to M - 1
    examples are seen by a second member. So no example is left out, and a batch of any size is accepted.
    """

    def deal(
        self,
        x: Shaped[Tensor, "unique ..."] | NestedInputs,
        y: Shaped[Tensor, "unique ..."],
        *,
        members: int,
        generator: Generator | None = None,
        progress: Progress | None = None,
    ) -> Batch:
        """Return rows ``(n, M, ...)``: row i of member m is the example ``(m n + i) mod u``.

        Args:
            x, y, members, generator, progress: see `Grouping.deal`.
        """
        unique = len(x)
        rows = -(-unique // members)
        if rows * members > unique:
            indices = torch.arange(rows * members, device=x.device) % unique
            x, y = x[indices], y[indices.to(y.device)]
        return Batch(
            inputs=x.unflatten(0, (members, rows)).transpose(0, 1),
            targets_BM=y.unflatten(0, (members, rows)).transpose(0, 1),
            distinct=True,
        )
