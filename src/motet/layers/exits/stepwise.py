"""Runs a network with exits from exit to exit."""

import threading
from collections.abc import Callable, Generator
from contextlib import ExitStack
from functools import partial
from queue import SimpleQueue
from typing import Any, final

import torch
from torch import Tensor, nn

from motet._internal.evaluation_mode import evaluating
from motet._internal.nested import Inputs
from motet.errors import InputError
from motet.layers.exits.exits import Exits, read_exit, read_output


def exits_stepwise(exits: Exits, x: Inputs, depths: tuple[int, ...]) -> Generator[Tensor, Tensor | None, None]:
    """Run the network once, and yield its rows ``(M B, C)`` at each of `depths`; without gradients.

    Layers after the last requested exit do not run, and no layer runs twice. A network with its own code can only be
    paused inside a thread. So it runs in a thread that waits at the exits. The thread ends when the generator ends or
    is closed, also when it is garbage collected. Between exits the network has its own modes and no hooks.

    Args:
        exits: the network and its heads.
        x: rows ``(B, ...)`` that all members share.
        depths: the depths of the exits, in order.

    Yields:
        Rows of the exit at each depth. If row indices ``(B',)`` are sent, the network continues with only these rows.

    Raises:
        InputError: if an exit module does not run.
    """
    run = _Run(exits, x, depths)
    try:
        for depth in depths:
            with evaluating(exits):
                rows = run.until(depth)
            kept = yield rows
            if kept is not None:  # after a send, a generator has to yield once more
                run.kept = kept
                yield rows
    finally:
        run.stop()


class _StoppedError(Exception):
    """Raised inside the network when it need not run further."""


@final
class _Run:
    """One pass, in its own thread, which runs only while `until` waits for it."""

    def __init__(self, exits: Exits, x: Inputs, depths: tuple[int, ...]) -> None:
        self.exits, self.x, self.last = exits, x, depths[-1]
        self.kept: Tensor | None = None
        self.go: SimpleQueue[bool] = SimpleQueue()
        self.done: SimpleQueue[tuple[int, Tensor | BaseException]] = SimpleQueue()
        # torch, and OpenMP below it, keep this state separately for each thread
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
        # Hooks for this part only: permanent hooks would be in every copy of the network that a user makes.
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
                "every module named in the setting exits must run in each forward pass",
                got=f"{self.exits.points[depth]!r}, which did not run",
                fix="Pass exits=(...) with modules that always run",
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
                rows = read_output(self.exits, self.exits.network(self.x))
            self.done.put((len(self.exits.points), rows))
        except _StoppedError:
            pass
        except BaseException as error:  # any error is raised again in the thread that requests the rows
            self.done.put((-1, error))

    def at_point(self, depth: int, _: nn.Module, args: Any, output: Tensor) -> Tensor | None:
        if threading.get_ident() != self.thread.ident:
            return None  # another pass
        self.done.put((depth, read_exit(self.exits, depth, output)))
        if depth == self.last or not self.go.get():
            raise _StoppedError
        kept, self.kept = self.kept, None
        return output if kept is None else output[kept]


def _surroundings(x: Inputs) -> list[Callable[[], Any]]:
    device = x.device.type
    found: list[Callable[[], Any]] = [torch.no_grad]
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        found.append(partial(torch.autocast, device, dtype=torch.get_autocast_dtype(device)))
    if x.is_cuda:
        found.append(partial(torch.cuda.stream, torch.cuda.current_stream(x.device)))
    return found
