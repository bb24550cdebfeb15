"""Ways to run a network from exit to exit, each a generator of the rows of each exit, without gradients."""

from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from motet._internal.evaluation_mode import evaluating
from motet.layers import Exits
from motet.layers.exits.exits import read_exit

Depths = tuple[int, ...]


def points(exits: Exits, depths: Depths) -> list[tuple[int, nn.Module]]:
    return [(d, exits.network.get_submodule(exits.points[d])) for d in depths if d < len(exits.points)]


def by_greenlet(exits: Exits, x: Tensor, depths: Depths) -> Iterator[Tensor]:
    """The pass in a greenlet, which switches back at each exit: as motet's thread does, without a thread."""
    from greenlet import getcurrent, greenlet  # noqa: PLC0415  (the benchmark is skipped without it)

    def at_point(depth: int, _: nn.Module, args: Any, output: Tensor) -> None:
        if getcurrent() is run:
            run.parent.switch((depth, read_exit(exits, depth, output)))

    run = greenlet(lambda: (len(exits.points), exits.network(x)))
    try:
        for depth in depths:
            run.parent = getcurrent()
            handles = [module.register_forward_hook(partial(at_point, at)) for at, module in points(exits, depths)]
            try:
                with evaluating(exits), torch.no_grad():
                    reached, rows = run.switch()
            finally:
                for handle in handles:
                    handle.remove()
            assert reached == depth
            yield rows
    finally:
        if run and not run.dead:
            run.parent = getcurrent()
            run.throw()


class ReachedError(Exception):
    """An exit has been reached."""


def by_cache(exits: Exits, x: Tensor, depths: Depths) -> Iterator[Tensor]:
    """The pass ends at an exit with an error, and begins again with the outputs of the modules that had finished.

    What stands between modules runs again.
    """
    done: dict[tuple[nn.Module, int], Any] = {}

    for depth in depths:
        calls: defaultdict[nn.Module, int] = defaultdict(int)

        def cached(module: nn.Module, forward: Any, *args: Any, calls: Any = calls, **named: Any) -> Any:
            key = (module, calls[module])
            calls[module] += 1
            if key not in done:
                done[key] = forward(*args, **named)
                inner = set(module.modules()) - {module}  # not called again
                for old in [old for old in done if old[0] in inner]:
                    del done[old]
                for at, point in points(exits, (depth,)):  # noqa: B023
                    if module is point:
                        raise ReachedError(read_exit(exits, at, done[key]))
            return done[key]

        modules = [module for module in exits.network.modules() if module is not exits.network]
        for module in modules:
            module.forward = partial(cached, module, module.forward)
        try:
            with evaluating(exits), torch.no_grad():
                rows = exits.network(x)
        except ReachedError as reached:
            rows = reached.args[0]
        finally:
            for module in modules:
                del module.forward
        yield rows


def by_parts(exits: Exits, x: Tensor, depths: Depths) -> Iterator[Tensor]:
    """The modules of an nn.Sequential, one after another."""
    at = {name: depth for depth, name in enumerate(exits.points)}
    h = x
    parts = iter(exits.network.named_children())
    for depth in depths:
        with evaluating(exits), torch.no_grad():
            for name, part in parts:
                h = part(h)
                if at.get(name) == depth:
                    break
            rows = h if depth == len(exits.points) else read_exit(exits, depth, h)
        yield rows


def surroundings() -> str:
    """What of torch's state for this thread is not as a thread begins."""
    odd = {
        "no gradients": not torch.is_grad_enabled(), "inference mode": torch.is_inference_mode_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"), "a mode of its own": torch._C._len_torch_function_stack() > 0,
    }  # fmt: skip
    return ", ".join(name for name, on in odd.items() if on) or "nothing"
