"""Real processes: forked from one that has imported torch already, so that starting them takes no time."""

import multiprocessing
import os
import pickle
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent))
from on_ranks import Answer, begin

Start = Callable[..., list[Answer]]


def free_port() -> int:
    with closing(socket.socket()) as door:
        door.bind(("127.0.0.1", 0))
        return int(door.getsockname()[1])


@pytest.fixture(scope="session")
def _server() -> Any:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["torch", "lightning_fabric", "safetensors.torch", "motet.training.fit"])
    return context


@pytest.fixture
def ranks(_server: Any) -> Iterator[Start]:
    """``ranks(2, job, argument, ...)``: what the job returns on each of 2 ranks, or the error that it raised."""
    started: list[Any] = []

    def start(size: int, job: Callable[..., Any], *arguments: Any, seconds: float = 60, lost: int = 0) -> list[Answer]:
        port, pipes = free_port(), []
        for rank in range(size):
            ours, theirs = _server.Pipe(duplex=False)
            environment = {
                "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_WORLD_SIZE": str(size),
                "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1",
            }  # fmt: skip
            process = _server.Process(target=begin, args=(theirs, environment, job, arguments), daemon=True)
            process.start()
            theirs.close()
            started.append(process)
            pipes.append(ours)
        deadline, answers = time.monotonic() + seconds, []
        for pipe in pipes:
            assert pipe.poll(max(0.0, deadline - time.monotonic())), "a rank does not end"
            try:
                answers.append(pickle.loads(pipe.recv_bytes()))
            except EOFError:
                answers.append(Answer(None, "gone", ""))
        assert sum(answer.error == "gone" for answer in answers) == lost
        return answers

    yield start
    for process in started:
        process.join(timeout=10)
        if process.is_alive():
            process.kill()
            process.join()


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """What a job returns in this process, started by nobody."""
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    return lambda job, *arguments: job(*arguments)


@pytest.fixture
def torchrun() -> Callable[..., list[str]]:
    """The command line of torchrun with these arguments."""

    def command(size: int, *arguments: str) -> list[str]:
        return [
            sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={size}", "--master-addr=127.0.0.1",
            f"--master-port={free_port()}", *arguments,
        ]  # fmt: skip

    os.environ.setdefault("OMP_NUM_THREADS", "1")
    return command
