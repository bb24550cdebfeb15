"""What CIFAR-C's 19 corruptions cost at five severities: 10,000 images of 32x32, and beside the per-image reference.

The reference is the one of the tests (tests/shifts/slow_corruptions.py): each image by itself in NumPy, SciPy and
Pillow. The tests hold that both give the same images. Both run on one thread.
"""

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
from _harness import ratios_in_turn, record

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "shifts"))
from slow_corruptions import photographs, slow

from motet.shifts import CORRUPTIONS, SETS, SEVERITIES, Draws, corrupt

IMAGES = 10_000
IN_TURN = 400  # images a round for the ratios
BY_REFERENCE = 4  # of them by the reference, whose time is scaled up
ROUNDS = 5
SLOW = ("glass_blur", "elastic_transform")  # allowed more than half a millisecond


def main() -> int:
    torch.set_num_threads(1)
    images = photographs(IMAGES, 3, 32, 32)
    names = SETS["cifar-c-19"]
    for name in names:  # tables and ice are made once
        whole(images[:8], name)()
    milliseconds = {name: 1000 * whole(images, name)() / IMAGES / len(SEVERITIES) for name in names}
    ratios = {}
    for name in names:
        run = {"fast": whole(images[:IN_TURN], name), "reference": by_reference(images[:BY_REFERENCE], name)}
        ratios[name] = ratios_in_turn(run, baseline="reference", rounds=ROUNDS)["fast"]["ratio"]
    for name in names:
        print(f"{name:>20}  {milliseconds[name]:.3f} ms an image  {1 / ratios[name]:.1f}x faster than the reference")
    result = {
        "milliseconds_an_image": milliseconds,
        "ratio": ratios,
        "minutes_for_all": sum(milliseconds.values()) * len(SEVERITIES) * IMAGES / 60_000,
        "slowest_milliseconds": max(value for name, value in milliseconds.items() if name not in SLOW),
        "mean_ratio": statistics.geometric_mean(ratios.values()),
    }
    settings = {
        "images": IMAGES, "size": [3, 32, 32], "severities": list(SEVERITIES), "threads": torch.get_num_threads(),
        "rounds": ROUNDS, "images_in_turn": IN_TURN, "images_by_reference": BY_REFERENCE, "mean": "geometric",
        "may_be_slower": list(SLOW),
    }  # fmt: skip
    bounds = {"minutes_for_all": 10.0, "slowest_milliseconds": 0.5, "mean_ratio": 0.2}
    return record("corruptions", settings, result, bounds=bounds)


def whole(images: torch.Tensor, name: str) -> Callable[[], float]:
    def once() -> float:
        start = time.perf_counter()
        for severity in SEVERITIES:
            corrupt(images, name, severity=severity)
        return time.perf_counter() - start

    return once


def by_reference(images: torch.Tensor, name: str) -> Callable[[], float]:
    arrays = [image.permute(1, 2, 0).numpy().copy() for image in images]

    def once() -> float:
        start = time.perf_counter()
        for severity in SEVERITIES:
            numbers = CORRUPTIONS[name].constants_at(severity, "cifar")
            for row, image in enumerate(arrays):
                slow(name, image, Draws(seed=0, index_B=torch.tensor([row]), stream=name), numbers)
        return (time.perf_counter() - start) * IN_TURN / BY_REFERENCE

    return once


if __name__ == "__main__":
    sys.exit(main())
