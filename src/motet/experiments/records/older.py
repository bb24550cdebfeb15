"""Convert records without a schema version to the current layout; missing values become unknown."""

from collections.abc import Mapping
from typing import Any

Plain = dict[str, Any]

_UNKNOWN: Plain = {"mean": None, "standard_error": None}


def upgrade_run(old: Plain) -> Plain:
    """Convert ``run.json``: early ones have no precision, no likelihood, no source."""
    return _about({"precision": None, "likelihood": None} | old)


def upgrade_scores(old: Plain) -> Plain:
    """Convert ``scores.json``: its fields have not changed."""
    return old


def upgrade_comparison(old: Plain) -> Plain:
    """Convert ``compare.json``, finished or not; see `_row` for its rows."""
    if not old.get("rows"):
        return {"source": None, "data": None, "rows": None} | old | {"data": _data(old.get("data"))}
    empty: Plain = {
        "settings": {},
        "motet": "",
        "command": "",
        "model": "",
        "likelihood": None,
        "training": {},
        "seeds": [],
        "members": None,
        "latency_batch": None,
        "left_out": [],
    }
    rows = [_row(row) if isinstance(row, Mapping) else row for row in old["rows"]]
    return _about(empty | old | {"rows": rows})


def _about(old: Plain) -> Plain:
    """Convert the part of runs and comparisons that says how they were made."""
    unknown = {"device": "", "processor": "", "cores": None, "threads": None, "system": "", "torch": ""}
    hardware = old.get("hardware", {})
    return (
        {"source": None, "created": "", "commit": None, "versions": {}}
        | old
        | {
            "hardware": unknown | dict(hardware) if isinstance(hardware, Mapping) else hardware,
            "data": _data(old.get("data")),
        }
    )


def _data(old: object) -> object:
    """Convert the data's description: early ones have no split, notes and fingerprint; before that there was none."""
    if not isinstance(old, Mapping):
        return old
    names = ("task", "classes", "input_shape", "train", "validation", "test", "split", "notes", "fingerprint")
    return {"name": "", "class_names": []} | dict.fromkeys(names) | dict(old)


def _row(old: Mapping[str, Any]) -> Plain:
    """Convert a row of a comparison: early ones have no widths, models, curves and intervals."""
    empty: Plain = {
        "width": 1.0,
        "model": "",
        "members": 1,
        "summary": "",
        "settings": "",
        "reliability": None,
        "risk_coverage": None,
        "coverage": None,
        "disagreement_matrix": None,
        "runs": [],
    }
    key = {"key": old["method"]} if "method" in old else {}
    made: Plain = {
        "scores": {name: _measure(value) for name, value in (old.get("scores") or {}).items()},
        "cost": _cost(old.get("cost") or {}),
        "histories": [[_epoch(row) for row in run] for run in old.get("histories") or []],
    }
    return key | empty | dict(old) | made


def _cost(old: Mapping[str, Any]) -> Plain:
    """Convert a method's cost: early ones have the quartiles of the latency in one field."""
    names = ("parameters", "flops", "latency_ratio", "latency_ratio_low", "latency_ratio_high", "latency_seconds")
    cost = dict.fromkeys(names) | {name: _mean(value) for name, value in old.items()}
    if quartiles := cost.pop("latency_ratio_quartiles", None):
        cost["latency_ratio_low"], cost["latency_ratio_high"] = quartiles
    return cost | {"train_seconds": _measure(old.get("train_seconds"))}


def _epoch(old: Mapping[str, Any]) -> Plain:
    return {"step": 0, "learning_rate": None, "train_loss": None, "validation_nll": None, "seconds": None} | dict(old)


def _measure(old: object) -> object:
    """Convert a number over seeds: early ones may be a plain number."""
    return _UNKNOWN | dict(old) if isinstance(old, Mapping) else {"mean": old, "standard_error": None}


def _mean(old: object) -> object:
    return old.get("mean") if isinstance(old, Mapping) else old
