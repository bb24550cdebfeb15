"""What a second process saves: 256 modules 784-64-10 on two processes of 128, over one process of 256.

A step is `Ensemble.loss`, backwards, and SGD with momentum, on a batch of 100, lambda 0.95, one thread a process. Both
are timed in turn: all processes wait for each other, then the two train for some steps together, then one alone trains
all 256 modules while the other sleeps. A step's seconds are those of the slower process. The traffic of a step is
counted, and that of two other widths beside it.
"""

import multiprocessing
import os
import socket
import statistics
import sys
import time
from contextlib import closing
from typing import Any

import torch
from _harness import record
from torch import nn

import motet
from motet._internal.typed_records import to_plain
from motet.distributed import Grid, start
from motet.ensemble import Ensemble

ROUNDS = 15
STEPS = 5
MODULES = 256
BATCH = 100
CLASSES = 10
RANKS = 2
LAMBDA = 0.95


def main() -> int:
    with closing(socket.socket()) as door:
        door.bind(("127.0.0.1", 0))
        port = door.getsockname()[1]
    context = multiprocessing.get_context("spawn")
    results: Any = context.Queue()
    ranks = [context.Process(target=work, args=(rank, port, results)) for rank in range(RANKS)]
    for rank in ranks:
        rank.start()
    found = [results.get(timeout=1800) for _ in ranks]
    for rank in ranks:
        rank.join()
    by_rank = [measured for _, measured in sorted(found, key=lambda item: item[0])]
    together = [max(pair) for pair in zip(*(each["together"] for each in by_rank), strict=True)]
    alone = by_rank[0]["alone"]
    speed_ups = [one / two for one, two in zip(alone, together, strict=True)]
    low, middle, high = statistics.quantiles(speed_ups, n=4)
    print(
        f"one process: {1e3 * statistics.median(alone):.1f} ms a step; two: {1e3 * statistics.median(together):.1f} ms"
    )
    print(f"speed-up {middle:.3f} [{low:.3f}, {high:.3f}]")
    traffic = by_rank[0]["traffic"]
    for hidden, sent in traffic.items():
        print(f"hidden {hidden}: {sent['bytes_per_step']:,} bytes a step; data-parallel training: "
              f"{sent['data_parallel_bytes_per_step']:,}")  # fmt: skip
    bytes_by_width = {sent["bytes_per_step"] for sent in traffic.values()}
    result = {
        "speed_up": middle,
        "speed_up_quartiles": [low, high],
        "time_over_one_process": 1 / middle,
        "seconds_one_process": statistics.median(alone),
        "seconds_two_processes": statistics.median(together),
        "traffic_by_hidden_units": traffic,
        "bytes_over_allowed": max(bytes_by_width) / (2 * BATCH * CLASSES * 4 * RANKS),
        "widths_that_differ_in_bytes": len(bytes_by_width) - 1,
        "largest_relative_difference_of_losses": by_rank[0]["difference"],
    }
    settings = {
        "model": "Linear(784, 64), ReLU, Linear(64, 10)", "modules": MODULES, "batch": BATCH, "lambda": LAMBDA,
        "optimizer": "SGD(momentum=0.9)", "rounds": ROUNDS, "steps_a_round": STEPS, "ranks": RANKS,
        "threads_a_process": 1, "device": "cpu",
    }  # fmt: skip
    bounds = {
        "time_over_one_process": 1 / 1.5,
        "bytes_over_allowed": 1.0,
        "widths_that_differ_in_bytes": 0,
        "largest_relative_difference_of_losses": 1e-4,
    }
    return record("joint_distributed", settings, result, bounds=bounds)


def work(rank: int, port: int, results: Any) -> None:
    os.environ.update({
        "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(RANKS), "LOCAL_WORLD_SIZE": str(RANKS),
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port),
    })  # fmt: skip
    torch.set_num_threads(1)
    with start() as grid:
        x, y = batch()
        shared = wrapped(64, grid)
        whole = wrapped(64, Grid()) if grid.is_first else None
        optimizers = [sgd(ensemble) for ensemble in (shared, whole) if ensemble is not None]
        # The same steps from the same weights: both ways have the same losses.
        losses = grid.members.sum(torch.tensor(train(shared, optimizers[0], x, y, 3)), "check")
        difference = 0.0
        if whole is not None:
            alone = torch.tensor(train(whole, optimizers[1], x, y, 3))
            difference = float(((losses - alone).abs() / alone.abs()).max())
        times: dict[str, Any] = {"together": [], "alone": [], "difference": difference}
        for turn in range(2 * ROUNDS):
            grid.everyone.barrier()
            both = (turn + turn // 2) % 2 == 0  # each begins every other round
            begun = time.perf_counter()
            if both:
                train(shared, optimizers[0], x, y, STEPS)
                times["together"].append((time.perf_counter() - begun) / STEPS)
            elif whole is not None:
                train(whole, optimizers[1], x, y, STEPS)
                times["alone"].append((time.perf_counter() - begun) / STEPS)
            else:
                time.sleep(0.001)
        times["traffic"] = {hidden: traffic(hidden, grid) for hidden in (16, 64, 256)}
        results.put((rank, times))
        grid.everyone.barrier()


def wrapped(hidden: int, grid: Grid) -> Ensemble:
    torch.manual_seed(0)
    method = motet.ModularNetwork(members=MODULES, lam=LAMBDA)
    return method.wrap(
        lambda: nn.Sequential(nn.Linear(784, hidden), nn.ReLU(), nn.Linear(hidden, CLASSES)),
        example=torch.zeros(1, 784),
        grid=grid,
    )


def batch() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(BATCH, 784, generator=generator), torch.randint(CLASSES, (BATCH,), generator=generator)


def sgd(ensemble: Ensemble) -> torch.optim.Optimizer:
    return torch.optim.SGD(ensemble.parameter_groups(), lr=0.1, momentum=0.9, fused=True)


def train(
    ensemble: Ensemble, optimizer: torch.optim.Optimizer, x: torch.Tensor, y: torch.Tensor, steps: int
) -> list[float]:
    losses = []
    for _ in range(steps):
        loss = ensemble.loss(x, y)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def traffic(hidden: int, grid: Grid) -> dict[str, Any]:
    ensemble, (x, y) = wrapped(hidden, grid), batch()
    grid.sent.clear()
    ensemble.loss(x, y).backward()
    assert ensemble.share is not None
    found: dict[str, Any] = to_plain(ensemble.share.communication(ensemble))
    return found


if __name__ == "__main__":
    sys.exit(main())
