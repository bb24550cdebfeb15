"""Why a small network gets one CPU thread: its training step with one thread and with all, idle and busy machine."""

import subprocess
import sys
from collections.abc import Callable

import torch
from _harness import ratios_in_turn, record

import motet

ROUNDS = 9
BATCH = 32
SPIN = [sys.executable, "-c", "while True: pass"]


def main() -> int:
    most = torch.get_num_threads()
    digits = motet.data.digits()
    result = {}
    for state in ("idle", "busy"):
        others = [subprocess.Popen(SPIN)] if state == "busy" else []
        try:
            run = {"one_thread": epoch(digits, 1), "all_threads": epoch(digits, most)}
            for once in run.values():
                once()
            result[state] = ratios_in_turn(run, baseline="one_thread", rounds=ROUNDS)
        finally:
            for other in others:
                other.kill()
                other.wait()
        print(state, result[state]["all_threads"])
    settings = {"model": "small_cnn(width=2)", "data": "digits", "batch": BATCH, "threads": [1, most], "rounds": ROUNDS}
    return record("threads", settings, result, bounds={})


def epoch(digits: motet.Dataset, threads: int) -> Callable[[], float]:
    network = motet.models.small_cnn(num_classes=10, in_channels=1, width=2)
    ensemble = motet.Single().wrap(network, example=digits.prepare(digits.train.inputs[:1]))

    def once() -> float:
        torch.set_num_threads(threads)
        history = motet.fit(
            ensemble, digits, motet.Training(epochs=1, batch_size=BATCH, learning_rate=0.001), progress=False
        )
        return float(history[-1]["seconds"]) / history[-1]["step"]

    return once


if __name__ == "__main__":
    sys.exit(main())
