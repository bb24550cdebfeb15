"""M networks on a CUDA device: motet's stack and torch.func with vmap, against the loop over networks.

The same question as `stacked_against_vmap.py`, on an accelerator: `layers/stacked/stack.py` runs convolutions in turn
there, because they had not been measured. Seconds are wall time between two synchronisations of the device.
"""

import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from _harness import ratios_in_turn, record
from _vmap_facts import Fleet
from stacked_against_vmap import CLASSES, resnet, small, step, train
from torch import Tensor, nn

import motet
from motet.models import small_cnn, wide_resnet
from motet.surgery import member_network

DEVICE = "cuda"
ROUNDS = 11
SECONDS = 0.05
# name: (model, input shape, rows, members)
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int, int]] = {
    "mlp_16_of_64": (small(64), (784,), 128, 16),
    "mlp_64_of_4": (small(4), (784,), 128, 64),
    "mlp_256_of_4": (small(4), (784,), 128, 256),
    "small_cnn_32": (lambda: small_cnn(num_classes=CLASSES), (3, 32, 32), 128, 4),
    "wrn_16_1_32": (resnet(16), (3, 32, 32), 128, 4),
    "wrn_16_1_32_of_16": (resnet(16), (3, 32, 32), 128, 16),
    "wrn_16_4_32": (lambda: wide_resnet(depth=16, width=4, num_classes=CLASSES), (3, 32, 32), 128, 4),
    "wrn_28_10_32": (lambda: wide_resnet(depth=28, width=10, num_classes=CLASSES), (3, 32, 32), 64, 4),
}


def main() -> int:
    if DEVICE == "cuda" and not torch.cuda.is_available():
        print("needs a CUDA device", file=sys.stderr)
        return 0
    torch.manual_seed(0)
    result = {}
    for name, case in NETWORKS.items():
        result[name] = compared(*case)
        print(
            name, {way: {n: round(v["ratio"], 3) for n, v in result[name][way].items()} for way in ("step", "forward")}
        )
    settings = {
        "rounds": ROUNDS, "clock": "wall time, synchronised", "baseline": "loop", "classes": CLASSES,
        "rows_and_members": {name: [rows, members] for name, (_, _, rows, members) in NETWORKS.items()},
        "step": "forward and backward, no optimiser", "forward": "evaluation, without gradients",
        "precision": "float32, TensorFloat-32 as torch has it by default", "memory": "peak beyond what was held before",
    }  # fmt: skip
    return record("stacked_on_cuda", settings, result, bounds={})


def compared(make: Callable[[], nn.Module], shape: tuple[int, ...], rows: int, members: int) -> dict[str, Any]:
    x, y = torch.randn(rows, *shape), torch.randint(CLASSES, (rows,))
    stacked = motet.DeepEnsemble(members=members, execution="stacked").wrap(make(), example=x[:1])
    networks = [member_network(stacked.network, member).to(DEVICE) for member in range(members)]
    stacked, x, y = stacked.to(DEVICE), x.to(DEVICE), y.to(DEVICE)
    fleet = Fleet(networks)
    outputs: dict[str, Callable[[], Tensor]] = {
        "loop": lambda: torch.stack([network(x) for network in networks], 1),
        "stacked": lambda: stacked(x),
        "vmap": lambda: fleet(x).transpose(0, 1),
    }
    parameters: dict[str, list[Tensor]] = {
        "loop": [parameter for network in networks for parameter in network.parameters()],
        "stacked": list(stacked.parameters()),
        "vmap": list(fleet.parameters.values()),
    }
    modules = (stacked, fleet.code, *networks)
    train(modules, True)
    expected = outputs["loop"]()
    size = float(expected.detach().abs().max())
    difference = max(float((outputs[name]() - expected).detach().abs().max()) / size for name in ("stacked", "vmap"))
    steps = {name: step(output, y, parameters[name]) for name, output in outputs.items()}
    found: dict[str, Any] = {"largest_difference": difference, "step": measured(steps)}
    found["peak_bytes"] = {name: peak(steps[name], parameters.values()) for name in steps}
    train(modules, False)
    with torch.no_grad():
        found["forward"] = measured(dict(outputs))
    return found


def peak(once: Callable[[], None], every: Any) -> int:
    for parameters in every:
        for parameter in parameters:
            parameter.grad = None
    if DEVICE == "cpu":
        return 0
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    once()
    return torch.cuda.max_memory_allocated() - before


def measured(ways: dict[str, Callable[[], object]]) -> dict[str, Any]:
    def timed(once: Callable[[], object], repeats: int) -> float:
        synchronise()
        start = time.perf_counter()
        for _ in range(repeats):
            once()
        synchronise()
        return (time.perf_counter() - start) / repeats

    repeats = {}
    for name, once in ways.items():
        timed(once, 3)
        repeats[name] = max(1, round(SECONDS / timed(once, 3)))
    run = {name: lambda name=name, once=once: timed(once, repeats[name]) for name, once in ways.items()}
    return dict(ratios_in_turn(run, baseline="loop", rounds=ROUNDS))


def synchronise() -> None:
    if DEVICE == "cuda":
        torch.cuda.synchronize()


if __name__ == "__main__":
    sys.exit(main())
