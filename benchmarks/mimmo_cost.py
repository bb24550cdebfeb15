"""MIMMO's exits cost what their operations say: forward time and training step over the base network's, in turn."""

import argparse
import sys
import time
from collections.abc import Callable

import torch
from _harness import ratios_in_turn, record
from torch import nn
from torch.nn import functional as F  # noqa: N812

import motet

ROUNDS = 41
TRAINING_ROUNDS = 11
MEMBERS = 2
BATCH = 64
CLASSES = 100
# Operations of MIMMO (M=2) over those of the base network in the paper's table 1, in its convention.
PAPERS_RATIO = 172.82 / 109.85


def main() -> int:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    arguments, sys.argv[1:] = parser.parse_known_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    x, y = torch.randn(BATCH, 3, 32, 32, device=device), torch.randint(CLASSES, (BATCH,), device=device)
    base = motet.models.mimmo_resnet(num_classes=CLASSES)
    mimmo = motet.MIMMO(members=MEMBERS).wrap(base, example=x[:1].cpu()).to(device).eval()
    base = base.to(device).eval()
    folded = mimmo.fold()
    with torch.inference_mode():
        fast = folded(x)
    difference = (fast - mimmo(x)).abs().max().item()  # with gradients every layer runs on its own
    networks: dict[str, nn.Module] = {"base": base, "mimmo": mimmo, "mimmo_folded": folded}
    run = {name: forward(network, x) for name, network in networks.items()}
    for once in run.values():
        once()
    latency = ratios_in_turn(run, baseline="base", rounds=arguments.rounds)
    # One example a row and no repetition, for both: the same number of rows in a step.
    rows = motet.MIMMO(members=MEMBERS, batch_repetition=1).wrap(base.cpu(), example=x[:1].cpu()).to(device).train()
    base = base.to(device).train()
    steps = {
        "base": step(base, lambda: F.cross_entropy(base(x), y), x),
        "mimmo": step(rows, lambda: rows.loss(x, y), x),
    }
    for once in steps.values():
        once()
    training = ratios_in_turn(steps, baseline="base", rounds=max(2, min(arguments.rounds, TRAINING_ROUNDS)))
    settings = {
        "model": "mimmo_resnet(num_classes=100)", "members": MEMBERS, "batch": BATCH, "input": [3, 32, 32],
        "rounds": arguments.rounds, "device": device, "threads": torch.get_num_threads(),
    }  # fmt: skip
    over_paper = {
        name: float(latency[name]["ratio"]) / PAPERS_RATIO  # type: ignore[arg-type]
        for name in ("mimmo", "mimmo_folded")
    }
    result = {
        "latency": latency,
        "papers_ratio_of_operations": PAPERS_RATIO,
        "latency_over_papers_ratio": over_paper,
        "training_step": training,
        "largest_difference_from_layer_by_layer": difference,
    }
    bounds = {
        "latency_over_papers_ratio.mimmo": 1.05,
        "latency_over_papers_ratio.mimmo_folded": 1.05,
        "largest_difference_from_layer_by_layer": 1e-4,
    }
    print(f"training step over the base network's: {training['mimmo']['ratio']:.3f}")
    return record("mimmo_cost", settings, result, bounds=bounds)


def forward(network: nn.Module, x: torch.Tensor) -> Callable[[], float]:
    def once() -> float:
        with torch.inference_mode():
            return timed(lambda: network(x), x)

    return once


def step(network: nn.Module, loss: Callable[[], torch.Tensor], x: torch.Tensor) -> Callable[[], float]:
    optimizer = torch.optim.Adam(network.parameters(), lr=0.0)

    def whole() -> None:
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    return lambda: timed(whole, x)


def timed(call: Callable[[], object], x: torch.Tensor) -> float:
    if x.is_cuda:
        torch.cuda.synchronize()
    start = time.perf_counter()
    call()
    if x.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())
