"""Synchronisation of the ranks of a run between steps; a single process synchronises with nothing."""

import hashlib
import signal
import time
from typing import final

import numpy as np
import torch
from torch import Tensor

from motet.data import Dataset
from motet.distributed import MemberShard
from motet.errors import InputError
from motet.training.settings import Training
from motet.training.signals import StopRequest

# The number of steps between two reads of the losses, because reading one synchronises with the device and the other
# ranks.
READ_EVERY = 16
# The interval is reduced when steps are slow, so that all ranks stop within about a second: torchrun kills processes
# that have not ended 30 s after its request.
_SECONDS_BETWEEN_LOOKS = 1.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_HASHED_ROWS = 64


@final
class RankSync:
    """The ranks of one call of `fit`.

    Args:
        shard: the ensemble's shard; None for a single process.
    """

    def __init__(self, shard: MemberShard | None) -> None:
        self.shard = shard
        self.read_every = READ_EVERY
        self._asked, self._agreed = StopRequest(), StopRequest()
        self._looked = time.perf_counter()

    @property
    def is_first(self) -> bool:
        """Whether this process writes results and prints."""
        return self.shard is None or self.shard.grid.is_first

    def check(self, settings: str, dataset: Dataset, training: Training, precision: str) -> None:
        """Check that all ranks train the same thing on the same data.

        Args:
            settings: a description of the run.
            dataset: the data.
            training: the training settings.
            precision: the precision.

        Raises:
            InputError: on every rank, if they do not.
        """
        if self.shard is None:
            return
        if precision == "16-mixed":
            raise InputError(
                "members on several processes cannot be trained in float16, because each process would set its "
                "own gradient scale",
                got="precision 16-mixed",
                fix="Pass precision bf16-mixed, 32-true or auto",
            )
        assert training.batch_size is not None
        self.shard.grid.rows(training.batch_size)
        self.shard.grid.agree({"training": settings, "precision": precision, "data": _fingerprint(dataset)})

    def stop_request(self, asked: StopRequest) -> StopRequest:
        """Return the request that training obeys: `asked` itself, or what all ranks agree on, at the same step."""
        if self.shard is None:
            return asked
        self._asked, self._looked = asked, time.perf_counter()
        return self._agreed

    def read(self, unread: list[Tensor]) -> list[float]:
        """Return the losses since the last read, of the whole ensemble; ranks also agree whether to stop."""
        if not unread:
            return []
        losses = torch.stack(unread).double()
        return list(losses.tolist()) if self.shard is None else self._exchange(losses.cpu())

    def _exchange(self, losses: Tensor) -> list[float]:
        assert self.shard is not None
        now, count = time.perf_counter(), len(losses)
        per_step = (now - self._looked) / max(1, count)
        self._looked = now
        rest = torch.tensor([*(float(self._asked.signal == each) for each in _SIGNALS), per_step], dtype=torch.float64)
        *totals, interrupts, terminations, seconds = self.shard.grid.everyone.sum(
            torch.cat([losses, rest]), "agreement"
        ).tolist()
        if interrupts or terminations:
            self._agreed.signal = signal.SIGINT if interrupts else signal.SIGTERM
        if count:
            mean = max(seconds / self.shard.grid.size, 1e-9)
            self.read_every = int(min(max(_SECONDS_BETWEEN_LOOKS / mean, 1), READ_EVERY))
        return list(totals)

    def agree_on_stop(self) -> None:
        """Agree on a request that came after the last losses were read."""
        if self.shard is not None:
            self._exchange(torch.zeros(0, dtype=torch.float64))

    def broadcast_from_first(self, *values: float) -> list[float]:
        """Return rank 0's numbers on every rank, so that all ranks make the same decisions."""
        if self.shard is None:
            return list(values)
        return list(self.shard.grid.everyone.gather(torch.tensor(values, dtype=torch.float64), "agreement")[0].tolist())

    def all(self, holds: bool) -> bool:
        """Whether the condition holds on every rank."""
        if self.shard is None:
            return holds
        return float(self.shard.grid.everyone.sum(torch.tensor([float(not holds)]), "agreement")) == 0


def _fingerprint(dataset: Dataset) -> dict[str, object]:
    """Return sizes of the data, and a hash of the training targets and of some inputs."""
    train, digest = dataset.train, hashlib.sha256()
    digest.update(_bytes_of(train.targets))
    if isinstance(train.inputs, Tensor):
        digest.update(_bytes_of(train.inputs[:: max(1, len(train) // _HASHED_ROWS)]))
    sizes = {"train": len(train), "validation": len(dataset.validation), "test": len(dataset.test)}
    return {"name": dataset.spec.name, **sizes, "sha256": digest.hexdigest()[:16]}


def _bytes_of(tensor: Tensor) -> bytes:
    return np.ascontiguousarray(tensor.detach().cpu().numpy()).tobytes()
