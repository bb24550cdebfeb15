"""How a training batch is dealt to the members: the abstract `Grouping`."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import ClassVar

from jaxtyping import Shaped
from torch import Generator, Tensor

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


def deal_augmented(
    grouping: Grouping,
    x: Tensor,
    y: Tensor,
    *,
    members: int,
    augment: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]] | None,
    generator: Generator | None,
    progress: Progress | None,
) -> tuple[Batch, Tensor]:
    """The batch that the members train on, augmented before or after it is dealt, as the grouping says.

    Returns:
        The batch, and the targets of its examples or, where these are augmented after dealing, of all its rows.
    """
    if augment is None or grouping.augments_dealt:
        batch = grouping.deal(x, y, members=members, generator=generator, progress=progress)
        if augment is None:
            return batch, y
        batch = augment_dealt(batch, augment)
        return batch, batch.targets_BM.flatten(0, 1)
    x, y = augment(x, y)
    return grouping.deal(x, y, members=members, generator=generator, progress=progress), y


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
