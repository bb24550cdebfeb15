"""What the benchmarks share: timing in turn, and records."""

import argparse
import re
import socket
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from motet._internal.files import write_json
from motet._internal.typed_records import to_plain
from motet.experiments.provenance import provenance

RESULTS = Path(__file__).parent / "results"


def ratios_in_turn(
    run: dict[str, Callable[[], float]], *, baseline: str, rounds: int
) -> dict[str, dict[str, float | list[float]]]:
    """Call every function once a round, in an order that rotates; each returns the seconds it took.

    A machine that is busy or changes its clock meets all of them alike. The ratio is the median over rounds of the
    function's seconds over the baseline's in the same round, with its quartiles.
    """
    names = list(run)
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for round_number in range(rounds):
        first = round_number % len(names)
        for name in names[first:] + names[:first]:
            seconds[name].append(run[name]())
    table: dict[str, dict[str, float | list[float]]] = {}
    for name, own in seconds.items():
        ratios = [a / b for a, b in zip(own, seconds[baseline], strict=True)]
        low, middle, high = statistics.quantiles(ratios, n=4)
        table[name] = {"ratio": middle, "ratio_quartiles": [low, high], "seconds": statistics.median(own)}
    return table


def record(name: str, settings: dict[str, Any], result: dict[str, Any], *, bounds: dict[str, float]) -> int:
    """Print the result, keep it under results/, and return 1 if a bound does not hold."""
    parser = argparse.ArgumentParser(description=f"benchmark {name}")
    parser.add_argument("--no-record", action="store_true", help="print only")
    arguments = parser.parse_args()
    checks = {key: {"measured": _at(result, key), "at_most": bound} for key, bound in bounds.items()}
    failed = [key for key, check in checks.items() if check["measured"] > check["at_most"]]
    for key, check in checks.items():
        verdict = "FAILED" if key in failed else "ok"
        print(f"{verdict:>6}  {key}: {check['measured']:.3f} (at most {check['at_most']})")
    if not arguments.no_record:
        about = to_plain(provenance(torch.device("cuda" if torch.cuda.is_available() else "cpu")))
        content = {"benchmark": name, **about, "settings": settings, "result": result, "bounds": checks}
        write_json(RESULTS / f"{name}.json", content)
        print(f"recorded in {RESULTS / f'{name}.json'}", file=sys.stderr)
    return 1 if failed else 0


def found(check: Callable[[], object]) -> dict[str, Any]:
    """A fact found by a run: whether it holds or what was returned, and a line of the error if there was one.

    Whatever a library raises is a finding; some of it is a BaseException. Folders and this
    machine's name are left out of the line.
    """
    try:
        return {"holds": check(), "error": None}
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:
        lines = str(error).strip().splitlines() or ["no message"]
        line = lines[-1] if any(line.startswith("Traceback") for line in lines) else lines[0]
        line = re.sub(r"(?<![\w:/])(?:/[\w.-]+)+/", "", line).replace(socket.gethostname(), "HOST")
        return {"holds": False, "error": f"{type(error).__name__}: {line}"}


def _at(result: dict[str, Any], key: str) -> float:
    value: Any = result
    for part in key.split("."):
        value = value[part]
    return float(value)
