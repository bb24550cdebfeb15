"""What data costs: CIFAR batches from device tensors beside a training step, and the start from a folder of JPEGs."""

import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from _harness import ratios_in_turn, record
from PIL import Image
from torch.nn import functional as F  # noqa: N812

import motet
from motet.data import Augmentation, DataOptions, Dataset, batches, image_folder
from motet.data.augment import step_seed

ROUNDS = 7
BATCH = 128
ROWS = 20_000
JPEGS, CLASSES = 10_000, 10
SIZES = {"small": ((96, 96), None), "large": ((320, 240), 224)}  # width and height; --image-size
AUGMENT = Augmentation(crop=4, flip=True)


def main() -> int:
    torch.set_num_threads(2)
    data = cifar_like()
    run = {"step": wrn_step(data), "batch": one_batch(data)}
    for once in run.values():
        once()
    result = {"beside_a_step": ratios_in_turn(run, baseline="step", rounds=ROUNDS)}
    # Operations this small gain nothing from a second thread, and on a shared machine wait for it.
    torch.set_num_threads(1)
    alone = sorted(epoch_seconds(data) for _ in range(ROUNDS))[ROUNDS // 2]
    result["alone"] = {"seconds_per_20000_images": alone, "images_per_second": ROWS / alone}
    print(result)
    for name, (size, image_size) in SIZES.items():
        with tempfile.TemporaryDirectory() as folder:
            write_jpegs(Path(folder), size)
            result[name] = first_step(Path(folder), image_size)
        print(name, result[name])
    bounds = {"beside_a_step.batch.ratio": 0.10, "alone.seconds_per_20000_images": 1.0}
    bounds |= {f"{name}.seconds_to_first_batch": 10.0 for name in SIZES}
    bounds["large.grown_mib_over_an_epoch"] = 64.0
    settings = {
        "batch": BATCH,
        "rounds": ROUNDS,
        "rows": ROWS,
        "jpegs": JPEGS,
        "sizes": str(SIZES),
        "augment": str(AUGMENT),
    }
    return record("data", settings, result, bounds=bounds)


def cifar_like() -> Dataset:
    rows = (torch.randint(256, (ROWS, 3, 32, 32), dtype=torch.uint8), torch.arange(ROWS) % 10)
    few = (rows[0][:10], rows[1][:10])
    return Dataset.from_tensors("cifar-like", train=rows, validation=few, test=few, mean=(0.49,) * 3, std=(0.25,) * 3)


def wrn_step(data: Dataset) -> Callable[[], float]:
    network = motet.models.wide_resnet(depth=16, width=4, num_classes=10)
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1, momentum=0.9, nesterov=True)
    x, y = data.prepare(data.train.inputs[:BATCH]), data.train.targets[:BATCH]

    def once() -> float:
        start = time.perf_counter()
        F.cross_entropy(network(x), y).backward()
        optimizer.step()
        optimizer.zero_grad()
        return time.perf_counter() - start

    return once


def one_batch(data: Dataset) -> Callable[[], float]:
    """One step's share of an epoch, order and all."""

    def once() -> float:
        return epoch_seconds(data) / (ROWS // BATCH)

    return once


def epoch_seconds(data: Dataset) -> float:
    """An epoch of batches as `fit` makes them, up to what the network would take."""
    generator = torch.Generator()
    augment = AUGMENT.bind(data.spec, generator)
    start = time.perf_counter()
    for step, (x, y) in enumerate(batches(data.train, batch_size=BATCH, seed=0, epoch=0)):
        generator.manual_seed(step_seed(0, 0, step))
        augment(x, y)
    return time.perf_counter() - start


def write_jpegs(folder: Path, size: tuple[int, int]) -> None:
    """Smooth random pictures: about as large on disk as photographs of their size."""
    random = np.random.RandomState(0)
    for index in range(JPEGS):
        place = folder / f"class{index % CLASSES}"
        place.mkdir(exist_ok=True)
        values = random.randint(0, 256, size=(size[1] // 8, size[0] // 8, 3), dtype=np.uint8)
        Image.fromarray(values).resize(size, Image.Resampling.BILINEAR).save(place / f"{index:05d}.jpg", quality=90)


def first_step(folder: Path, image_size: int | None) -> dict[str, float]:
    """Seconds from the folder to the first training batch; and for large images what an epoch does to memory."""
    start = time.perf_counter()
    data = image_folder(folder, DataOptions(image_size=image_size))
    epoch = batches(data.train, batch_size=32, seed=0, epoch=0, resized_crop=0.08 if image_size else 0.0)
    next(epoch)
    seconds = time.perf_counter() - start
    for _ in range(10):
        next(epoch)
    before = most = held_mib()
    steps = 10
    for _ in epoch:
        steps += 1
        most = max(most, held_mib())
    spent = time.perf_counter() - start - seconds
    return {
        "seconds_to_first_batch": seconds,
        "images_per_second": 32 * steps / spent,
        "grown_mib_over_an_epoch": most - before,
    }


def held_mib() -> float:
    """The memory that the process holds now (Linux)."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / 2**20


if __name__ == "__main__":
    sys.exit(main())
