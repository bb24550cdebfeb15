"""docs/methods.md's table of the places of exits, from benchmarks/results/default_exits.json."""

from pathlib import Path
from typing import Any

from motet._internal.files import read_json

RECORD = Path(__file__).resolve().parent.parent / "benchmarks" / "results" / "default_exits.json"
DEFAULT = "behind 1/2, 3/4"


def exits_table() -> str:
    """Return a table of EarlyExit's NLL, ECE and worst exit for each rule, and of the means of all methods."""
    record: dict[str, Any] = read_json(RECORD)
    cases: dict[str, Any] = record["result"]
    rules = list(next(iter(cases.values()))["rules"])
    shown = {rule: rule.replace("behind", "after") for rule in rules}
    lines = [
        "| EarlyExit: NLL, ECE, accuracy of its worst exit | single network | "
        + " | ".join(f"**{shown[rule]}**" if rule == DEFAULT else shown[rule] for rule in rules)
        + " |",
        "|---|" + "---|" * (len(rules) + 1),
    ]
    for name, found in cases.items():
        (single,) = found["single"]
        cells = [_cell(single), *(_cell(_row(found, "early-exit", rule)) for rule in rules)]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += ["", "| NLL, mean over the models that were tried | models | " + " | ".join(shown.values()) + " |"]
    lines.append("|---|---|" + "---|" * len(rules))
    for method, label in (("early-exit", "EarlyExit"), ("dun", "DUN"), ("mimmo", "MIMMO (M=2)")):
        tried = [found for found in cases.values() if method in found]
        means = [sum(_row(found, method, rule)["nll"] for found in tried) / len(tried) for rule in rules]
        lines.append(f"| {label} | {len(tried)} | " + " | ".join(f"{mean:.3f}" for mean in means) + " |")
    settings, hardware = record["settings"], record["hardware"]
    epochs = ", ".join(f"{name} {number}" for name, number in settings["epochs"].items())
    rows = ", ".join(f"{number:,} training rows of {name}" for name, number in settings["rows"].items() if number)
    return "\n".join(
        [
            *lines,
            "",
            f"Validation data, means over {len(settings['seeds'])} seeds; epochs: {epochs}; {rows}. "
            f"{record['created'][:10]}, commit {record['commit']}, {hardware['processor']}. The record, also with the "
            "weights and accuracies of all exits, is `benchmarks/results/default_exits.json`.",
        ]
    )


def _row(found: dict[str, Any], method: str, rule: str) -> dict[str, Any]:
    """Return the scores at the rule's exits."""
    wanted = found["rules"][rule]
    return next(row for row in found[method] if row["exits"] == wanted)


def _cell(row: dict[str, Any]) -> str:
    exits = [value for name, value in row.items() if name.startswith("exit ")]
    worst = f", {100 * min(exits):.0f}%" if exits else ""
    return f"{row['nll']:.3f}, {row['ece']:.3f}{worst}"
