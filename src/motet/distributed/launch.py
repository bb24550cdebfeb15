"""What ``torchrun`` tells each process that it starts."""

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
        size: how many processes there are.
        local_rank: its number on its own machine.
        local_size: how many processes its machine has.
        address, port: where the processes find each other.
        attempt: how often ``torchrun`` has started them again.
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
        """The store that all processes reach, with keys of this attempt's own.

        Raises:
            RuntimeError: torch's own, where it cannot be reached within so many seconds.
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
        """The command that started the processes, to type again."""
        program = "-m motet" if Path(sys.argv[0]).name in ("motet", "__main__.py") else shlex.quote(sys.argv[0])
        words = " ".join(map(shlex.quote, sys.argv[1:]))
        machines = "" if self.local_size == self.size else f"--nnodes={-(-self.size // self.local_size)} "
        return f"torchrun {machines}--nproc-per-node={self.local_size} {program} {words}".rstrip()


def launched() -> Launch | None:
    """How this process was launched with others; None where it was started alone.

    Raises:
        InputError: for numbers in the environment that make no sense.
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


def mine_to_say(message: str) -> bool:
    """Whether this process should print a message that others may have as well: only the first that asks should.

    True where there are no others, or they cannot be asked.
    """
    try:
        launch = launched()
        if launch is None or not (launch.keeps_store or torch.distributed.is_initialized()):
            return True
        if launch.keeps_store:
            store = launch.open_store(seconds=5)
        else:
            store = PrefixStore(f"motet/{launch.attempt}", torch.distributed.distributed_c10d._get_default_store())
        return first_to_say(store, message)
    except (RuntimeError, ValueError):
        return True


def first_to_say(store: Store, message: str) -> bool:
    """Whether nobody has claimed the message in this store."""
    return store.add(f"said/{hashlib.sha256(message.encode()).hexdigest()}", 1) == 1
