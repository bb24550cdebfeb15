"""M networks as one: motet's stack (members in channels) and torch.func with vmap, against the loop over networks.

`stacked` always runs the members together; `auto` is `DeepEnsemble`'s default, which stacks or loops by size; `vmap` is
PyTorch's tutorial on model ensembling. A step is forward and backward of the sum of the members' cross-entropies.
"""

import itertools
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from _harness import ratios_in_turn, record
from _vmap_facts import Fleet, facts, models
from deep_ensemble import peak_memory
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import motet
from motet.models import mlp, small_cnn, wide_resnet
from motet.surgery import member_network

CLASSES = 10
ROUNDS = 21
# A timing lasts at least so long, by repeating the pass: the clock of process time is coarse on some systems.
SECONDS = 0.01


def small(hidden: int) -> Callable[[], nn.Module]:
    return lambda: mlp(input_shape=(784,), num_classes=CLASSES, hidden=(hidden,))


def resnet(depth: int) -> Callable[[], nn.Module]:
    return lambda: wide_resnet(depth=depth, width=1, num_classes=CLASSES)


def attention() -> nn.Module:
    """What motet's stack refuses, so that `DeepEnsemble` runs it in a loop."""

    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.encode = nn.TransformerEncoderLayer(32, 4, 64, dropout=0.0, batch_first=True)
            self.head = nn.Linear(32, CLASSES)

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.head(self.encode(x).mean(1))
            return out

    return Tokens()


# name: (model, input shape, rows, members)
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int, int]] = {
    "mlp_16_of_64": (small(64), (784,), 100, 16),
    "mlp_64_of_4": (small(4), (784,), 100, 64),
    "small_cnn_8": (lambda: small_cnn(num_classes=CLASSES), (3, 8, 8), 16, 4),
    "small_cnn_32": (lambda: small_cnn(num_classes=CLASSES), (3, 32, 32), 16, 4),
    "wrn_10_1_8": (resnet(10), (3, 8, 8), 16, 4),
    "wrn_10_1_32": (resnet(10), (3, 32, 32), 16, 4),
    "wrn_16_1_8": (resnet(16), (3, 8, 8), 16, 4),
    "wrn_16_1_32": (resnet(16), (3, 32, 32), 16, 4),
    "attention_4": (attention, (16, 32), 16, 4),
    "attention_16": (attention, (16, 32), 16, 16),
}


def main() -> int:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    result: dict[str, Any] = {}
    for name, (make, shape, rows, members) in NETWORKS.items():
        result[name] = compared(make, shape, rows, members)
        print(name, shown(result[name]), flush=True)
    result["facts"], result["models"] = facts(), models()
    for fact, what in result["facts"].items():
        print(fact, what)
    for name, ways in result["models"].items():
        print(name, ways)
    bounds = {f"{name}.largest_difference": 1e-3 for name in NETWORKS}
    settings = {
        "rounds": ROUNDS, "threads": 1, "clock": "process time", "baseline": "loop", "classes": CLASSES,
        "rows_and_members": {name: [rows, members] for name, (_, _, rows, members) in NETWORKS.items()},
        "step": "forward and backward, no optimiser", "forward": "evaluation, without gradients",
        "memory": "peak of torch's allocator in a step, gradients included, beyond what was held before it",
    }  # fmt: skip
    return record("stacked_against_vmap", settings, result, bounds=bounds)


def compared(make: Callable[[], nn.Module], shape: tuple[int, ...], rows: int, members: int) -> dict[str, Any]:
    x, y = torch.randn(rows, *shape), torch.randint(CLASSES, (rows,))
    try:
        stacked = motet.DeepEnsemble(members=members, execution="stacked").wrap(make(), example=x[:1])
    except motet.InputError:
        stacked = None
    auto = motet.DeepEnsemble(members=members).wrap(make(), example=x[:1])
    networks = [member_network((stacked or auto).network, member) for member in range(members)]
    fleet = Fleet(networks)
    modules = (*([] if stacked is None else [stacked]), auto, fleet.code, *networks)
    outputs: dict[str, Callable[[], Tensor]] = {
        "loop": lambda: torch.stack([network(x) for network in networks], 1),
        "auto": lambda: auto(x),
        "vmap": lambda: fleet(x).transpose(0, 1),
    }
    if stacked is not None:
        outputs["stacked"] = lambda: stacked(x)
    train(modules, True)
    expected = outputs["loop"]()
    difference = max(
        float((outputs[name]() - expected).detach().abs().max()) for name in ("stacked", "vmap") if name in outputs
    )
    found: dict[str, Any] = {"auto": type(auto.network).__name__}
    parameters: dict[str, list[Tensor]] = {
        "loop": [parameter for network in networks for parameter in network.parameters()],
        "stacked": [] if stacked is None else list(stacked.parameters()),
        "auto": list(auto.parameters()),
        "vmap": list(fleet.parameters.values()),
    }
    steps = {name: step(output, y, parameters[name]) for name, output in outputs.items()}
    found["step"] = measured(steps)
    for parameter in itertools.chain(*parameters.values()):
        parameter.grad = None
    found["peak_bytes"] = {name: peak_memory(once) for name, once in steps.items()}
    train(modules, False)
    with torch.no_grad():
        found["forward"] = measured({name: lambda output=output: output() for name, output in outputs.items()})
    return found | {"largest_difference": difference}


def train(modules: tuple[nn.Module, ...], mode: bool) -> None:
    for module in modules:
        module.train(mode)


def step(output: Callable[[], Tensor], y: Tensor, parameters: list[Tensor]) -> Callable[[], None]:
    def once() -> None:
        for parameter in parameters:
            parameter.grad = None
        out_BMC = output()
        F.cross_entropy(out_BMC.flatten(0, 1), y.repeat_interleave(out_BMC.shape[1]), reduction="sum").backward()

    return once


def measured(ways: dict[str, Callable[[], object]]) -> dict[str, Any]:
    passes = {}
    for name, once in ways.items():
        once()
        start = time.process_time()
        once()
        passes[name] = max(1, round(SECONDS / max(1e-6, time.process_time() - start)))

    def timed(once: Callable[[], object], repeats: int) -> Callable[[], float]:
        def run() -> float:
            start = time.process_time()
            for _ in range(repeats):
                once()
            return (time.process_time() - start) / repeats

        return run

    return dict(ratios_in_turn({n: timed(once, passes[n]) for n, once in ways.items()}, baseline="loop", rounds=ROUNDS))


def shown(found: dict[str, Any]) -> str:
    parts = [
        f"{kind}: " + " ".join(f"{name} {way['ratio']:.2f}" for name, way in found[kind].items())
        for kind in ("step", "forward")
    ]
    held = found["peak_bytes"]
    return "; ".join([*parts, "memory: " + " ".join(f"{name} {held[name] / held['loop']:.2f}" for name in held)])


if __name__ == "__main__":
    sys.exit(main())
