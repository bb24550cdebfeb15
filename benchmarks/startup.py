"""How long the command line and the import take, each in a fresh process, in turn."""

import subprocess
import sys
import time
from collections.abc import Callable

from _harness import ratios_in_turn, record

ROUNDS = 9
COMMANDS = {
    "import_torch": [sys.executable, "-c", "import torch"],
    "import_motet_and_torch": [sys.executable, "-c", "import torch, motet"],
    "import_motet_wrap": [sys.executable, "-c", "import torch, motet; motet.MIMO"],
    "motet_help": [sys.executable, "-m", "motet", "--help"],
    "motet_compare_help": [sys.executable, "-m", "motet", "compare", "--help"],
    "motet_methods": [sys.executable, "-m", "motet", "methods"],
}


def main() -> int:
    run = {name: process(command) for name, command in COMMANDS.items()}
    for once in run.values():
        once()
    times = ratios_in_turn(run, baseline="import_torch", rounds=ROUNDS)
    result = {
        "seconds": {name: row["seconds"] for name, row in times.items()},
        "import_motet_more_than_torch": times["import_motet_wrap"]["seconds"] - times["import_torch"]["seconds"],
    }
    bounds = {"seconds.motet_help": 1.0, "seconds.motet_compare_help": 1.0, "import_motet_more_than_torch": 0.3}
    return record("startup", {"rounds": ROUNDS}, result, bounds=bounds)


def process(command: list[str]) -> Callable[[], float]:
    def once() -> float:
        start = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        return time.perf_counter() - start

    return once


if __name__ == "__main__":
    sys.exit(main())
