"""What the ranks of a run do together between steps; for a process that is alone, what it does by itself."""

import hashlib
import signal
import time
from typing import final

import numpy as np
import torch
from torch import Tensor

from motet.data import Dataset
from motet.distributed import Share
from motet.errors import InputError
from motet.training.settings import Training
from motet.training.signals import StopRequest

# Losses are looked at this often, not at every step: reading one waits for the device, and for the other ranks.
LOOK_EVERY = 16
# Where steps are slow ranks look at them more often, so that all stop soon when one is asked to: torchrun kills what
# has not ended 30 s after it asked.
_SECONDS_BETWEEN_LOOKS = 1.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_HASHED_ROWS = 64


@final
class Together:
    """The ranks of one call of `fit`.

    Args:
        share: the ensemble's; None for a process that is alone.
    """

    def __init__(self, share: Share | None) -> None:
        self.share = share
        self.look_every = LOOK_EVERY
        self._asked, self._agreed = StopRequest(), StopRequest()
        self._looked = time.perf_counter()

    @property
    def is_first(self) -> bool:
        """Whether this process writes results and talks."""
        return self.share is None or self.share.grid.is_first

    def check(self, settings: str, dataset: Dataset, training: Training, precision: str) -> None:
        """Raise `InputError`, on every rank, unless all train the same thing on the same data."""
        if self.share is None:
            return
        if precision == "16-mixed":
            raise InputError(
                "members on several processes cannot be trained in float16, whose gradient scale each would set alone",
                got="precision 16-mixed",
                fix="Pass precision bf16-mixed, 32-true or auto",
            )
        self.share.grid.rows(training.batch_size)
        self.share.grid.agree({"training": settings, "precision": precision, "data": _fingerprint(dataset)})

    def stop_request(self, asked: StopRequest) -> StopRequest:
        """The request that training obeys: `asked` itself, or what all ranks agree on, each at the same step."""
        if self.share is None:
            return asked
        self._asked, self._looked = asked, time.perf_counter()
        return self._agreed

    def read(self, unread: list[Tensor]) -> list[float]:
        """The losses of the steps since the last look, of the whole ensemble; ranks also agree whether to stop."""
        if not unread:
            return []
        losses = torch.stack(unread).double()
        return list(losses.tolist()) if self.share is None else self._exchange(losses.cpu())

    def _exchange(self, losses: Tensor) -> list[float]:
        assert self.share is not None
        now, count = time.perf_counter(), len(losses)
        per_step = (now - self._looked) / max(1, count)
        self._looked = now
        rest = torch.tensor([*(float(self._asked.signal == each) for each in _SIGNALS), per_step], dtype=torch.float64)
        *totals, interrupts, terminations, seconds = self.share.grid.everyone.sum(
            torch.cat([losses, rest]), "agreement"
        ).tolist()
        if interrupts or terminations:
            self._agreed.signal = signal.SIGINT if interrupts else signal.SIGTERM
        if count:
            mean = max(seconds / self.share.grid.size, 1e-9)
            self.look_every = int(min(max(_SECONDS_BETWEEN_LOOKS / mean, 1), LOOK_EVERY))
        return list(totals)

    def last_look(self) -> None:
        """Agree on a request that came after the last losses were read."""
        if self.share is not None:
            self._exchange(torch.zeros(0, dtype=torch.float64))

    def as_first(self, *values: float) -> list[float]:
        """Rank 0's numbers, on every rank: what they decide is decided alike, whatever each has computed."""
        if self.share is None:
            return list(values)
        return list(self.share.grid.everyone.gather(torch.tensor(values, dtype=torch.float64), "agreement")[0].tolist())

    def all(self, holds: bool) -> bool:
        """Whether it holds on every rank."""
        if self.share is None:
            return holds
        return float(self.share.grid.everyone.sum(torch.tensor([float(not holds)]), "agreement")) == 0


def _fingerprint(dataset: Dataset) -> dict[str, object]:
    """Sizes of the data, and a hash of the training targets and of some inputs."""
    train, digest = dataset.train, hashlib.sha256()
    _add(digest, train.targets)
    if isinstance(train.inputs, Tensor):
        _add(digest, train.inputs[:: max(1, len(train) // _HASHED_ROWS)])
    sizes = {"train": len(train), "validation": len(dataset.validation), "test": len(dataset.test)}
    return {"name": dataset.spec.name, **sizes, "sha256": digest.hexdigest()[:16]}


def _add(digest: "hashlib._Hash", tensor: Tensor) -> None:
    digest.update(np.ascontiguousarray(tensor.detach().cpu().numpy()).tobytes())
