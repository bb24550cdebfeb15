"""Folded MIMO costs what the single network costs: forward time of WRN-16-4, M=3, 32x32, batch 32, in turn."""

import sys
import time
from collections.abc import Callable

import torch
from _harness import ratios_in_turn, record
from torch import nn

import motet

ROUNDS = 61
MEMBERS = 3
BATCH = 32


def main() -> int:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    x = torch.randn(BATCH, 3, 32, 32, device=device)
    plain = motet.models.wide_resnet(depth=16, width=4, num_classes=10)
    mimo = motet.MIMO(members=MEMBERS).wrap(plain, example=x[:1].cpu()).eval()
    networks: dict[str, nn.Module] = {
        "plain": plain.eval(),
        "single": motet.Single().wrap(plain, example=x[:1].cpu()).eval(),
        "mimo": mimo,
        "mimo_folded": mimo.fold(),
        "deep_ensemble": motet.DeepEnsemble(members=MEMBERS).wrap(plain, example=x[:1].cpu()).eval(),
    }
    run = {name: forward(network.to(device), x) for name, network in networks.items()}
    for once in run.values():
        once()
    result = ratios_in_turn(run, baseline="plain", rounds=ROUNDS)
    tiled = x.unsqueeze(1).expand(-1, MEMBERS, *x.shape[1:])
    with torch.inference_mode():
        batch = motet.Batch(inputs=tiled, targets_BM=torch.zeros(BATCH, MEMBERS, device=device), distinct=True)
        difference = (mimo.forward_batch(batch) - networks["mimo_folded"](x)).abs().max().item()
    settings = {
        "model": "wide_resnet(depth=16, width=4)", "members": MEMBERS, "batch": BATCH, "input": [3, 32, 32],
        "rounds": ROUNDS, "device": device,
    }  # fmt: skip
    result = {"latency": result, "largest_difference_from_tiled_forward": difference}
    bounds = {"latency.mimo_folded.ratio": 1.02, "largest_difference_from_tiled_forward": 1e-5}
    return record("fold_latency", settings, result, bounds=bounds)


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
