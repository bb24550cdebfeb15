"""Where exits belong by default: rules for their places, compared on validation rows.

Each rule chooses points of a model; runs with the same points are done once. The scores are those of the ensemble (the
mean over exits for EarlyExit, weighted by the learned posterior for DUN and MIMMO), and the accuracy of each exit.

    MOTET_DATA=FOLDER python default_exits.py        FOLDER contains fashion-mnist
"""

import itertools
import math
import sys
import time
from collections.abc import Callable
from functools import partial
from statistics import fmean
from typing import Any

import torch
from _exit_models import SUBSETS, data_named, model_named
from _harness import RESULTS, record

import motet
from motet._internal.files import read_json, write_json
from motet.data import Dataset
from motet.method import Method
from motet.surgery import Features, cut_points, default_exits, features_at, mixing_calls

EPOCHS = {"digits": 15, "fashion-mnist": 6}
SEEDS = (0, 1, 2)
PLAN: tuple[tuple[str, str, tuple[str, ...]], ...] = (
    ("digits", "small_cnn", ("early-exit", "dun", "mimmo")),
    ("digits", "small_cnn, width 2", ("early-exit", "dun", "mimmo")),
    ("digits", "mlp 128-128", ("early-exit", "dun", "mimmo")),
    ("digits", "mlp 64 x 6", ("early-exit", "dun")),
    ("digits", "wrn-10-1", ("early-exit", "dun", "mimmo")),
    ("fashion-mnist", "small_cnn", ("early-exit", "dun")),
    ("digits", "vit", ("early-exit",)),
)
METHODS: dict[str, Callable[[tuple[str, ...]], Method]] = {
    "early-exit": lambda exits: motet.EarlyExit(exits=exits),
    "dun": lambda exits: motet.DUN(exits=exits),
    "mimmo": lambda exits: motet.MIMMO(exits=exits),
}
UNFINISHED = RESULTS / "default_exits-unfinished.json"
Rule = Callable[[list[Features], int], list[Features]]


def stage_ends(share: float) -> Rule:
    """The last point of every stage but the final one, of those behind this share of the layers: with 0, as in the
    papers. A stage is a part with about the same number of positions and a layer of its own. A model with one stage has
    the points nearest to 1/4, 2/4 and 3/4 of the layers.
    """

    def rule(found: list[Features], layers: int) -> list[Features]:
        ends: list[Features] = []
        for point, after in itertools.pairwise(found):
            new = not 1 / 1.5 < positions(after) / positions(point) < 1.5
            if new and (not ends or point.point.mixing > ends[-1].point.mixing):
                ends.append(point)
        if ends and ends[-1].point.mixing == found[-1].point.mixing:
            ends.pop()  # what follows only pools
        last = {each.point.mixing: each for each in found}
        quarters = sorted({min(last, key=lambda count: abs(count - part * layers / 4)) for part in (1, 2, 3)})
        chosen = ends[-3:] if ends else [last[count] for count in quarters]
        return [each for each in chosen if each.point.mixing >= share * (layers - 1)]

    return rule


def positions(features: Features) -> int:
    return math.prod(features.point.output[1:]) // features.width


def behind(*shares: float) -> Rule:
    return partial(default_exits, shares=shares)


RULES: dict[str, Rule] = {
    "ends of stages": stage_ends(0),
    "ends of stages, behind 1/2": stage_ends(1 / 2),
    "behind 1/4, 1/2, 3/4": behind(1 / 4, 1 / 2, 3 / 4),
    "behind 1/2, 3/4": behind(1 / 2, 3 / 4),
    "behind 3/4": behind(3 / 4),
}


def main() -> int:
    torch.set_num_threads(1)
    settings = {
        "plan": PLAN, "rows": SUBSETS, "epochs": EPOCHS, "batch": 32, "learning_rate": 0.02, "seeds": SEEDS,
        "scores": "means over seeds, on validation rows", "share": "of the mixing layers before the output layer",
    }  # fmt: skip
    rows: dict[str, Any] = read_json(UNFINISHED) if UNFINISHED.exists() else {}
    result: dict[str, Any] = {}
    for name, model, methods in PLAN:
        data = data_named(name)
        places, shares = places_of(model, data)
        found: dict[str, Any] = {"shares": shares, "rules": {rule: list(exits) for rule, exits in places.items()}}
        for method in ("single", *methods):
            sets = sorted({()} if method == "single" else set(places.values()) - {()})
            for exits in sets:
                key = f"{name}: {model}: {method}: {', '.join(exits)}"
                if key not in rows:
                    rows[key] = scored(data, model, method, exits)
                    write_json(UNFINISHED, rows)  # a later start goes on from here
                print(key, rows[key], flush=True)
            found[method] = [rows[f"{name}: {model}: {method}: {', '.join(exits)}"] for exits in sets]
        result[f"{name}: {model}"] = found
    failed = record("default_exits", settings, result, bounds={})
    UNFINISHED.unlink()
    return failed


def places_of(model: str, data: Dataset) -> tuple[dict[str, tuple[str, ...]], dict[str, float]]:
    """Return the points that each rule chooses, and the share of the layers behind each of these points."""
    network, x = model_named(model, data.spec.input_shape), data.prepare(data.train.inputs[:2])
    calls = mixing_calls(network, x)
    points = [point for point in cut_points(network, x) if 0 < point.mixing < len(calls)]
    found = [features for point in points if (features := features_at(point, calls, rows=len(x)))]
    chosen = {name: rule(found, len(calls)) for name, rule in RULES.items()}
    share = {each.point.name: each.point.mixing / (len(calls) - 1) for every in chosen.values() for each in every}
    return {name: tuple(each.point.name for each in every) for name, every in chosen.items()}, share


def scored(data: Dataset, model: str, method: str, exits: tuple[str, ...]) -> dict[str, Any]:
    """Return the means over seeds of the scores on validation rows, and of each exit's accuracy."""
    started, rows = time.perf_counter(), []
    x, y = data.prepare(data.validation.inputs), data.validation.targets
    for seed in SEEDS:
        torch.manual_seed(seed)
        made = motet.Single() if method == "single" else METHODS[method](exits)
        ensemble = made.wrap(model_named(model, data.spec.input_shape), example=x[:1])
        training = motet.Training(epochs=EPOCHS[data.spec.name], batch_size=32, learning_rate=0.02, warmup_epochs=1.0)
        motet.fit(ensemble, data, training)
        with torch.no_grad():
            scores = motet.metrics.score(ensemble.predict(x, targets=y))
            row = {name: float(scores[name]) for name in ("accuracy", "nll", "ece")}
            if exits:
                outputs_BMDC = ensemble.forward_exits(x)
                log_p = outputs_BMDC.log_softmax(-1).logsumexp(1)
                for depth, hit in enumerate((log_p.argmax(-1) == y[:, None]).double().mean(0).tolist()):
                    row[f"exit {depth + 1}"] = hit
                for depth, weight in enumerate(ensemble.network.weights().exp().mean(0).tolist()):
                    row[f"weight {depth + 1}"] = weight
        rows.append(row)
    means = {key: fmean(row[key] for row in rows) for key in rows[0]}
    return {"exits": list(exits), **means, "seconds": round(time.perf_counter() - started, 1)}


if __name__ == "__main__":
    sys.exit(main())
