"""Exchanges between ranks, with the bytes that they send counted."""

import pickle
from typing import Any, final

import torch
import torch.distributed as dist
from torch import Tensor

from motet.distributed.watch import Watch


@final
class Wire:
    """A group of ranks. Every rank of it makes the same calls in the same order; with one rank nothing is sent.

    Bytes are those of the messages' content that this rank sends, as rings send it: a sum over n ranks takes
    ``2 (n - 1) / n`` of the tensor, gathering takes ``n - 1`` times the own part.

    Args:
        group: torch's; None for a rank that is alone.
        size: n.
        sent: bytes by purpose, which all wires of a process add to.
        watch: says who died when an exchange fails.
        devices: device types whose tensors the group's backends take; others go by way of one of these.
    """

    def __init__(
        self,
        group: Any,
        *,
        size: int,
        sent: dict[str, float],
        watch: Watch | None,
        devices: frozenset[str] = frozenset({"cpu"}),
    ) -> None:
        self.group, self.size, self.sent, self.watch, self.devices = group, size, sent, watch, devices

    def sum(self, tensor: Tensor, purpose: str) -> Tensor:
        """The sum of the ranks' tensors, bit for bit the same on every rank; `tensor` may be overwritten."""
        if self.size == 1:
            return tensor
        here = self._place(tensor)
        self._do(dist.all_reduce, here)
        self._count(purpose, 2 * (self.size - 1) / self.size * _bytes(here))
        return here.to(tensor.device)

    def gather(self, tensor: Tensor, purpose: str) -> list[Tensor]:
        """Every rank's tensor, in the order of ranks; all have the same shape."""
        if self.size == 1:
            return [tensor]
        here = self._place(tensor)
        parts = [torch.empty_like(here) for _ in range(self.size)]
        self._do(dist.all_gather, parts, here)
        self._count(purpose, (self.size - 1) * _bytes(here))
        return [part.to(tensor.device) for part in parts]

    def gather_rows(self, tensor: Tensor, purpose: str) -> list[Tensor]:
        """Every rank's tensor, in the order of ranks; they may differ in their first axis."""
        if self.size == 1:
            return [tensor]
        lengths = [int(n) for n in self.gather(torch.tensor([len(tensor)]), purpose)]
        longest = max(lengths)
        if len(tensor) < longest:
            tensor = torch.cat([tensor, tensor.new_zeros(longest - len(tensor), *tensor.shape[1:])])
        return [part[:length] for part, length in zip(self.gather(tensor, purpose), lengths, strict=True)]

    def gather_objects(self, value: Any, purpose: str) -> list[Any]:
        """Every rank's value, which pickle must know; for a few, and small ones."""
        if self.size == 1:
            return [value]
        data = torch.frombuffer(bytearray(pickle.dumps(value)), dtype=torch.uint8)
        # What is unpickled comes from this run's own processes.
        return [pickle.loads(part.cpu().numpy().tobytes()) for part in self.gather_rows(data, purpose)]

    def barrier(self) -> None:
        """Wait until every rank has come here."""
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
            if self.watch is None:
                raise
            raise self.watch.lost(error) from error

    def _count(self, purpose: str, count: float) -> None:
        self.sent[purpose] = self.sent.get(purpose, 0.0) + count  # parts of bytes: rings cut tensors in n


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
