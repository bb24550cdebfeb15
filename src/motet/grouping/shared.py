"""Every member sees the same examples."""

from dataclasses import dataclass
from typing import final

from jaxtyping import Shaped
from torch import Generator, Tensor

from motet._internal.nested import NestedInputs
from motet.grouping.base import Grouping
from motet.types import Batch, Progress


@final
@dataclass(frozen=True, kw_only=True)
class Shared(Grouping):
    """All members see the same examples."""

    @property
    def shares_examples(self) -> bool:
        """Always True."""
        return True

    def deal(
        self,
        x: Shaped[Tensor, "unique ..."] | NestedInputs,
        y: Shaped[Tensor, "unique ..."],
        *,
        members: int,
        generator: Generator | None = None,
        progress: Progress | None = None,
    ) -> Batch:
        """Return the examples unchanged, each target repeated for every member.

        Args:
            x, y, members, generator, progress: see `Grouping.deal`.
        """
        return Batch(inputs=x, targets_BM=y.unsqueeze(1).expand(-1, members, *y.shape[1:]), distinct=False)
