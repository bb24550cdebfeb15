"""Tables of the benchmarks that decide between motet's own code and a library, from their committed records."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent.parent / "benchmarks" / "results"
_NETWORKS = {
    "mlp_16_of_64": "16 MLPs 784-64-10",
    "mlp_64_of_4": "64 MLPs 784-4-10",
    "mlp_256_of_4": "256 MLPs 784-4-10",
    "small_cnn_8": "4 small CNNs, 8x8",
    "small_cnn_32": "4 small CNNs, 32x32",
    "wrn_10_1_8": "4 WRN-10-1, 8x8",
    "wrn_10_1_32": "4 WRN-10-1, 32x32",
    "wrn_16_1_8": "4 WRN-16-1, 8x8",
    "wrn_16_1_32": "4 WRN-16-1, 32x32",
    "wrn_16_1_32_of_16": "16 WRN-16-1, 32x32",
    "wrn_16_4_32": "4 WRN-16-4, 32x32",
    "wrn_28_10_32": "4 WRN-28-10, 32x32",
    "attention_4": "4 transformers (the stack refuses them)",
    "attention_16": "16 transformers",
    "mlp_2_ranks": "16 MLPs 784-256-10, 2 processes",
    "mlp_4_ranks": "16 MLPs 784-256-10, 4 processes",
    "wrn_10_1_2_ranks": "16 WRN-10-1, 2 processes",
    "wrn_10_1_4_ranks": "16 WRN-10-1, 4 processes",
    "mlp_256_256": "MLP, 3 exits",
    "mlp_64_x8": "MLP, 9 exits",
    "wrn_16_1": "WRN-16-1, 3 exits",
}


def stack_table(name: str) -> str:
    """Stacked members and vmap over the loop over networks."""
    rows = []
    for key, found in _record(name)["result"].items():
        if "step" in found:
            ways = [
                *(_ratio(found["step"], way) for way in ("stacked", "vmap")),
                *(_ratio(found["forward"], way) for way in ("stacked", "vmap")),
                *(_over(found["peak_bytes"], way, "loop") for way in ("stacked", "vmap")),
            ]
            rows.append([_NETWORKS[key], *ways])
    heads = ("step: stack", "step: vmap", "forward: stack", "forward: vmap", "memory: stack", "memory: vmap")
    return _table(("networks", *heads), rows) + "\n\n" + _made(name)


def checkpoint_table() -> str:
    """Checkpoints of torch.distributed over motet's, seconds of the slowest rank."""
    ways = ("dcp", "dcp_safetensors", "dcp_sharded")
    rows = [
        [_NETWORKS[key], *(_ratio(found[what], way) for what in ("save", "load") for way in ways)]
        for key, found in _record("distributed_checkpoint")["result"].items()
        if key in _NETWORKS
    ]
    names = ("DCP", "DCP, safetensors", "DCP, sharded")
    heads = [f"{what}: {name}" for what in ("save", "load") for name in names]
    return _table(("ensemble", *heads), rows) + "\n\n" + _made("distributed_checkpoint")


def features_table() -> str:
    """scikit-learn's transformers over motet's features, time and peak memory."""
    rows = []
    for key, found in _record("table_features")["result"].items():
        if not key.startswith("rows_"):
            continue
        for way, name in (("columns", "ColumnTransformer"), ("blocks", "transformers on arrays")):
            peak = found["peak_bytes"]
            memory = f"{peak[way]['encode'] / peak['motet']['encode']:.2f}x"
            times = [_ratio(found[what], way) for what in ("fit", "encode", "encode_one_row")]
            rows.append([f"{int(key.removeprefix('rows_')):,}", name, *times, memory])
    heads = ("rows", "way", "fit", "encode", "encode one row", "peak memory of encoding")
    return _table(heads, rows) + "\n\n" + _made("table_features")


def pause_table() -> str:
    """Ways to pause a pass at each exit over one pass that reads all of them."""
    ways = ("thread", "greenlet", "cache", "parts")
    rows = []
    for key, found in _record("pause_forward")["result"].items():
        if key in _NETWORKS:
            took = found["process_time"]
            cells = [
                f"{took[way]['ratio']:.2f}x, {took[way]['microseconds_more_a_step']:+.0f} us" if way in took else ""
                for way in ways
            ]
            rows.append([_NETWORKS[key], *cells])
    return _table(("network", *ways), rows) + "\n\n" + _made("pause_forward")


def _record(name: str) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    return content


def _made(name: str) -> str:
    record = _record(name)
    hardware, date = record["hardware"], record["created"][:10]
    where = f"{hardware['processor']}, torch {hardware['torch']}, {date}, commit {record['commit']}"
    return f"`results/{name}.json`: {where}."


def _ratio(ways: Mapping[str, Any], way: str) -> str:
    return f"{ways[way]['ratio']:.2f}x" if way in ways else ""


def _over(values: Mapping[str, float], way: str, base: str) -> str:
    return f"{values[way] / values[base]:.2f}x" if way in values and values[base] else ""


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
