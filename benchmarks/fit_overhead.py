"""What `fit` adds to a training step: against the shortest plain-torch loop for the same model, data and optimiser."""

import sys
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from _harness import ratios_in_turn, record
from torch import nn
from torch.nn import functional as F  # noqa: N812

import motet
from motet.data import Dataset, Split

ROUNDS = 61
BATCH = 32
STEPS = 32
MODELS = {
    "mlp": lambda: motet.models.mlp(input_shape=(1, 8, 8), num_classes=10),
    "small_cnn": lambda: motet.models.small_cnn(num_classes=10, in_channels=1, width=4),
    "wrn_10_1": lambda: motet.models.wide_resnet(depth=10, width=1, num_classes=10, in_channels=1),
}


def main() -> int:
    torch.set_num_threads(1)  # two threads on a shared machine wait for each other, which drowns what is measured
    digits = motet.data.digits()
    # Whole batches, and next to no validation: the benchmark is of the training step.
    rows = BATCH * STEPS
    one = Split(inputs=digits.validation.inputs[:1], targets=digits.validation.targets[:1])
    data = replace(
        digits, train=Split(inputs=digits.train.inputs[:rows], targets=digits.train.targets[:rows]), validation=one
    )
    result = {}
    for name, make in MODELS.items():
        run = {"plain": plain_epoch(make(), data), "fit": fit_epochs(make(), data)}
        for once in run.values():
            once()
        result[name] = ratios_in_turn(run, baseline="plain", rounds=ROUNDS)
        print(name, result[name]["fit"])
    settings = {"data": "digits", "batch": BATCH, "steps": STEPS, "rounds": ROUNDS, "optimizer": "SGD, Nesterov"}
    return record("fit_overhead", settings, result, bounds={f"{name}.fit.ratio": 1.05 for name in MODELS})


def plain_epoch(network: nn.Module, data: Dataset) -> Callable[[], float]:
    x, y = data.prepare(data.train.inputs), data.train.targets
    optimizer = torch.optim.SGD(network.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4)

    def once() -> float:
        start = time.perf_counter()
        order = torch.randperm(len(x))
        for step in range(STEPS):
            rows = order[step * BATCH : (step + 1) * BATCH]
            loss = F.cross_entropy(network(x[rows]), y[rows])
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        return (time.perf_counter() - start) / STEPS

    return once


def fit_epochs(network: nn.Module, data: Dataset) -> Callable[[], float]:
    ensemble = motet.Single().wrap(network, example=data.prepare(data.train.inputs[:1]))
    training = motet.Training(epochs=2, batch_size=BATCH, learning_rate=0.05, schedule="constant")

    def once() -> float:
        # `fit` says itself how long its steps took, everything between the first batch and the last step included.
        history = motet.fit(ensemble, data, training, progress=False)
        return float(history[-1]["seconds"]) / STEPS

    return once


if __name__ == "__main__":
    sys.exit(main())
