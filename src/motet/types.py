"""The axis legend, and what passes between training, a grouping, an ensemble and an objective.

Axes: ``B`` rows (examples), ``M`` members, ``C`` outputs of one member (classes, or targets in regression),
``D`` depths (exits). A tensor's name ends in its axes where that helps: ``logits_BMC``.
"""

from dataclasses import dataclass
from typing import final

from jaxtyping import Float, Shaped
from torch import Tensor


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """One training batch, dealt to the members.

    Attributes:
        inputs: ``(B, ...)`` when all members see the same examples, ``(B, M, ...)`` when `distinct`.
        targets_BM: ``(B, M)`` class labels or ``(B, M, C)`` real targets: row b of member m.
        distinct: whether each member has inputs of its own.
        mixing: the share of each member's input in each row's mixed input, ``(B, M)``, or ``(B, M, H, W)`` where it
            differs from pixel to pixel; it adds up to 1 over the members. None where the method does not mix.
        weights_BM: the weight of each member's loss in each row, ``(B, M)``; None for 1 everywhere.
    """

    inputs: Shaped[Tensor, "batch ..."]
    targets_BM: Shaped[Tensor, "batch member ..."]
    distinct: bool
    mixing: Float[Tensor, "batch member ..."] | None = None
    weights_BM: Float[Tensor, "batch member"] | None = None


@final
@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far training has come. Schedules of a grouping or an objective (warm starts, fading mixes) follow it.

    `motet.training.fit` passes it to every step. Where a loop of the user's own passes none, schedules are off: warm
    starts are over, and probabilities are what their settings say.

    Attributes:
        epoch: epochs done, with fractions: 2.5 is the middle of the third epoch.
        epochs: epochs in all.
        examples: N, the rows of the training set, for objectives that weigh a prior against all of them.
    """

    epoch: float
    epochs: int
    examples: int | None = None

    @property
    def fraction(self) -> float:
        """The part of training that is done, from 0 to 1."""
        return min(1.0, self.epoch / self.epochs)
