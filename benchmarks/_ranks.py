"""Start processes that find each other, run a function in each, and collect what they return."""

import multiprocessing
import os
import queue
import socket
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import torch


def on_ranks(count: int, work: Callable[..., Any], *arguments: Any, seconds: float = 600) -> dict[int, Any]:
    """What `work` returned, by rank; ranks that died or were still running after so many seconds are missing.

    Once a rank has died, the others get 30 seconds.
    """
    with closing(socket.socket()) as door:
        door.bind(("127.0.0.1", 0))
        port = door.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    results: Any = context.Queue()
    ranks = [context.Process(target=_begin, args=((r, count, port), results, work, arguments)) for r in range(count)]
    for rank in ranks:
        rank.start()
    found: dict[int, Any] = {}
    deadline = time.monotonic() + seconds
    while len(found) < count and time.monotonic() < deadline:
        try:
            number, value = results.get(timeout=0.2)
            found[number] = value
        except queue.Empty:
            gone = [number for number, rank in enumerate(ranks) if not rank.is_alive() and number not in found]
            if gone:
                deadline = min(deadline, time.monotonic() + 30)
            if gone and all(not rank.is_alive() for rank in ranks):
                break
    for number, rank in enumerate(ranks):
        if number not in found:
            rank.kill()
        rank.join()
    return found


def _begin(place: tuple[int, int, int], results: Any, work: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    rank, size, port = place
    os.environ.update({
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(size),
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
    })  # fmt: skip
    torch.set_num_threads(1)
    results.put((rank, work(*arguments)))
    results.close()
    results.join_thread()
    os._exit(0)  # without waiting for others that may be gone
