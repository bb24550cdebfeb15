"""Deep ensembles against plain torch: a loop over networks, and one network of equal size. Time and memory."""

import sys
import time
from collections.abc import Callable, Sequence

import torch
from _harness import ratios_in_turn, record
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import motet
from motet.models import mlp, wide_resnet
from motet.surgery import member_network

CLASSES = 10
MEMBERS = 4


def resnet_stem() -> nn.Module:
    """ResNet-18 up to its second group, with the stem that is used on CIFAR."""

    class Block(nn.Module):
        def __init__(self, inputs: int, outputs: int, stride: int) -> None:
            super().__init__()
            self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
            self.bn1, self.bn2 = nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)
            self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
            self.short = (
                nn.Identity() if inputs == outputs else nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)
            )

        def forward(self, x: Tensor) -> Tensor:
            h = self.bn2(self.conv2(self.bn1(self.conv1(x)).relu()))
            return (h + self.short(x)).relu()

    return nn.Sequential(
        nn.Conv2d(3, 64, 3, padding=1, bias=False),
        nn.BatchNorm2d(64),
        nn.ReLU(),
        Block(64, 64, 1),
        Block(64, 128, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(128, CLASSES),
    )


# name: (model, input shape, rows, rounds)
NETWORKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], int, int]] = {
    "mlp_256": (lambda: mlp(input_shape=(784,), num_classes=CLASSES, hidden=(256,)), (784,), 100, 41),
    "wrn_16_1_digits": (lambda: wide_resnet(depth=16, width=1, num_classes=CLASSES), (3, 8, 8), 16, 41),
    "wrn_16_1_cifar": (lambda: wide_resnet(depth=16, width=1, num_classes=CLASSES), (3, 32, 32), 16, 21),
    "wrn_16_1_cifar_4": (lambda: wide_resnet(depth=16, width=1, num_classes=CLASSES), (3, 32, 32), 4, 21),
    "wrn_10_4_cifar": (lambda: wide_resnet(depth=10, width=4, num_classes=CLASSES), (3, 32, 32), 16, 9),
    "resnet_18_stem": (resnet_stem, (3, 32, 32), 32, 9),
}


def main() -> int:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    result: dict[str, object] = {}
    bounds: dict[str, float] = {}
    for members, hidden in ((256, 4), (16, 64)):
        name = f"mlp_{members}_of_{hidden}"
        result[name] = small_mlps(members, hidden)
        print(name, result[name], flush=True)
    bounds |= {"mlp_256_of_4.stacked.ratio": 2.0, "mlp_16_of_64.stacked.ratio": 1.2}
    bounds["mlp_256_of_4.stacked_over_loop"] = 0.1  # ten times faster
    for name, (make, shape, rows, rounds) in NETWORKS.items():
        result[name] = against_a_loop(make, shape, rows, rounds)
        print(name, result[name], flush=True)
        bounds |= {f"{name}.{key}.ensemble.ratio": 1.02 for key in ("step", "forward")}
        bounds[f"{name}.peak_memory"] = 1.1
    bounds["wrn_16_1_digits.forward.ensemble.ratio"] = 1 / 1.5
    settings = {"members": MEMBERS, "threads": 1, "optimizer": "SGD, momentum 0.9", "baseline": "plain torch"}
    return record("deep_ensemble", settings, result, bounds=bounds)


def small_mlps(members: int, hidden: int) -> dict[str, object]:
    """A training step of many small networks: stacked, and in plain torch one after another, over one large one."""
    x, y = torch.randn(100, 784), torch.randint(CLASSES, (100,))
    single = mlp(input_shape=(784,), num_classes=CLASSES, hidden=(members * hidden,))
    small = mlp(input_shape=(784,), num_classes=CLASSES, hidden=(hidden,))
    ensemble = motet.DeepEnsemble(members=members).wrap(small, example=x[:1])
    networks = [member_network(ensemble.network, member) for member in range(members)]
    steps = [step(network.parameters(), lambda network=network: F.cross_entropy(network(x), y)) for network in networks]
    run = {
        "single": timed(step(single.parameters(), lambda: F.cross_entropy(single(x), y))),
        "stacked": timed(step(ensemble.parameters(), lambda: ensemble.loss(x, y))),
        "loop": timed(lambda: [one() for one in steps]),
    }
    for once in run.values():
        once()
    table = ratios_in_turn(run, baseline="single", rounds=21)
    over_loop = ratios_in_turn({name: run[name] for name in ("loop", "stacked")}, baseline="loop", rounds=15)
    return {**table, "stacked_over_loop": over_loop["stacked"]["ratio"]}


def against_a_loop(make: Callable[[], nn.Module], shape: tuple[int, ...], rows: int, rounds: int) -> dict[str, object]:
    """A training step, a forward pass and the peak memory of a step: the ensemble over a loop over its networks."""
    x, y = torch.randn(rows, *shape), torch.randint(CLASSES, (rows,))
    ensemble = motet.DeepEnsemble(members=MEMBERS).wrap(make(), example=x[:1])
    networks = [member_network(ensemble.network, member) for member in range(MEMBERS)]
    torch.testing.assert_close(torch.stack([n(x) for n in networks], 1), ensemble(x), rtol=1e-3, atol=1e-3)

    def loop() -> Tensor:
        losses = [F.cross_entropy(network(x), y) for network in networks]
        return torch.stack(losses).sum()

    parameters = [parameter for network in networks for parameter in network.parameters()]
    steps = {"loop": step(parameters, loop), "ensemble": step(ensemble.parameters(), lambda: ensemble.loss(x, y))}
    for once in steps.values():
        once()
    table = ratios_in_turn({name: timed(once) for name, once in steps.items()}, baseline="loop", rounds=rounds)
    memory = {name: peak_memory(once) for name, once in steps.items()}
    ensemble.eval()
    for network in networks:
        network.eval()
    passes = {"loop": lambda: [network(x) for network in networks], "ensemble": lambda: ensemble(x)}
    with torch.no_grad():
        run = {name: timed(once) for name, once in passes.items()}
        forward = ratios_in_turn(run, baseline="loop", rounds=rounds)
    return {
        "execution": type(ensemble.network).__name__,
        "step": table,
        "forward": forward,
        "bytes": memory,
        "peak_memory": memory["ensemble"] / memory["loop"],
    }


def step(parameters: Sequence[nn.Parameter], loss: Callable[[], Tensor]) -> Callable[[], None]:
    optimizer = torch.optim.SGD(parameters, lr=0.01, momentum=0.9)

    def once() -> None:
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    return once


def timed(run: Callable[[], object]) -> Callable[[], float]:
    def once() -> float:
        start = time.perf_counter()
        run()
        return time.perf_counter() - start

    return once


def peak_memory(once: Callable[[], None]) -> int:
    """The most bytes that a step holds at a time beyond what it found, by the profiler's record of torch's allocator.

    Resident memory would not do: on a CPU freed memory stays with the process.
    """
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profiler:
        once()
    events = [event for event in profiler.profiler.kineto_results.events() if event.name() == "[memory]"]
    held = most = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        most = max(most, held)
    return most


if __name__ == "__main__":
    sys.exit(main())
