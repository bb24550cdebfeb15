"""The names of axes, and the objects passed between training, groupings, ensembles and objectives.

Axes: ``B`` rows (examples), ``M`` members, ``C`` outputs of one member (classes, or targets in regression), ``D``
depths (exits). Many tensors have their axes in their names: ``logits_BMC``.
"""

from dataclasses import dataclass
from typing import final

from jaxtyping import Float, Shaped
from torch import Tensor

from motet._internal.nested import NestedInputs

__all__ = ["Batch", "NestedInputs", "Progress"]


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """One training batch, assigned to the members.

    Attributes:
        inputs: ``(B, ...)`` if all members see the same examples, ``(B, M, ...)`` if `distinct`. Several tensors, of a
            model that reads a tuple or dictionary, are one `NestedInputs`.
        targets_BM: ``(B, M)`` class labels or ``(B, M, C)`` real targets: row b of member m.
        distinct: whether members have separate inputs.
        mixing: the ratio of each member's input in each row's mixed input, ``(B, M)``, or ``(B, M, H, W)`` if it varies
            from pixel to pixel; it adds up to 1 over the members. None if the method does not mix.
        weights_BM: the weight of each member's loss in each row, ``(B, M)``; None for 1 everywhere.
    """

    inputs: Shaped[Tensor, "batch ..."] | NestedInputs
    targets_BM: Shaped[Tensor, "batch member ..."]
    distinct: bool
    mixing: Float[Tensor, "batch member ..."] | None = None
    weights_BM: Float[Tensor, "batch member"] | None = None


@final
@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far training has come. Schedules of groupings and objectives (warm starts, decreasing probabilities) use it.

    `motet.training.fit` passes it to every step. If your own training loop passes none, schedules are off: warm starts
    are over, and probabilities have the values of their settings.

    Attributes:
        epoch: the number of epochs done, with fractions: 2.5 is the middle of the third epoch.
        epochs: the total number of epochs.
        examples: N, the number of rows of the training set, for objectives that weight a prior relative to all of them.
    """

    epoch: float
    epochs: int
    examples: int | None = None

    @property
    def fraction(self) -> float:
        """The fraction of training that is done, from 0 to 1."""
        return min(1.0, self.epoch / self.epochs)
