"""What becomes of torch's state and of a network's own code when a pass is paused, each fact found by a run."""

import gc
import threading
from collections.abc import Callable
from contextlib import closing, nullcontext
from typing import Any

import torch
from _pausing import by_cache, by_greenlet, surroundings
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.overrides import TorchFunctionMode

import motet
from motet.layers import Exits, exits_stepwise


class Within(nn.Module):
    """Runs its body, with the exit inside, in a context of its own."""

    def __init__(self, context: Callable[[], Any] = nullcontext) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 8), nn.ReLU())
        self.head = nn.Linear(8, 3)
        self.context = context
        self.seen: list[str] = []

    def forward(self, x: Tensor) -> Tensor:
        with self.context():
            h = self.body(x)
            self.seen.append(surroundings())
        out: Tensor = self.head(h.float())
        return out


class Counts(nn.Module):
    """Counts how often the code between its modules runs."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.body, self.head = nn.Linear(4, 8), nn.Sequential(nn.Linear(8, 8), nn.ReLU()), nn.Linear(8, 3)
        self.count = 0

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        self.count += 1
        out: Tensor = self.head(self.body(F.relu(h)))
        return out


def exits_of(model: nn.Module) -> Exits:
    network = motet.EarlyExit(exits=("body",)).wrap(model, example=torch.zeros(1, 4)).eval().network
    assert isinstance(network, Exits)
    return network


def paused(way: Any, context: Callable[[], Any]) -> dict[str, str]:
    """The state of the caller while the pass is paused in `context`, and of the network when it goes on."""
    exits = exits_of(Within())
    exits.network.context = context  # type: ignore[assignment]
    with closing(way(exits, torch.ones(2, 4), (0, 1))) as steps:
        next(steps)
        caller = surroundings()
        exits.network.seen.clear()  # type: ignore[union-attr, operator]
        next(steps)
        return {"caller_while_paused": caller, "network_when_it_goes_on": exits.network.seen[0]}  # type: ignore[index]


class Watching(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return func(*args, **(kwargs or {}))


def autocast() -> Any:
    return torch.autocast("cpu", dtype=torch.bfloat16)


def in_callers(way: Any, context: Callable[[], Any]) -> bool:
    """Whether the second exit is the same when the caller leaves `context` after the first."""
    exits, x = exits_of(Within()), torch.randn(2, 4)
    with context():
        whole = list(way(exits, x, (0, 1)))
    with context():
        steps = way(exits, x, (0, 1))
        next(steps)
    return torch.equal(next(steps), whole[1])


def runs_once(way: Any) -> bool:
    exits = exits_of(Counts())
    network: Any = exits.network
    network.count = 0
    list(way(exits, torch.ones(2, 4), (0, 1)))
    return bool(network.count == 1)


def in_another_thread(way: Any) -> bool:
    exits, x = exits_of(Within()), torch.ones(2, 4)
    steps = way(exits, x, (0, 1))
    next(steps)
    results: list[Any] = []

    def go_on() -> None:
        try:
            results.append(next(steps))
        except BaseException as error:
            results.append(error)

    thread = threading.Thread(target=go_on)
    thread.start()
    thread.join()
    if isinstance(results[0], BaseException):
        raise results[0]
    return True


def abandoned(way: Any) -> bool:
    """Whether what was paused has ended, with its `finally`, once nothing refers to it."""
    ended = []

    class Context:
        def __enter__(self) -> None:
            pass

        def __exit__(self, *_: object) -> None:
            ended.append(True)

    exits = exits_of(Within())
    exits.network.context = Context  # type: ignore[assignment]
    steps = way(exits, torch.ones(2, 4), (0, 1))
    next(steps)
    del steps
    gc.collect()
    return bool(ended)


WAYS: dict[str, Any] = {"thread": exits_stepwise, "greenlet": by_greenlet, "cache": by_cache}
FACTS: dict[str, Callable[[], object]] = {}
for _name, _way in WAYS.items():
    FACTS |= {
        f"{_name}_paused_in_enable_grad": lambda way=_way: paused(way, torch.enable_grad),
        f"{_name}_paused_in_inference_mode": lambda way=_way: paused(way, torch.inference_mode),
        f"{_name}_paused_in_autocast": lambda way=_way: paused(way, autocast),
        f"{_name}_paused_in_a_torch_function_mode": lambda way=_way: paused(way, Watching),
        f"{_name}_same_when_the_caller_leaves_autocast": lambda way=_way: in_callers(way, autocast),
        f"{_name}_same_when_the_caller_leaves_inference_mode": lambda way=_way: in_callers(way, torch.inference_mode),
        f"{_name}_code_between_modules_runs_once": lambda way=_way: runs_once(way),
        f"{_name}_goes_on_in_another_thread": lambda way=_way: in_another_thread(way),
        f"{_name}_abandoned_ends_at_once": lambda way=_way: abandoned(way),
    }
