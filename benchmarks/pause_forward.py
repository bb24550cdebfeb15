"""Ways to pause a forward pass at exits, so that nothing runs twice: over one pass that reads all exits.

`thread` is motet's `exits_stepwise`; `greenlet` does the same by switching stacks; `cache` ends the pass with an error
and begins again with the outputs of the modules that had finished; `parts` calls the modules of an nn.Sequential, and
knows no other network. Skipped where greenlet cannot be imported.
"""

import importlib.metadata
import importlib.util
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
from _harness import found, ratios_in_turn, record
from _pausing import by_cache, by_greenlet, by_parts
from torch import Tensor, nn

import motet
from motet.layers import Exits, exits_stepwise

ROUNDS = 61
# Passes in one timing, so that it lasts long enough to be told from noise.
PASSES = {"mlp_256_256": 10, "mlp_64_x8": 10, "wrn_16_1_32": 1}
BATCH = 32
Way = Callable[[Exits, Tensor, tuple[int, ...]], Iterator[Tensor]]
WAYS: dict[str, Way] = {"thread": exits_stepwise, "greenlet": by_greenlet, "cache": by_cache, "parts": by_parts}


def main() -> int:
    if importlib.util.find_spec("greenlet") is None:
        print("skipped: greenlet is not installed, and nothing of motet needs it")
        return 0
    from _pausing_facts import FACTS  # noqa: PLC0415

    torch.set_num_threads(1)
    torch.manual_seed(0)
    result: dict[str, Any] = {}
    models: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
        "mlp_256_256": (motet.models.mlp(input_shape=(784,), num_classes=10, hidden=(256, 256)), (784,)),
        "mlp_64_x8": (motet.models.mlp(input_shape=(784,), num_classes=10, hidden=(64,) * 8), (784,)),
        "wrn_16_1_32": (motet.models.wide_resnet(depth=16, width=1, num_classes=10), (3, 32, 32)),
    }
    for name, (model, shape) in models.items():
        result[name] = compared(model, torch.randn(BATCH, *shape), passes=PASSES[name])
        print(name, result[name], flush=True)
    result["facts"] = {name: found(check) for name, check in FACTS.items()}
    for name, what in result["facts"].items():
        print(name, what)
    settings = {
        "rounds": ROUNDS, "passes": PASSES, "batch": BATCH, "threads": 1, "baseline": "one pass that reads all exits",
        "clocks": "wall clock, which a thread's switches take, and process time", "method": "EarlyExit",
        "greenlet": importlib.metadata.version("greenlet"),
    }  # fmt: skip
    return record("pause_forward", settings, result, bounds={f"{name}.largest_difference": 1e-6 for name in models})


def compared(model: nn.Module, x: Tensor, *, passes: int) -> dict[str, Any]:
    ensemble = motet.EarlyExit(exits=points(model)).wrap(model, example=x[:1]).eval()
    exits = ensemble.network
    assert isinstance(exits, Exits)
    depths = tuple(range(len(exits.points) + 1))
    ways = {name: way for name, way in WAYS.items() if name != "parts" or isinstance(exits.network, nn.Sequential)}
    with torch.no_grad():
        whole = exits(x)
    difference = max(float((torch.stack(list(way(exits, x, depths)), 1) - whole).abs().max()) for way in ways.values())
    measured: dict[str, Any] = {"exits": len(depths), "largest_difference": difference}

    def pass_over() -> None:
        with torch.no_grad():
            exits(x)

    for clock in (time.perf_counter, time.process_time):
        run = {"one_pass": timed(pass_over, clock, passes)} | {
            name: timed(partial(all_steps, way, exits, x, depths), clock, passes) for name, way in ways.items()
        }
        table = ratios_in_turn(run, baseline="one_pass", rounds=ROUNDS)
        for name in ways:
            more: Any = float(table[name]["seconds"]) - float(table["one_pass"]["seconds"])  # type: ignore[arg-type]
            table[name]["microseconds_more_a_step"] = 1e6 * more / len(depths)
        measured[clock.__name__] = table
    return measured


def points(model: nn.Module) -> tuple[str, ...] | None:
    """Behind every hidden layer of an MLP; those that motet finds elsewhere."""
    if not isinstance(model, nn.Sequential) or not isinstance(model[0], nn.Linear | nn.Flatten):
        return None
    return tuple(name for name, module in model.named_children() if isinstance(module, nn.ReLU))


def all_steps(way: Way, exits: Exits, x: Tensor, depths: tuple[int, ...]) -> None:
    for _ in way(exits, x, depths):
        pass


def timed(work: Callable[[], None], clock: Callable[[], float], passes: int) -> Callable[[], float]:
    def once() -> float:
        begun = clock()
        for _ in range(passes):
            work()
        return (clock() - begun) / passes

    return once


if __name__ == "__main__":
    sys.exit(main())
