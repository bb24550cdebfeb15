"""Folded BatchEnsemble costs what its members' passes cost: forward time, M=4, 32x32, batch 32, in turn.

For information also the forward pass as it is trained, and a training step, beside four passes and four steps of the
single network. The model is ResNet-18 with a CIFAR stem.
"""

import sys
import time
from collections.abc import Callable

import torch
from _harness import ratios_in_turn, record
from _resnet18 import resnet18
from torch import nn
from torch.nn import functional as F  # noqa: N812

import motet

ROUNDS = 15
TRAINING_ROUNDS = 7
MEMBERS = 4
BATCH = 32


def main() -> int:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    torch.set_num_threads(1 if device == "cpu" else torch.get_num_threads())
    x, y = torch.randn(BATCH, 3, 32, 32, device=device), torch.randint(10, (BATCH,), device=device)
    plain = resnet18()
    ensemble = motet.BatchEnsemble(members=MEMBERS).wrap(plain, example=x[:1].cpu())
    plain, ensemble = plain.to(device).eval(), ensemble.to(device).eval()
    folded = ensemble.fold()
    run = {
        "single": forward(plain, x),
        "four_passes": forward(FourPasses(plain), x),
        "folded": forward(folded, x),
        "as_trained": forward(ensemble, x),
    }
    for once in run.values():
        once()
    latency = ratios_in_turn(run, baseline="four_passes", rounds=ROUNDS)
    with torch.inference_mode():
        expected = ensemble(x)
        difference = ((folded(x) - expected).abs().max() / expected.abs().max()).item()
    plain.train()
    ensemble.train()
    steps = {
        "four_single": step(plain, lambda: sum(F.cross_entropy(plain(x), y) for _ in range(MEMBERS))),
        "tiled": step(ensemble, lambda: ensemble.loss(x, y)),
    }
    for once in steps.values():
        once()
    training = ratios_in_turn(steps, baseline="four_single", rounds=TRAINING_ROUNDS)
    settings = {
        "model": "ResNet-18, CIFAR stem", "members": MEMBERS, "batch": BATCH, "input": [3, 32, 32], "rounds": ROUNDS,
        "training_rounds": TRAINING_ROUNDS, "device": device, "threads": torch.get_num_threads(),
    }  # fmt: skip
    for name, row in {**latency, **{f"training step, {name}": row for name, row in training.items()}}.items():
        print(f"        {name}: {row['ratio']:.3f} {row['ratio_quartiles']}")
    result = {"latency": latency, "training_step": training, "largest_relative_difference_of_fold": difference}
    bounds = {"latency.folded.ratio": 1.05, "largest_relative_difference_of_fold": 1e-4}
    return record("batch_ensemble", settings, result, bounds=bounds)


class FourPasses(nn.Module):
    """The yardstick: the single network as often as there are members, on the same input."""

    def __init__(self, single: nn.Module) -> None:
        super().__init__()
        self.single = single

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.single(x) for _ in range(MEMBERS)])


def forward(network: nn.Module, x: torch.Tensor) -> Callable[[], float]:
    def once() -> float:
        with torch.inference_mode():
            return timed(lambda: network(x), x)

    return once


def step(network: nn.Module, loss: Callable[[], torch.Tensor]) -> Callable[[], float]:
    def once() -> float:
        network.zero_grad()
        return timed(lambda: loss().backward(), next(network.parameters()))

    return once


def timed(call: Callable[[], object], where: torch.Tensor) -> float:
    if where.is_cuda:
        torch.cuda.synchronize()
    start = time.perf_counter()
    call()
    if where.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - start


if __name__ == "__main__":
    sys.exit(main())
