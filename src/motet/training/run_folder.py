"""The folder of a run: its history and its checkpoint, when they are written, and how a run continues from them."""

import math
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

from torch import Tensor
from torch.optim import Optimizer

from motet.ensemble import Ensemble
from motet.training.checkpoint import CHECKPOINT, Position, save_checkpoint
from motet.training.history import write_history
from motet.training.losses import Divergence
from motet.training.member_checkpoint import POINTER, drop_members, restore, save_members
from motet.training.rank_sync import RankSync
from motet.training.steps import Steps
from motet.training.validation import EarlyStopping

if TYPE_CHECKING:
    from lightning_fabric import Fabric

# Saving checkpoints may take at most this fraction of the time between them.
_CHECKPOINT_SHARE = 0.05


def checkpoint_path(folder: Path | None, ensemble: Ensemble) -> Path | None:
    """Return the file from which a run in this folder continues; None without a folder."""
    if folder is None:
        return None
    return folder / (CHECKPOINT if ensemble.shard is None else POINTER)


def resume(
    folder: Path | None,
    *,
    ensemble: Ensemble,
    optimizer: Optimizer,
    fabric: "Fabric",
    settings: str,
    seed: int,
    ranks: RankSync,
) -> tuple[Position, dict[str, Tensor]]:
    """Load the run's last checkpoint, if there is one: weights, optimiser, random state and gradient scaler.

    The history is written again from the checkpoint, because a process that was killed between writing the two files
    has left an older history.

    Args:
        folder: the folder of the run; None for none.
        ensemble: the ensemble.
        optimizer: its optimiser.
        fabric: holds the gradient scaler.
        settings: a description of the run.
        seed: the seed for new random numbers.
        ranks: the processes of the run.

    Returns:
        The position in the run and the best weights for early stopping; the initial position and no weights if there is
        no checkpoint.

    Raises:
        InputError: if the checkpoint is of another model or of other settings.
    """
    if folder is None:
        return Position(), {}
    held = restore(folder, model=ensemble, optimizer=optimizer, settings=settings, seed=seed)
    if held is None:
        return Position(), {}
    position, best, scaler = held
    if scaler:
        fabric.strategy.precision.load_state_dict(scaler)
    _write_history(folder, position, ranks)
    return position, best


@final
class RunFolder:
    """Writes the checkpoint and the history of a run.

    Args:
        folder: the folder of the run. Nothing is written if it is None.
        ensemble, optimizer: what is trained.
        fabric: holds the state of float16's gradient scaler.
        settings: a description of the run. A checkpoint with another one is not loaded.
        steps: the position in the run.
        early_stopping: holds the best weights.
        divergence: stops the run rather than save weights that are not finite.
        ranks: the processes of the run.
    """

    def __init__(
        self,
        folder: Path | None,
        *,
        ensemble: Ensemble,
        optimizer: Optimizer,
        fabric: "Fabric",
        settings: str,
        steps: Steps,
        early_stopping: EarlyStopping,
        divergence: Divergence,
        ranks: RankSync,
    ) -> None:
        self._folder, self._settings, self._fabric = folder, settings, fabric
        self._ensemble, self._optimizer = ensemble, optimizer
        self._steps, self._early_stopping, self._divergence, self._ranks = steps, early_stopping, divergence, ranks
        self._saved_at, self._saving_took = -math.inf, 0.0

    @property
    def save_is_due(self) -> bool:
        """Whether the time since the last checkpoint is long compared to the time of saving one."""
        return time.monotonic() - self._saved_at > self._saving_took / _CHECKPOINT_SHARE

    def save(self) -> None:
        """Write the checkpoint, and then the history.

        Raises:
            TrainingDivergedError: if a trained weight is not finite. The last checkpoint is then kept.
        """
        if self._folder is None:
            return
        started = time.monotonic()
        self._divergence.check_weights(self._ensemble, self._ranks)
        state: dict[str, Any] = {
            "model": self._ensemble,
            "optimizer": self._optimizer,
            "position": self._steps.position,
            "settings": self._settings,
            "best": self._early_stopping.best,
        }
        if self._ensemble.shard is not None:
            save_members(self._folder, **state, step=self._steps.done)
        else:
            scaler = self._fabric.strategy.precision.state_dict()
            save_checkpoint(self._folder / CHECKPOINT, **state, scaler=scaler)
            drop_members(self._folder)
        _write_history(self._folder, self._steps.position, self._ranks)
        self._saved_at = time.monotonic()
        self._saving_took = self._saved_at - started


def _write_history(folder: Path, position: Position, ranks: RankSync) -> None:
    if ranks.is_first:
        write_history(folder / "history.csv", position.history)
