"""The first anytime prediction costs at most one member: its time over `predict` of one member's network, in turn.

The same network without a `Prediction` around it stands beside it: on networks of a millisecond that shows.
"""

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from _harness import ratios_in_turn, record
from torch import nn

import motet

ROUNDS = 61
MEMBERS = 4
BATCH = 32
CLASSES = 10
# Passes in one timing, so that it lasts long enough to be told from noise.
PASSES = {"mlp": 20, "wrn_10_1": 2, "wrn_16_4": 1}
# What a generator, a prediction and its buffer may cost beside the pass itself.
AT_MOST = 1.05


def main() -> int:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    arguments, sys.argv[1:] = parser.parse_known_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cpu":
        torch.set_num_threads(1)
    torch.manual_seed(0)
    models: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
        "mlp": (motet.models.mlp(input_shape=(784,), num_classes=CLASSES, hidden=(256, 256)), (784,)),
        "wrn_10_1": (motet.models.wide_resnet(depth=10, width=1, num_classes=CLASSES), (3, 32, 32)),
        "wrn_16_4": (motet.models.wide_resnet(depth=16, width=4, num_classes=CLASSES), (3, 32, 32)),
    }
    result: dict[str, Any] = {}
    bounds: dict[str, float] = {}
    for name, (model, shape) in models.items():
        x = torch.randn(BATCH, *shape, device=device)
        found = against_one_member(model, x, passes=PASSES[name], rounds=arguments.rounds)
        result[name] = found
        print(name, found, flush=True)
        # Unfolded, BatchEnsemble writes a member's weights out first: measured, and not bounded.
        bounds |= {f"{name}.{each}.ratio": AT_MOST for each in found["names"] if not each.endswith("unfolded")}
        bounds[f"{name}.largest_difference"] = 1e-4
    settings = {
        "members": MEMBERS, "batch": BATCH, "rounds": arguments.rounds, "passes": PASSES, "device": device,
        "threads": torch.get_num_threads(), "baseline": "predict of the first member's network",
    }  # fmt: skip
    return record("anytime", settings, result, bounds=bounds)


def against_one_member(model: nn.Module, x: torch.Tensor, *, passes: int, rounds: int) -> dict[str, Any]:
    """First prediction over one member's pass, and all steps over one `predict`."""
    ensembles = {
        "stacked": motet.DeepEnsemble(members=MEMBERS, execution="stacked"),
        "loop": motet.DeepEnsemble(members=MEMBERS, execution="loop"),
        "batch_ensemble": motet.BatchEnsemble(members=MEMBERS),
        "batch_ensemble_unfolded": motet.BatchEnsemble(members=MEMBERS),
        "early_exit": motet.EarlyExit(),
    }
    found: dict[str, Any] = {"names": list(ensembles)}
    difference = 0.0
    for name, method in ensembles.items():
        ensemble = method.wrap(model.cpu(), example=x[:1].cpu()).to(x.device).eval()
        member = ensemble.member(0).eval()
        alone = motet.Single().wrap(member, example=x[:1]).eval()
        if name == "batch_ensemble":
            ensemble = ensemble.fold()
        first = next(iter(ensemble.anytime(x))).outputs_BMC[:, 0]
        if name != "early_exit":
            with torch.no_grad():
                difference = max(difference, float((first - member(x)).abs().max()))
        run = {
            "one": timed(lambda alone=alone: alone.predict(x), x, passes),
            "network": timed(lambda member=member: member(x), x, passes),
            "first": timed(lambda ensemble=ensemble: next(ensemble.anytime(x)), x, passes),
        }
        for once in run.values():
            once()
        table = ratios_in_turn(run, baseline="one", rounds=rounds)
        table["network"]["ratio"] = table["first"]["seconds"] / table["network"]["seconds"]
        every = {
            "predict": timed(lambda ensemble=ensemble: ensemble.predict(x), x, 1),
            "steps": timed(lambda ensemble=ensemble: list(ensemble.anytime(x)), x, 1),
        }
        for once in every.values():
            once()
        whole = ratios_in_turn(every, baseline="predict", rounds=max(2, rounds // 4))
        found[name] = table["first"] | {
            "over_network": table["network"]["ratio"],
            "all_steps_over_predict": whole["steps"]["ratio"],
        }
    found["largest_difference"] = difference
    return found


def timed(work: Callable[[], object], x: torch.Tensor, passes: int) -> Callable[[], float]:
    def once() -> float:
        with torch.no_grad():
            if x.is_cuda:
                torch.cuda.synchronize()
            start = time.perf_counter()
            for _ in range(passes):
                work()
            if x.is_cuda:
                torch.cuda.synchronize()
            return time.perf_counter() - start

    return once


if __name__ == "__main__":
    sys.exit(main())
