"""Detect that a rank has failed, and say which one."""

import contextlib
import json
import os
import socket
import sys
import threading
import time
from pathlib import Path
from typing import final

from torch.distributed import Store  # type: ignore[attr-defined]  # torch lists no names there

from motet.distributed.launch import is_first_to_print
from motet.errors import LostRankError

# A rank without a sign of life for this long counts as failed. The interval between signs is short, but they are small.
_SILENT = 45.0
_BEAT = 3.0
# How long the remaining ranks look for each other before they name the missing ones. torchrun kills them after 30 s.
_ROLL_CALL = 20.0
_LINGER = 5.0


@final
class FailureDetector:
    """Knows which ranks are alive, through a store that all of them use.

    Args:
        store: a connection that only this object uses, because it runs in a thread.
        rank, size: the number of this process, and the number of processes.
        command: the command that starts the run again.
    """

    def __init__(self, store: Store, *, rank: int, size: int, command: str) -> None:
        self._store, self.rank, self.size, self.command = store, rank, size, command
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._set(f"who/{rank}", json.dumps([socket.gethostname(), os.getpid()]))
        self._thread = threading.Thread(target=self._listen, name="motet-watch", daemon=True)
        self._thread.start()

    def leave(self, reason: str = "") -> None:
        """Tell the other ranks that this rank ends, with the reason if it has not finished."""
        if self._over.is_set():
            return
        self._over.set()
        self._thread.join(timeout=2 * _BEAT)
        with contextlib.suppress(RuntimeError):
            self._set(f"left/{self.rank}", reason or "done")

    def lost(self, error: Exception) -> LostRankError:
        """Return the error to raise after an exchange failed; it names the failed ranks. Takes up to 20 s."""
        try:
            self._set(f"alive/{self.rank}", "yes")
            gone, stopped = self._roll_call()
            self._linger()
        except RuntimeError:
            # The store was lost with its process: torchrun's own, or rank 0.
            return LostRankError(self._message("the process that connects the ranks has ended"))
        words = [f"rank {rank} ({where}) died" for rank, where in gone]
        words += [f"rank {rank} stopped with an error" for rank in stopped]
        if not words:
            words = [
                f"an exchange between the ranks failed, although all of them are alive ({' '.join(str(error).split())})"
            ]
        return LostRankError(self._message(" and ".join(words)))

    def _roll_call(self) -> tuple[list[tuple[int, str]], list[int]]:
        deadline = time.monotonic() + _ROLL_CALL
        missing = set(range(self.size)) - {self.rank}
        gone, stopped = [], []
        while missing:
            late = time.monotonic() > deadline
            for rank in sorted(missing):
                if self._has(f"alive/{rank}"):
                    missing.discard(rank)
                    continue
                if self._has(f"left/{rank}"):
                    missing.discard(rank)
                    if self._get(f"left/{rank}") != "done":
                        stopped.append(rank)
                    continue
                host, process = json.loads(self._get(f"who/{rank}")) if self._has(f"who/{rank}") else ("?", 0)
                if late or (host == socket.gethostname() and not _lives(process)):
                    missing.discard(rank)
                    gone.append((rank, f"process {process} on {host}"))
            time.sleep(0.05)
        # A rank that stopped because another one failed is alive here. A failure explains more than a stop, so it comes
        # first.
        return sorted(gone), [] if gone else stopped

    def _linger(self) -> None:
        """Keep rank 0 alive, since it may hold the store, until the other remaining ranks have found the failed
        ones.
        """
        self._set(f"counted/{self.rank}", "yes")
        deadline = time.monotonic() + _LINGER
        while self.rank == 0 and time.monotonic() < deadline:
            if all(self._has(f"counted/{rank}") for rank in range(self.size) if self._has(f"alive/{rank}")):
                return
            time.sleep(0.05)

    def _listen(self) -> None:
        """Send signs of life, and end this process if another rank's stop: an exchange with it might never return."""
        heard: dict[int, tuple[str, float]] = {}
        beats, woke = 0, time.monotonic()
        while not self._over.wait(_BEAT):
            beats += 1
            now = time.monotonic()
            if now - woke > 3 * _BEAT:  # this process was suspended, and perhaps all were
                heard.clear()
            woke = now
            try:
                self._set(f"beat/{self.rank}", str(beats))
                for rank in range(self.size):
                    if rank == self.rank or not self._has(f"beat/{rank}"):
                        continue
                    beat = self._get(f"beat/{rank}")
                    if heard.get(rank, ("", 0.0))[0] != beat:
                        heard[rank] = beat, now
                    elif now - heard[rank][1] > _SILENT and not self._has(f"left/{rank}"):
                        self._end(rank)
            except RuntimeError:
                return  # the store was lost; the next exchange reports it

    def _end(self, rank: int) -> None:
        message = self._message(f"rank {rank} has sent no sign of life for {_SILENT:.0f} s")
        if is_first_to_print(self._store, message):
            print(f"motet: {message}", file=sys.stderr, flush=True)  # noqa: T201
        os._exit(1)

    def _message(self, what: str) -> str:
        return f"{what}. Continue from the last checkpoint with: {self.command}"

    def _set(self, key: str, value: str) -> None:
        with self._lock:
            self._store.set(key, value)

    def _get(self, key: str) -> str:
        with self._lock:
            return str(self._store.get(key).decode())

    def _has(self, key: str) -> bool:
        with self._lock:
            return bool(self._store.check([key]))


def _lives(process: int) -> bool:
    """Whether a process of this machine runs; a killed one may stay in the process table for a while."""
    stat = Path(f"/proc/{process}/stat")
    if stat.parent.parent.joinpath("self").exists():
        try:
            return stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0] not in "ZX"
        except OSError:
            return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
