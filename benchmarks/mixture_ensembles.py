"""What mixing templates costs: MixtureEnsembles folded over M passes of the single network, and its training step.

WRN-16-4, M=4, 32x32, batch 32, in turn. The training step is that of `DeepEnsemble`, which has the members' weights
as they are; the difference is what mixing them takes, forwards and backwards.
"""

import sys
import time
from collections.abc import Callable

import torch
from _harness import ratios_in_turn, record

import motet
from motet.ensemble import Ensemble

ROUNDS = 11
TRAINING_ROUNDS = 7
MEMBERS = 4
BATCH = 32


def main() -> int:
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.manual_seed(0)
    torch.set_num_threads(1 if device == "cpu" else torch.get_num_threads())
    x, y = torch.randn(BATCH, 3, 32, 32, device=device), torch.randint(10, (BATCH,), device=device)
    single = motet.models.wide_resnet(depth=16, width=4, num_classes=10).eval()
    ensembles = {
        name: method.wrap(single, example=x[:1].cpu(), init="fresh").to(device)
        for name, method in {
            "mixture": motet.MixtureEnsembles(members=MEMBERS),
            "mixture_blob": motet.MixtureEnsembles(members=MEMBERS, sharing="blob"),
            "deep_ensemble": motet.DeepEnsemble(members=MEMBERS),
        }.items()
    }
    single.to(device)
    folded = {name: ensemble.eval().fold() for name, ensemble in ensembles.items()}
    with torch.inference_mode():
        difference = (ensembles["mixture"](x) - folded["mixture"](x)).abs().max().item()
    passes: dict[str, Callable[[], object]] = {
        "passes": lambda: [single(x) for _ in range(MEMBERS)],
        "mixture_folded": lambda: folded["mixture"](x),
        "mixture_blob_folded": lambda: folded["mixture_blob"](x),
        "mixture": lambda: ensembles["mixture"](x),
    }
    latency = measured({name: timed(run, x) for name, run in passes.items()}, baseline="passes", rounds=ROUNDS)
    steps = {name: step(ensemble.train(), x, y) for name, ensemble in ensembles.items()}
    training = measured(steps, baseline="deep_ensemble", rounds=TRAINING_ROUNDS)
    for name, entry in training.items():
        print(f"training step, {name}: {entry['ratio']:.3f} {entry['ratio_quartiles']}")
    settings = {
        "model": "wide_resnet(depth=16, width=4)", "members": MEMBERS, "batch": BATCH, "input": [3, 32, 32],
        "rounds": ROUNDS, "training_rounds": TRAINING_ROUNDS, "device": device, "threads": torch.get_num_threads(),
    }  # fmt: skip
    result = {"latency": latency, "training": training, "largest_difference_from_forward": difference}
    bounds = {"latency.mixture_folded.ratio": 1.05, "largest_difference_from_forward": 1e-4}
    return record("mixture_ensembles", settings, result, bounds=bounds)


def measured(
    run: dict[str, Callable[[], float]], *, baseline: str, rounds: int
) -> dict[str, dict[str, float | list[float]]]:
    for once in run.values():
        once()
    return ratios_in_turn(run, baseline=baseline, rounds=rounds)


def timed(run: Callable[[], object], x: torch.Tensor, *, inference: bool = True) -> Callable[[], float]:
    def once() -> float:
        with torch.inference_mode(inference):
            if x.is_cuda:
                torch.cuda.synchronize()
            start = time.perf_counter()
            run()
            if x.is_cuda:
                torch.cuda.synchronize()
            return time.perf_counter() - start

    return once


def step(ensemble: Ensemble, x: torch.Tensor, y: torch.Tensor) -> Callable[[], float]:
    optimizer = torch.optim.SGD(ensemble.parameter_groups(weight_decay=5e-4), lr=0.01, momentum=0.9, nesterov=True)

    def run() -> None:
        ensemble.loss(x, y).backward()
        optimizer.step()
        optimizer.zero_grad()

    return timed(run, x, inference=False)


if __name__ == "__main__":
    sys.exit(main())
