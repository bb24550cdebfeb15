"""What the modular loss costs: a training step under it over one of the same ensemble under independent losses."""

import argparse
import sys
import time
from collections.abc import Callable

import torch
from _harness import ratios_in_turn, record

import motet
from motet.objectives import Independent, Objective
from motet.objectives.modular import Joint, Modular

ROUNDS = 101
OBJECTIVES: dict[str, Objective] = {
    "independent": Independent(reduction="mean"),
    "modular": Modular(lam=0.95),
    "joint": Joint(),
}


def main() -> int:
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    arguments, sys.argv[1:] = parser.parse_known_args()
    torch.set_num_threads(1)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    image = torch.zeros(1, 1, 28, 28)
    ensembles: dict[str, tuple[motet.Method, torch.nn.Module, int, int]] = {
        # S3, section 4.1: the same number of parameters in many small modules or few larger ones.
        "mlp_256x4": (
            motet.ModularNetwork(members=256),
            motet.models.mlp(input_shape=(1, 28, 28), num_classes=10, hidden=(4,)),
            100,
            10,
        ),
        "mlp_64x16": (
            motet.ModularNetwork(members=64),
            motet.models.mlp(input_shape=(1, 28, 28), num_classes=10, hidden=(16,)),
            100,
            10,
        ),
        "mlp_16x64": (
            motet.ModularNetwork(members=16),
            motet.models.mlp(input_shape=(1, 28, 28), num_classes=10, hidden=(64,)),
            100,
            10,
        ),
        "multihead_cnn": (
            motet.Multihead(members=4),
            motet.models.small_cnn(in_channels=1, num_classes=10),
            100,
            10,
        ),
    }
    result = {}
    for name, (method, model, batch, classes) in ensembles.items():
        x, y = torch.randn(batch, 1, 28, 28, device=device), torch.randint(classes, (batch,), device=device)
        run = {}
        for kind, objective in OBJECTIVES.items():
            torch.manual_seed(0)
            ensemble = method.wrap(model, example=image, objective=objective).to(device).train()
            run[kind] = step(ensemble, x, y)
        for once in run.values():
            once()
        result[name] = ratios_in_turn(run, baseline="independent", rounds=arguments.rounds)
        print(name, {kind: round(float(row["ratio"]), 3) for kind, row in result[name].items()})  # type: ignore[arg-type]
    settings = {"rounds": arguments.rounds, "device": device, "threads": torch.get_num_threads(), "batch": 100}
    bounds = {f"{name}.{kind}.ratio": 1.1 for name in ensembles for kind in ("modular", "joint")}
    return record("modular_loss", settings, result, bounds=bounds)


def step(ensemble: motet.Ensemble, x: torch.Tensor, y: torch.Tensor) -> Callable[[], float]:
    optimizer = torch.optim.SGD(ensemble.parameters(), lr=0.01, momentum=0.9)

    def once() -> float:
        started = time.perf_counter()
        ensemble.loss(x, y).backward()
        optimizer.step()
        optimizer.zero_grad()
        if x.is_cuda:
            torch.cuda.synchronize()
        return time.perf_counter() - started

    return once


if __name__ == "__main__":
    sys.exit(main())
