"""Columns as features: motet's `Features` against scikit-learn's ColumnTransformer of StandardScaler and OneHotEncoder.

`columns`: ColumnTransformer over a pyarrow table. `blocks`: the same transformers, on an array of all numbers and an
array of all words, put together by hand.
"""

import json
import sys
import time
import tracemalloc
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from _harness import found, ratios_in_turn, record
from _table_facts import FACTS
from _table_ways import MISSING, NUMBERS, WORDS, Blocks, Motet, Whole, made

ROUNDS = {10_000: 21, 1_000_000: 5}


def main() -> int:
    warnings.simplefilter("ignore")
    result: dict[str, Any] = {f"rows_{rows}": compared(rows) for rows in ROUNDS}
    for rows in ROUNDS:
        print(rows, json.dumps(result[f"rows_{rows}"], indent=1), flush=True)
    result["facts"] = {name: found(check) for name, check in FACTS.items()}
    for name, what in result["facts"].items():
        print(name, what)
    settings = {
        "rounds": ROUNDS, "clock": "process time", "baseline": "motet", "memory": "peak of tracemalloc",
        "numeric_columns": NUMBERS, "of_them_with_missing_values": MISSING, "categories_of_word_columns": WORDS,
    }  # fmt: skip
    bounds = {f"rows_{rows}.largest_difference": 1e-5 for rows in ROUNDS}
    return record("table_features", settings, result, bounds=bounds)


def compared(rows: int) -> dict[str, Any]:
    columns, row = made(rows), made(1, seed=1)
    ways: dict[str, Any] = {"motet": Motet(), "columns": Whole(), "blocks": Blocks()}
    memory: dict[str, dict[str, int]] = {}
    encoded = {}
    given = {name: way.given(columns) for name, way in ways.items()}
    for name, way in ways.items():
        memory[name] = {task: peak(partial(getattr(way, task), given[name])) for task in ("fit", "encode")}
        encoded[name] = way.encode(given[name])[:, np.argsort(way.names)], sorted(way.names)
    assert all(names == encoded["motet"][1] for _, names in encoded.values())
    difference = max(float(np.abs(values - encoded["motet"][0]).max()) for values, _ in encoded.values())
    tables = {
        task: ratios_in_turn(
            {name: timed(partial(getattr(way, task), given[name])) for name, way in ways.items()},
            baseline="motet",
            rounds=ROUNDS[rows],
        )
        for task in ("fit", "encode")
    }
    one = {name: timed(partial(way.encode, way.given(row)), repeats=50) for name, way in ways.items()}
    tables["encode_one_row"] = ratios_in_turn(one, baseline="motet", rounds=21)
    return {**tables, "peak_bytes": memory, "features": len(ways["motet"].names), "largest_difference": difference}


def timed(task: Callable[[], object], *, repeats: int = 1) -> Callable[[], float]:
    def once() -> float:
        start = time.process_time()
        for _ in range(repeats):
            task()
        return (time.process_time() - start) / repeats

    return once


def peak(task: Callable[[], object]) -> int:
    tracemalloc.start()
    task()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


if __name__ == "__main__":
    sys.exit(main())
