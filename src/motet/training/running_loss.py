"""The training loss of the epoch, summed from the losses of its steps."""

from typing import final

from torch import Tensor

from motet.training.divergence import Divergence
from motet.training.steps import Steps
from motet.training.together import Together


@final
class RunningLoss:
    """Collects the losses of the steps, and adds them to the epoch's sum every few steps.

    Reading a loss waits for the device, and for the other ranks, so that it is not done at every step.

    Args:
        steps: their position holds the sum.
        ranks: reads the losses, those of the whole ensemble where its members are on several ranks.
        divergence: stops the run at a loss that is not finite.
    """

    def __init__(self, steps: Steps, ranks: Together, divergence: Divergence) -> None:
        self._steps, self._ranks, self._divergence = steps, ranks, divergence
        self._unread: list[Tensor] = []

    def add(self, loss: Tensor) -> None:
        """Take the loss of the step that was just made."""
        self._unread.append(loss)

    @property
    def should_be_read(self) -> bool:
        """Whether enough losses have been collected."""
        return len(self._unread) >= self._ranks.look_every

    def read(self) -> None:
        """Add the collected losses to the epoch's sum. Ranks also agree whether to stop.

        Raises:
            TrainingDivergedError: at the first loss that is not finite.
        """
        losses = self._ranks.read(self._unread)
        for step, loss in enumerate(losses, start=self._steps.done - len(losses)):
            self._divergence.check("loss", loss, step=step)
            self._steps.position.loss_sum += loss
        self._unread.clear()
