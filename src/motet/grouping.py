"""How a batch is dealt to the members: who sees which examples in training."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar, final

import torch
from jaxtyping import Int, Shaped
from torch import Generator, Tensor

from motet.errors import InputError
from motet.types import Batch, Progress


@dataclass(frozen=True, kw_only=True)
class Grouping(ABC):
    """Deals a batch of unique examples to the members.

    Attributes:
        augments_dealt: whether each row of each member is augmented by itself, after the batch is dealt, so that the
            repetitions of an example differ (MixMo's loader reads every repetition anew). In the other papers an
            example is augmented once a step, before it is repeated or goes to several members (MIMO's and
            BatchEnsemble's code tile the augmented batch).
    """

    augments_dealt: ClassVar[bool] = False

    @property
    def shares_examples(self) -> bool:
        """Whether a row is the same example for all members, so that their outputs for it may be compared in a loss."""
        return False

    @abstractmethod
    def deal(
        self,
        x: Shaped[Tensor, "unique ..."],
        y: Shaped[Tensor, "unique ..."],
        *,
        members: int,
        generator: Generator | None = None,
        progress: Progress | None = None,
    ) -> Batch:
        """The batch that the members train on."""


def augment_dealt(batch: Batch, augment: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]) -> Batch:
    """The batch with every row of every member augmented by itself; of shared inputs, every row."""
    if not batch.distinct:
        inputs, targets = augment(batch.inputs, batch.targets_BM[:, 0])
        members = batch.targets_BM.shape[1]
        targets_BM = targets.unsqueeze(1).expand(-1, members, *targets.shape[1:])
        return replace(batch, inputs=inputs, targets_BM=targets_BM)
    rows_members = batch.inputs.shape[:2]
    inputs, targets = augment(batch.inputs.flatten(0, 1), batch.targets_BM.flatten(0, 1))
    return replace(batch, inputs=inputs.unflatten(0, rows_members), targets_BM=targets.unflatten(0, rows_members))


@final
@dataclass(frozen=True, kw_only=True)
class Shared(Grouping):
    """All members see the same examples."""

    @property
    def shares_examples(self) -> bool:
        """True."""
        return True

    def deal(
        self,
        x: Shaped[Tensor, "unique ..."],
        y: Shaped[Tensor, "unique ..."],
        *,
        members: int,
        generator: Generator | None = None,
        progress: Progress | None = None,
    ) -> Batch:
        """The examples as they are, each target repeated for every member."""
        return Batch(inputs=x, targets_BM=y.unsqueeze(1).expand(-1, members, *y.shape[1:]), distinct=False)


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


@final
@dataclass(frozen=True, kw_only=True)
class Permuted(Grouping):
    """Each member sees its own permutation of the repeated batch (MIMO, sections 2 and 4.2 to 4.3).

    Attributes:
        batch_repetition: how often each of the u unique examples stands in the step's ``n = u b`` rows.
        input_repetition: rho, the fraction of rows in which all members see the same example. As in the paper's
            implementation it is an exact fraction, not a coin flip: ``int(n (1 - rho))`` rows are permuted,
            for every member (the first included), and the others are left as they are.
    """

    batch_repetition: int = 1
    input_repetition: float = 0.0

    def __post_init__(self) -> None:
        if self.batch_repetition < 1:
            raise InputError(
                "batch_repetition must be at least 1",
                got=f"batch_repetition={self.batch_repetition}",
                fix="Pass batch_repetition=1 to use every example once a step",
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
        x: Shaped[Tensor, "unique ..."],
        y: Shaped[Tensor, "unique ..."],
        *,
        members: int,
        generator: Generator | None = None,
        progress: Progress | None = None,
    ) -> Batch:
        """Rows ``(u b, M, ...)``: row i of member m is the example ``indices_BM[i, m]``."""
        indices_BM = self.indices(len(x), members=members, generator=generator).to(x.device)
        return Batch(inputs=x[indices_BM], targets_BM=y[indices_BM], distinct=True)

    def indices(self, unique: int, *, members: int, generator: Generator | None = None) -> Int[Tensor, "batch member"]:
        """Which of the `unique` examples each member sees in each of the ``unique * batch_repetition`` rows."""
        device = generator.device if generator is not None else None
        rows = unique * self.batch_repetition
        shuffled = torch.randperm(rows, generator=generator, device=device) % unique
        # The small number keeps rho = 0.9 of 10 rows at 1 permuted row: 10 * (1 - 0.9) is just below 1 in floats.
        permuted = int(rows * (1 - self.input_repetition) + 1e-9)
        columns = [
            torch.cat([shuffled[:permuted][torch.randperm(permuted, generator=generator, device=device)],
                       shuffled[permuted:]])
            for _ in range(members)
        ]  # fmt: skip
        return torch.stack(columns, dim=1)
