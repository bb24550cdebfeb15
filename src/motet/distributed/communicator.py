"""Exchanges between ranks, which count the bytes that they send."""

import pickle
from typing import Any, final

import torch
import torch.distributed as dist
from torch import Tensor

from motet.distributed.failure_detector import FailureDetector


@final
class Communicator:
    """A group of ranks. All its ranks must make the same calls in the same order; with one rank nothing is sent.

    Bytes are the content of the messages that this rank sends under ring algorithms: a sum over n ranks sends ``2 (n -
    1) / n`` times the tensor, gathering sends ``n - 1`` times this rank's part.

    Args:
        group: torch's process group; None for a single rank.
        size: n.
        sent: bytes by purpose; all communicators of a process add to it.
        failure_detector: finds out which rank failed when an exchange fails.
        devices: device types whose tensors the group's backends accept; other tensors are copied to one of these.
    """

    def __init__(
        self,
        group: Any,
        *,
        size: int,
        sent: dict[str, float],
        failure_detector: FailureDetector | None,
        devices: frozenset[str] = frozenset({"cpu"}),
    ) -> None:
        self.group, self.size, self.sent, self.failure_detector, self.devices = (
            group,
            size,
            sent,
            failure_detector,
            devices,
        )

    def sum(self, tensor: Tensor, purpose: str) -> Tensor:
        """Return the sum of the ranks' tensors, bitwise equal on every rank; `tensor` may be overwritten."""
        if self.size == 1:
            return tensor
        here = self._place(tensor)
        self._do(dist.all_reduce, here)
        self._count(purpose, 2 * (self.size - 1) / self.size * _bytes(here))
        return here.to(tensor.device)

    def gather(self, tensor: Tensor, purpose: str) -> list[Tensor]:
        """Return every rank's tensor, in the order of ranks; all must have the same shape."""
        if self.size == 1:
            return [tensor]
        here = self._place(tensor)
        parts = [torch.empty_like(here) for _ in range(self.size)]
        self._do(dist.all_gather, parts, here)
        self._count(purpose, (self.size - 1) * _bytes(here))
        return [part.to(tensor.device) for part in parts]

    def gather_rows(self, tensor: Tensor, purpose: str) -> list[Tensor]:
        """Return every rank's tensor, in the order of ranks; they may differ in the length of their first axis."""
        if self.size == 1:
            return [tensor]
        lengths = [int(n) for n in self.gather(torch.tensor([len(tensor)]), purpose)]
        longest = max(lengths)
        if len(tensor) < longest:
            tensor = torch.cat([tensor, tensor.new_zeros(longest - len(tensor), *tensor.shape[1:])])
        return [part[:length] for part, length in zip(self.gather(tensor, purpose), lengths, strict=True)]

    def gather_objects(self, value: Any, purpose: str) -> list[Any]:
        """Return every rank's value; for a few small values that can be pickled."""
        if self.size == 1:
            return [value]
        data = torch.frombuffer(bytearray(pickle.dumps(value)), dtype=torch.uint8)
        # The pickled data come from this run's own processes.
        return [pickle.loads(part.cpu().numpy().tobytes()) for part in self.gather_rows(data, purpose)]

    def barrier(self) -> None:
        """Wait until every rank has called this method."""
        if self.size > 1:
            self._do(dist.all_reduce, self._place(torch.zeros(1)))

    def _place(self, tensor: Tensor) -> Tensor:
        tensor = tensor.detach()
        if tensor.device.type not in self.devices:
            tensor = tensor.to("cpu" if "cpu" in self.devices else "cuda")
        return tensor.contiguous()

    def _do(self, exchange: Any, *tensors: Any) -> None:
        try:
            exchange(*tensors, group=self.group)
        except RuntimeError as error:
            if self.failure_detector is None:
                raise
            raise self.failure_detector.lost(error) from error

    def _count(self, purpose: str, count: float) -> None:
        # Fractions of bytes, because rings cut tensors into n parts.
        self.sent[purpose] = self.sent.get(purpose, 0.0) + count


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
