"""The ranks of a run as a grid: one axis for members, the other for rows of the batch."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from types import TracebackType
from typing import Any, TypeVar, final

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed import PrefixStore  # type: ignore[attr-defined]  # torch lists no names there

from motet.distributed.communicator import Communicator
from motet.distributed.failure_detector import FailureDetector
from motet.distributed.launch import Launch, current_launch
from motet.errors import InputError, LostRankError, RunInterrupted

T = TypeVar("T")
# An exchange may wait this long, for a slow disk or the first download. A failed rank is noticed sooner.
_PATIENCE = timedelta(minutes=30)
# The same for the first exchange, because processes start at different times.
_GATHERING = timedelta(minutes=5)


@final
class Grid:
    """The ranks of a run: which members each one holds, and which rows of a batch it works on. Made by `start`.

    Ranks form a grid. Rank r holds the members with index ``r // data_ranks`` along the member axis, and works on the
    batch rows with index ``r % data_ranks`` along the data axis. Ranks that hold the same members, which exchange
    gradients, have consecutive numbers.

    As a context manager it ends this rank's part in the run, so that other ranks do not wait for it.

    Args:
        rank: the number of this process.
        member_ranks: the number of ranks that the members are distributed over.
        data_ranks: the number of ranks that the rows of a batch are distributed over.
        local_rank, local_size: the number of this process on its machine, and the number of processes there.
        failure_detector: finds out which rank failed; None for a single rank.
        devices: device types whose tensors can be exchanged directly.

    Attributes:
        rank, size: the number of this process, and the number of processes.
        member_ranks: the number of ranks that the members are distributed over.
        data_ranks: the number of ranks that the rows of a batch are distributed over.
        members: exchanges with the ranks that hold other members and work on the same rows.
        data: exchanges with the ranks that hold the same members and work on other rows.
        everyone: exchanges with all ranks.
        sent: bytes that this rank has sent, by purpose.
    """

    def __init__(
        self,
        *,
        rank: int = 0,
        local_rank: int = 0,
        local_size: int = 1,
        member_ranks: int = 1,
        data_ranks: int = 1,
        failure_detector: FailureDetector | None = None,
        devices: frozenset[str] = frozenset({"cpu"}),
    ) -> None:
        self.rank, self.local_rank, self.local_size = rank, local_rank, local_size
        self.member_ranks, self.data_ranks = member_ranks, data_ranks
        self.failure_detector = failure_detector
        self.sent: dict[str, float] = {}

        def communicator(lines: list[list[int]]) -> Communicator:
            group, size = None, 1
            for ranks in lines:  # every rank must take part in making every group
                if len(ranks) > 1:
                    made = dist.group.WORLD if len(ranks) == self.size else dist.new_group(ranks, timeout=_PATIENCE)
                    if rank in ranks:
                        group, size = made, len(ranks)
            return Communicator(group, size=size, sent=self.sent, failure_detector=failure_detector, devices=devices)

        columns = [[m * data_ranks + d for d in range(data_ranks)] for m in range(member_ranks)]
        self.members = communicator([list(line) for line in zip(*columns, strict=True)])
        self.data = communicator(columns)
        self.everyone = communicator([list(range(self.size))])

    @property
    def size(self) -> int:
        """The number of ranks."""
        return self.member_ranks * self.data_ranks

    @property
    def member_rank(self) -> int:
        """The index of this rank among those that hold other members."""
        return self.rank // self.data_ranks

    @property
    def data_rank(self) -> int:
        """The index of this rank among those that work on other rows."""
        return self.rank % self.data_ranks

    @property
    def is_first(self) -> bool:
        """Whether this is rank 0, the only one that writes results and prints."""
        return self.rank == 0

    def rows(self, count: int) -> slice:
        """Return this rank's part of a batch with `count` rows: contiguous, as even as possible.

        Raises:
            InputError: for fewer rows than ranks that share them.
        """
        if count < self.data_ranks:
            raise InputError(
                f"a batch must have a row for each of the {self.data_ranks} ranks that share it",
                got=f"{count} rows",
                fix="Raise the batch size, or use fewer --data-ranks",
            )
        return _part(count, self.data_ranks, self.data_rank)

    def part_of(self, members: int) -> slice:
        """Return the members that this rank holds: contiguous, as even as possible.

        Raises:
            InputError: for fewer members than ranks that share them.
        """
        if members < self.member_ranks:
            raise InputError(
                f"an ensemble over {self.member_ranks} ranks must have {self.member_ranks} members or more",
                got=f"members={members}",
                fix="Start fewer processes, or let some of them share the rows of the batch: --member-ranks 1 "
                f"--data-ranks {self.size}"
                if members == 1
                else f"Start {members} processes, or let some of them share the rows of the batch with --data-ranks",
            )
        return _part(members, self.member_ranks, self.member_rank)

    def first(self, compute: Callable[[], T]) -> T:
        """Run `compute` on rank 0 and return its result on every rank; if it raises an `InputError`, every rank
        raises it.
        """
        if self.size == 1:
            return compute()
        result: tuple[Any, InputError | None] = None, None
        if self.is_first:
            try:
                result = compute(), None
            except InputError as error:
                result = None, error
        value, refused = self.everyone.gather_objects(result, "agreement")[0]
        if refused is not None:
            raise refused
        checked: T = value
        return checked

    @contextmanager
    def one_machine_at_a_time(self) -> Iterator[None]:
        """Run the context on the first rank of each machine before the others, so that files are downloaded once."""
        if self.local_rank > 0:
            self.everyone.barrier()
        yield
        if self.local_rank == 0:
            self.everyone.barrier()

    def agree(self, settings: Mapping[str, object]) -> None:
        """Check that all ranks have the same settings.

        Args:
            settings: everything that a run's numbers depend on, as JSON values, which may be nested.

        Raises:
            InputError: on every rank, if the settings differ.
        """
        if self.size == 1:
            return
        mine = dict(_flat(settings)) | {"torch": str(torch.__version__)}
        everyone = self.everyone.gather_objects(mine, "agreement")
        for rank, theirs in enumerate(everyone):
            for key in [*everyone[0], *(theirs.keys() - everyone[0].keys())]:
                here, there = everyone[0].get(key), theirs.get(key)
                if here != there:
                    raise InputError(
                        f"all ranks must have the same value of {key}",
                        got=f"{there} on rank {rank} and {here} on rank 0",
                        fix="Give every process the same command, the same files and the same versions",
                    )

    def average_gradients(self, module: nn.Module) -> None:
        """Combine (all-reduce) the gradients of the ranks that hold the same members, each for its own rows.

        Each rank's loss must be its part of the batch's loss: the mean over its rows times its fraction of the rows.
        """
        if self.data.size == 1:
            return
        for gradients in _by_dtype([p.grad for p in module.parameters() if p.grad is not None]):
            flat = self.data.sum(torch.cat([gradient.flatten() for gradient in gradients]), "gradients")
            for gradient, total in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
                gradient.copy_(total.view_as(gradient))

    @torch.no_grad()
    def same_weights(self, module: nn.Module) -> None:
        """Copy the weights of the first rank to the other ranks that hold the same members."""
        if self.data.size == 1:
            return
        for tensor in module.state_dict().values():
            tensor.copy_(self.data.gather(tensor, "start")[0])

    def seed_apart(self, *numbers: int) -> None:
        """Seed torch's generator with these numbers and the rank, so that ranks draw different dropout masks."""
        digest = hashlib.sha256(json.dumps([*numbers, self.rank]).encode()).digest()
        torch.manual_seed(int.from_bytes(digest[:8], "little") >> 1)

    def leave(self, reason: str = "") -> None:
        """End this rank's part in the run, and tell the others the reason if it has not finished."""
        if self.failure_detector is not None:
            self.failure_detector.leave(reason)

    def __enter__(self) -> "Grid":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        calm = error is None or isinstance(error, LostRankError | RunInterrupted)
        self.leave("" if calm else type(error).__name__)
        if self.failure_detector is not None and not isinstance(error, LostRankError) and calm:
            dist.destroy_process_group()

    def __deepcopy__(self, memo: object) -> "Grid":
        return self  # Connections cannot be copied, and copies of an ensemble are on the same ranks.

    def __repr__(self) -> str:
        return f"Grid(rank={self.rank}, member_ranks={self.member_ranks}, data_ranks={self.data_ranks})"


def start(*, member_ranks: int | None = None, data_ranks: int | None = None) -> Grid:
    """Join the other processes that ``torchrun`` started, and arrange the ranks in a grid.

    Without ``torchrun`` the grid has one rank and changes nothing. If the process group exists already, it is used.

    Args:
        member_ranks: the number of ranks that members are distributed over; the processes divided by `data_ranks` if
            None.
        data_ranks: the number of ranks that the rows of a batch are distributed over; if None, the number of processes
            divided by `member_ranks`, or 1 if that is None too.

    Raises:
        InputError: if the two do not multiply to the number of processes.
    """
    launch = current_launch()
    members, data = _layout(1 if launch is None else launch.size, member_ranks, data_ranks)
    if launch is None:
        return Grid()
    cuda = torch.cuda.is_available() and torch.cuda.device_count() >= launch.local_size and dist.is_nccl_available()
    if cuda:
        torch.cuda.set_device(launch.local_rank)
    if not dist.is_initialized():
        try:
            dist.init_process_group(
                "cpu:gloo,cuda:nccl" if cuda else "gloo",
                store=launch.open_store(seconds=_GATHERING.total_seconds()),
                rank=launch.rank,
                world_size=launch.size,
                timeout=_PATIENCE,
            )
        except RuntimeError as error:
            raise InputError(
                f"all {launch.size} processes must connect to {launch.address}:{launch.port}",
                got=str(error).partition("\n")[0],
                fix="Check that all processes were started, with the same address and a free port",
            ) from error
    grid = Grid(
        rank=launch.rank,
        local_rank=launch.local_rank,
        local_size=launch.local_size,
        member_ranks=members,
        data_ranks=data,
        failure_detector=_failure_detector(launch),
        devices=_devices(),
    )
    grid.everyone.barrier()  # from here on, a failed process can be told from one that has not started yet
    return grid


def _failure_detector(launch: Launch) -> FailureDetector:
    store: Any = dist.distributed_c10d._get_default_store()
    return FailureDetector(
        PrefixStore("watch", store.clone()), rank=launch.rank, size=launch.size, command=launch.command
    )


def _devices() -> frozenset[str]:
    """Return the device types whose tensors the process group accepts; gloo accepts few operations on an
    accelerator's.
    """
    pairs = [pair.split(":") for pair in dist.get_backend_config().split(",")]
    return frozenset(device for device, backend in pairs if device == "cpu" or backend != "gloo")


def _layout(size: int, member_ranks: int | None, data_ranks: int | None) -> tuple[int, int]:
    data = data_ranks if data_ranks is not None else 1 if member_ranks is None else max(1, size // max(1, member_ranks))
    members = member_ranks if member_ranks is not None else max(1, size // max(1, data))
    if min(members, data) < 1 or members * data != size:
        raise InputError(
            "member_ranks times data_ranks must be the number of processes",
            got=f"member_ranks={members} and data_ranks={data} with {size} processes",
            fix=f"Start {members * data} processes with torchrun --nproc-per-node={members * data}"
            if min(members, data) >= 1
            else "Pass 1 or more of each",
        )
    return members, data


def _part(count: int, parts: int, index: int) -> slice:
    return slice(count * index // parts, count * (index + 1) // parts)


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            yield from _flat(item, f"{path}.{key}".lstrip("."))
    else:
        yield path, json.dumps(value, default=str)


def _by_dtype(tensors: list[Any]) -> list[list[Any]]:
    found: dict[torch.dtype, list[Any]] = {}
    for tensor in tensors:
        found.setdefault(tensor.dtype, []).append(tensor)
    return list(found.values())
