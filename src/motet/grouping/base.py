"""The abstract `Grouping`: which examples of a training batch each member sees."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from jaxtyping import Shaped
from torch import Generator, Tensor

from motet._internal.nested import Inputs, NestedInputs
from motet.types import Batch, Progress


@dataclass(frozen=True, kw_only=True)
class Grouping(ABC):
    """Assigns the examples of a training batch to the members.

    Attributes:
        augments_dealt: if True, each row of each member is augmented separately, after `deal` has assigned the
            examples, so that repetitions of an example differ (MixMo). If False, an example is augmented once per step,
            before it is repeated or assigned to several members (MIMO's and BatchEnsemble's code).
    """

    augments_dealt: ClassVar[bool] = False

    @property
    def shares_examples(self) -> bool:
        """Whether a row is the same example for all members, so that a loss may compare their outputs for it."""
        return False

    @abstractmethod
    def deal(
        self,
        x: Shaped[Tensor, "unique ..."] | NestedInputs,
        y: Shaped[Tensor, "unique ..."],
        *,
        members: int,
        generator: Generator | None = None,
        progress: Progress | None = None,
    ) -> Batch:
        """Return the batch that the members train on.

        Args:
            x: inputs of unique examples, ``(u, ...)``.
            y: their targets, ``(u, ...)``.
            members: M.
            generator: random numbers; torch's default generator if None.
            progress: how far training has come, for schedules; None if unknown.
        """


def deal_augmented(
    grouping: Grouping,
    x: Inputs,
    y: Tensor,
    *,
    members: int,
    augment: Callable[[Any, Tensor], tuple[Any, Tensor]] | None,
    generator: Generator | None,
    progress: Progress | None,
) -> tuple[Batch, Tensor]:
    """Return the batch that the members train on, augmented before or after it is assigned, as the grouping says.

    Args:
        grouping: the grouping.
        x: inputs of unique examples, ``(u, ...)``.
        y: their targets, ``(u, ...)``.
        members: M.
        augment: changes inputs and targets row by row; nothing if None.
        generator: random numbers for the grouping; torch's default generator if None.
        progress: how far training has come; None if unknown.

    Returns:
        The batch, and the targets of its examples or, if these are augmented after they are assigned, of all its rows.
    """
    if augment is None or grouping.augments_dealt:
        batch = grouping.deal(x, y, members=members, generator=generator, progress=progress)
        if augment is None:
            return batch, y
        batch = augment_dealt(batch, augment)
        return batch, batch.targets_BM.flatten(0, 1)
    x, y = augment(x, y)
    return grouping.deal(x, y, members=members, generator=generator, progress=progress), y


def augment_dealt(batch: Batch, augment: Callable[[Any, Tensor], tuple[Any, Tensor]]) -> Batch:
    """Return the batch with every row of every member augmented separately; each row once if members share inputs."""
    if not batch.distinct:
        inputs, targets = augment(batch.inputs, batch.targets_BM[:, 0])
        members = batch.targets_BM.shape[1]
        targets_BM = targets.unsqueeze(1).expand(-1, members, *targets.shape[1:])
        return replace(batch, inputs=inputs, targets_BM=targets_BM)
    rows_members = batch.inputs.shape[:2]
    inputs, targets = augment(batch.inputs.flatten(0, 1), batch.targets_BM.flatten(0, 1))
    return replace(batch, inputs=inputs.unflatten(0, rows_members), targets_BM=targets.unflatten(0, rows_members))
