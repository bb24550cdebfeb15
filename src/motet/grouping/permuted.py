"""Every member sees its own permutation of the batch (MIMO)."""

from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Int, Shaped
from torch import Generator, Tensor

from motet._internal.nested import NestedInputs
from motet.errors import InputError
from motet.grouping.base import Grouping
from motet.types import Batch, Progress


@final
@dataclass(frozen=True, kw_only=True)
class Permuted(Grouping):
    """Each member sees its own permutation of the repeated batch (MIMO, sections 2 and 4.2 to 4.3).

    Paper: https://arxiv.org/abs/2010.06610.

    Attributes:
        batch_repetition: b, the number of times each of the u unique examples occurs in the step's ``n = u b`` rows.
        input_repetition: rho, the fraction of rows in which all members see the same example. As in the paper's
            implementation it is an exact fraction, not a probability: ``int(n (1 - rho))`` rows are permuted, for every
            member (including the first), and the other rows are not.
    """

    batch_repetition: int = 1
    input_repetition: float = 0.0

    def __post_init__(self) -> None:
        if self.batch_repetition < 1:
            raise InputError(
                "batch_repetition must be at least 1",
                got=f"batch_repetition={self.batch_repetition}",
                fix="Pass batch_repetition=1 to use every example once per step",
            )
        if not 0 <= self.input_repetition <= 1:
            raise InputError(
                "input_repetition (rho) must lie in [0, 1]",
                got=f"input_repetition={self.input_repetition}",
                fix="Pass 0 for independent inputs, 1 for the same input to all members",
            )

    @property
    def shares_examples(self) -> bool:
        """Whether rho is 1."""
        return self.input_repetition == 1

    def deal(
        self,
        x: Shaped[Tensor, "unique ..."] | NestedInputs,
        y: Shaped[Tensor, "unique ..."],
        *,
        members: int,
        generator: Generator | None = None,
        progress: Progress | None = None,
    ) -> Batch:
        """Return rows ``(u b, M, ...)``: row i of member m is the example ``indices_BM[i, m]``.

        Args:
            x, y, members, generator, progress: see `Grouping.deal`.
        """
        indices_BM = self.indices(len(x), members=members, generator=generator).to(x.device)
        return Batch(inputs=x[indices_BM], targets_BM=y[indices_BM], distinct=True)

    def indices(self, unique: int, *, members: int, generator: Generator | None = None) -> Int[Tensor, "batch member"]:
        """Return the index of the example that each member sees in each row, ``(unique * batch_repetition, M)``.

        Args:
            unique: the number of unique examples.
            members: M.
            generator: random numbers; torch's default generator if None.
        """
        device = generator.device if generator is not None else None
        rows = unique * self.batch_repetition
        shuffled = torch.randperm(rows, generator=generator, device=device) % unique
        # The small number makes rho = 0.9 of 10 rows give 1 permuted row: 10 * (1 - 0.9) is just below 1 in floats.
        permuted = int(rows * (1 - self.input_repetition) + 1e-9)
        columns = [
            torch.cat([shuffled[:permuted][torch.randperm(permuted, generator=generator, device=device)],
                       shuffled[permuted:]])
            for _ in range(members)
        ]  # fmt: skip
        return torch.stack(columns, dim=1)
