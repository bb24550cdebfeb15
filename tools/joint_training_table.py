"""The generated parts of docs/joint-training.md and docs/distributed.md, from their records."""

from collections import defaultdict
from pathlib import Path
from statistics import mean, stdev
from typing import Any

from motet._internal.files import read_json

ROOT = Path(__file__).resolve().parent.parent
STUDY = ROOT / "results" / "joint-training" / "study.json"
TRAFFIC = ROOT / "benchmarks" / "results" / "joint_distributed.json"


def joint_training_table() -> str:
    """Test error for every division of the parameters, number of epochs and lambda."""
    rows = read_json(STUDY)["rows"]
    errors: dict[tuple[int, int, float], list[float]] = defaultdict(list)
    for row in rows:
        errors[row["members"], row["epochs"], row["lam"]].append(100 * row["error"])
    lambdas = sorted({row["lam"] for row in rows})
    shape = {row["members"]: (row["hidden"], row["parameters"]) for row in rows}
    lines = [
        "| modules | parameters | epochs | seeds | " + " | ".join(f"lambda {lam:g}" for lam in lambdas) + " |",
        "|---|---|---|---|" + "---|" * len(lambdas),
    ]
    for members, epochs in sorted(
        {(row["members"], row["epochs"]) for row in rows}, key=lambda kind: (-kind[0], kind[1])
    ):
        hidden, parameters = shape[members]
        name = f"{members} of {hidden} units" if members > 1 else f"one network of {hidden:,} units"
        tried = {lam: errors[members, epochs, lam] for lam in lambdas if (members, epochs, lam) in errors}
        best = min(mean(values) for values in tried.values())
        cells = [_cell(tried[lam], best=best if len(tried) > 1 else None) if lam in tried else "" for lam in lambdas]
        counts = [len(values) for values in tried.values()]
        seeds = f"{min(counts)}" if min(counts) == max(counts) else f"{min(counts)} to {max(counts)}"
        lines.append(f"| {name} | {parameters:,} | {epochs} | {seeds} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def joint_training_protocol() -> str:
    """How the study was run."""
    record = read_json(STUDY)
    missing = record.get("missing")
    training, data, hardware = record["settings"]["training"], record["data"], record["hardware"]
    return (
        "Test error in %, at the epoch with the ensemble's lowest validation error. The paper trains for 200 epochs, "
        f"these runs for fewer (see the table). Batch {training['batch_size']}, SGD with momentum "
        f"{training['momentum']}, the authors' learning rates; {data['train']:,} training, "
        f"{data['validation']:,} validation and {data['test']:,} test images; means ± standard errors "
        "where there are several seeds; with one seed, small differences may be due to chance. "
        "Bold: the lowest mean of a row. "
        f"{record['created'][:10]}, commit {', '.join(record['commits'])}, {hardware['processor']}, "
        f"CPU threads used: {hardware['threads']}. The record is `{STUDY.relative_to(ROOT)}`."
        + (f" **The study is not complete.** Missing: {'; '.join(missing)}." if missing else "")
    )


def dropped_table() -> str:
    """The test error when modules are lost."""
    curves = read_json(STUDY)["dropped"]
    if not curves:
        return "No run with 256 modules is finished."
    shown = [lost for lost in (0.0, 63.0, 123.0, 195.0, 231.0, 255.0) if lost in curves[0]["dropped"]]
    lines = [
        "| modules lost, of 256 | " + " | ".join(f"{lost:g}" for lost in shown) + " |",
        "|---|" + "---|" * len(shown),
    ]
    for curve in curves:
        at = dict(zip(curve["dropped"], curve["error"], strict=True))
        lines.append(f"| lambda {curve['lam']:g} | " + " | ".join(f"{100 * at[lost]:.1f}" for lost in shown) + " |")
    seeds = sorted({curve["seeds"] for curve in curves})
    counted = "one seed" if seeds == [1] else f"{' or '.join(map(str, seeds))} seeds"
    lines.append(
        f"\nTest error in %, mean over {counted} of {curves[0]['epochs']} epochs and 20 draws for each number and seed."
    )
    return "\n".join(lines)


def traffic() -> str:
    """What is sent between two processes, and what that gains in time."""
    record: dict[str, Any] = read_json(TRAFFIC)
    result = record["result"]
    by_width = result["traffic_by_hidden_units"]
    sent = {width: found["bytes_per_step"] for width, found in by_width.items()}
    parallel = {width: found["data_parallel_bytes_per_step"] for width, found in by_width.items()}
    lines = ["| hidden units h of a module | bytes per step | the same with data-parallel training |", "|---|---|---|"]
    lines += [f"| {width} | {sent[width]:,} | {parallel[width]:,} |" for width in by_width]
    one, two = (1000 * result[f"seconds_{name}"] for name in ("one_process", "two_processes"))
    lines.append(
        f"\n256 modules 784-h-10 with a batch of 100, on two processes of 128. With 64 hidden units a step takes "
        f"{two:.0f} ms on two processes and {one:.0f} ms on one, with one CPU thread per process: "
        f"{result['speed_up']:.2f} times as fast "
        f"({record['hardware']['processor']}, {record['created'][:10]}, `{TRAFFIC.relative_to(ROOT)}`)."
    )
    return "\n".join(lines)


def _cell(values: list[float], *, best: float | None) -> str:
    text = f"{mean(values):.2f}" + (f" ± {stdev(values) / len(values) ** 0.5:.2f}" if len(values) > 1 else "")
    return f"**{text}**" if mean(values) == best else text
