"""The axis legend, and the training batch that passes between a grouping and an ensemble.

Axes: ``B`` rows (examples), ``M`` members, ``C`` outputs of one member (classes, or targets in regression),
``D`` depths (exits). A tensor's name ends in its axes where that helps: ``logits_BMC``.
"""

from dataclasses import dataclass
from typing import final

from jaxtyping import Shaped
from torch import Tensor


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Batch:
    """One training batch, dealt to the members.

    Attributes:
        inputs: ``(B, ...)`` when all members see the same examples, ``(B, M, ...)`` when `distinct`.
        targets_BM: ``(B, M)`` class labels or ``(B, M, C)`` real targets: row b of member m.
        distinct: whether each member has inputs of its own.
    """

    inputs: Shaped[Tensor, "batch ..."]
    targets_BM: Shaped[Tensor, "batch member ..."]
    distinct: bool
