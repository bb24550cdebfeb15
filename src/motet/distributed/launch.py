"""The environment that ``torchrun`` gives to each process that it starts."""

import hashlib
import os
import shlex
import sys
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import final

import torch
from torch.distributed import PrefixStore, Store, TCPStore  # type: ignore[attr-defined]  # torch lists no names there

from motet.errors import InputError

_VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@final
@dataclass(frozen=True, kw_only=True)
class Launch:
    """One process's place among those that were started together.

    Attributes:
        rank: the process's number, from 0.
        size: the number of processes.
        local_rank: the process's number on its machine.
        local_size: the number of processes on its machine.
        address, port: where the processes connect.
        attempt: how often ``torchrun`` has restarted them.
        keeps_store: whether ``torchrun`` itself keeps the store at that address; otherwise rank 0 does.
    """

    rank: int
    size: int
    local_rank: int
    local_size: int
    address: str
    port: int
    attempt: int
    keeps_store: bool

    def open_store(self, *, seconds: float) -> Store:
        """Return the store that all processes use, with keys for this attempt only.

        Args:
            seconds: how long to try.

        Raises:
            RuntimeError: torch's own, if the store cannot be reached in this time.
        """
        store = TCPStore(
            self.address,
            self.port,
            world_size=None,
            is_master=self.rank == 0 and not self.keeps_store,
            timeout=timedelta(seconds=seconds),
            wait_for_workers=False,
        )
        return PrefixStore(f"motet/{self.attempt}", store)

    @property
    def command(self) -> str:
        """The command that started the processes, in a form that can be typed again."""
        program = "-m motet" if Path(sys.argv[0]).name in ("motet", "__main__.py") else shlex.quote(sys.argv[0])
        words = " ".join(map(shlex.quote, sys.argv[1:]))
        machines = "" if self.local_size == self.size else f"--nnodes={-(-self.size // self.local_size)} "
        return f"torchrun {machines}--nproc-per-node={self.local_size} {program} {words}".rstrip()


def current_launch() -> Launch | None:
    """Return how this process was launched with others; None if it was started by itself.

    Raises:
        InputError: if the numbers in the environment are invalid.
    """
    if os.environ.get("WORLD_SIZE", "1") in ("", "1") or any(name not in os.environ for name in _VARIABLES):
        return None
    try:
        rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
        launch = Launch(
            rank=rank,
            size=size,
            local_rank=int(os.environ.get("LOCAL_RANK", rank)),
            local_size=int(os.environ.get("LOCAL_WORLD_SIZE", size)),
            address=os.environ["MASTER_ADDR"],
            port=int(os.environ["MASTER_PORT"]),
            attempt=int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")),
            keeps_store=os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True",
        )
    except ValueError as error:
        raise _nonsense(str(error)) from error
    if not 0 <= launch.rank < launch.size or not 0 <= launch.local_rank < launch.local_size:
        raise _nonsense(f"RANK={launch.rank} and WORLD_SIZE={launch.size}")
    return launch


def _nonsense(got: str) -> InputError:
    return InputError(
        "RANK, WORLD_SIZE and LOCAL_RANK must be the numbers that torchrun sets",
        got=got,
        fix="Start the processes with torchrun, or unset these variables",
    )


def should_print_message(message: str) -> bool:
    """Whether this process should print a message that other processes may want to print as well.

    True for the first process that asks, so that a message is printed once. Also true if there are no other processes,
    or if they cannot be reached.
    """
    try:
        launch = current_launch()
        if launch is None or not (launch.keeps_store or torch.distributed.is_initialized()):
            return True
        if launch.keeps_store:
            store = launch.open_store(seconds=5)
        else:
            store = PrefixStore(f"motet/{launch.attempt}", torch.distributed.distributed_c10d._get_default_store())
        return is_first_to_print(store, message)
    except (RuntimeError, ValueError):
        return True


def is_first_to_print(store: Store, message: str) -> bool:
    """Whether no other process has claimed the message in this store; claims it."""
    return store.add(f"said/{hashlib.sha256(message.encode()).hexdigest()}", 1) == 1
