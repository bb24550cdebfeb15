"""A network with exits, run from exit to exit."""

import threading
from collections.abc import Callable, Generator
from contextlib import ExitStack
from functools import partial
from queue import SimpleQueue
from typing import Any, final

import torch
from torch import Tensor, nn

from motet._internal.evaluation_mode import evaluating
from motet.errors import InputError
from motet.layers.exits.exits import Exits, read_exit


def exits_stepwise(exits: Exits, x: Tensor, depths: tuple[int, ...]) -> Generator[Tensor, Tensor | None, None]:
    """Run the network once, and stop at each of `depths` to hand out its rows ``(M B, C)``; without gradients.

    No work is done beyond the exit that was handed out last, and none twice. Nothing can be paused inside a network
    whose code is its own but a thread: it runs in one, which waits at the exits, and which ends, and is waited for,
    when the generator ends or is closed, as happens when it is abandoned. Between exits the network is as the user
    left it, in its modes and without hooks.

    Args:
        exits: the network and its heads.
        x: rows ``(B, ...)`` that all members share.
        depths: of the exits, in order.

    Yields:
        Rows of the exit at each depth. Sent the indices of rows ``(B',)``, the network goes on with these alone.

    Raises:
        InputError: if a point with an exit does not run.
    """
    run = _Run(exits, x, depths)
    try:
        for depth in depths:
            with evaluating(exits):
                rows = run.until(depth)
            kept = yield rows
            if kept is not None:  # sent, for which a generator has to yield once more
                run.kept = kept
                yield rows
    finally:
        run.stop()


class _StoppedError(Exception):
    """The network need not be run further."""


@final
class _Run:
    """One pass, in a thread of its own, which runs only while `until` waits for it."""

    def __init__(self, exits: Exits, x: Tensor, depths: tuple[int, ...]) -> None:
        self.exits, self.x, self.last = exits, x, depths[-1]
        self.kept: Tensor | None = None
        self.go: SimpleQueue[bool] = SimpleQueue()
        self.done: SimpleQueue[tuple[int, Tensor | BaseException]] = SimpleQueue()
        # What torch, and OpenMP below it, keep for each thread by itself.
        self.surroundings, self.threads = _surroundings(x), torch.get_num_threads()
        self.thread = threading.Thread(target=self.work, name="motet exits", daemon=True)
        self.taps = [
            (exits.network.get_submodule(exits.points[depth]), partial(self.at_point, depth))
            for depth in depths
            if depth < len(exits.points)
        ]

    def until(self, depth: int) -> Tensor:
        if self.thread.ident is None:
            self.thread.start()
        # For this stretch only: hooks that stay would travel with every copy of the network that a user makes.
        handles = [module.register_forward_hook(hook) for module, hook in self.taps]
        try:
            self.go.put(True)
            reached, result = self.done.get()
        finally:
            for handle in handles:
                handle.remove()
        if isinstance(result, BaseException):
            raise result
        if reached != depth:
            raise InputError(
                "each point with an exit must run in every pass",
                got=f"{self.exits.points[depth]!r}, which did not",
                fix="Name another point in exits",
            )
        return result

    def stop(self) -> None:
        if self.thread.is_alive():
            self.go.put(False)
            self.thread.join()

    def work(self) -> None:
        try:
            if not self.go.get():
                return
            torch.set_num_threads(self.threads)
            with ExitStack() as stack:
                for enter in self.surroundings:
                    stack.enter_context(enter())
                rows: Tensor = self.exits.network(self.x)
            self.done.put((len(self.exits.points), rows))
        except _StoppedError:
            pass
        except BaseException as error:  # whatever it is, it is raised where the rows are asked for
            self.done.put((-1, error))

    def at_point(self, depth: int, _: nn.Module, args: Any, output: Tensor) -> Tensor | None:
        if threading.get_ident() != self.thread.ident:
            return None  # another pass
        self.done.put((depth, read_exit(self.exits, depth, output)))
        if depth == self.last or not self.go.get():
            raise _StoppedError
        kept, self.kept = self.kept, None
        return output if kept is None else output[kept]


def _surroundings(x: Tensor) -> list[Callable[[], Any]]:
    device = x.device.type
    found: list[Callable[[], Any]] = [torch.no_grad]
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        found.append(partial(torch.autocast, device, dtype=torch.get_autocast_dtype(device)))
    if x.is_cuda:
        found.append(partial(torch.cuda.stream, torch.cuda.current_stream(x.device)))
    return found
