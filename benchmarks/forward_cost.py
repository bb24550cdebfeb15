"""What a prediction costs: forward time of every method, folded, over the single network's.

ResNet-18 with a CIFAR stem, batch 32, as another library was measured on this kind of machine (torch-uncertainty 0.13,
its figures stand in PEER).
"""

import sys
import time
from collections.abc import Callable
from dataclasses import fields

import torch
from _harness import ratios_in_turn, record
from _resnet18 import resnet18
from torch import nn

from motet.methods import METHODS, Method

ROUNDS = 15
MEMBERS = 4
BATCH = 32
PEER = {"mimo": 1.02, "batch-ensemble": 6.72, "deep-ensemble": 4.00, "mc-dropout": 4.94}


def main() -> int:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    torch.set_num_threads(1 if device == "cpu" else torch.get_num_threads())
    x = torch.randn(BATCH, 3, 32, 32)
    plain = resnet18().eval()
    networks: dict[str, nn.Module] = {"plain": plain}
    for name, kind in METHODS.items():
        networks[name] = of_size(kind).wrap(plain, example=x[:1], init="fresh").eval().fold()
    x = x.to(device)
    run = {name: forward(network.to(device), x) for name, network in networks.items()}
    for once in run.values():
        once()
    result = ratios_in_turn(run, baseline="plain", rounds=ROUNDS)
    settings = {
        "model": "ResNet-18, CIFAR stem", "members": MEMBERS, "batch": BATCH, "input": [3, 32, 32], "rounds": ROUNDS,
        "device": device, "threads": torch.get_num_threads(), "peer": PEER, "peer_is": "torch-uncertainty 0.13",
    }  # fmt: skip
    # A deep ensemble's four passes are four passes: what is left to be better in is what stands around them.
    bounds = {
        f"latency.{name}.ratio": ratio * (1.02 if name == "deep-ensemble" else 1.0) for name, ratio in PEER.items()
    }
    return record("forward_cost", settings, {"latency": result}, bounds=bounds)


def of_size(kind: type[Method]) -> Method:
    size = next((item.name for item in fields(kind) if item.name == "members"), None)
    return kind(**({size: MEMBERS} if size else {}))  # type: ignore[arg-type]


def forward(network: nn.Module, x: torch.Tensor) -> Callable[[], float]:
    def once() -> float:
        with torch.inference_mode():
            if x.is_cuda:
                torch.cuda.synchronize()
            start = time.perf_counter()
            network(x)
            if x.is_cuda:
                torch.cuda.synchronize()
            return time.perf_counter() - start

    return once


if __name__ == "__main__":
    sys.exit(main())
