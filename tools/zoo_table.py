"""docs/zoo.md's table from results/zoo/zoo.json."""

from pathlib import Path
from typing import Any

from motet._internal.files import read_json
from motet.methods import METHODS

RECORD = Path(__file__).resolve().parent.parent / "results" / "zoo" / "zoo.json"


def zoo_table() -> str:
    """A row a model, a column a method; below it how it was made, and why methods refuse."""
    record: dict[str, Any] = read_json(RECORD)
    outcomes: dict[str, dict[str, str | None]] = record["outcomes"]
    names = [name for name in METHODS if any(name in each for each in outcomes.values())]
    notes: list[str] = []
    lines = [
        "| model | parameters | " + " | ".join(METHODS[name].label for name in names) + " |",
        "|---|--:|" + ":-:|" * len(names),
    ]
    for model, each in outcomes.items():
        cells = []
        for name in names:
            reason = each.get(name, "not tried")
            if reason is not None and reason not in notes:
                notes.append(reason)
            cells.append("yes" if reason is None else f"no ({notes.index(reason) + 1})")
        lines.append(f"| `{model}` | {record['parameters_millions'][model]:.2f} M | " + " | ".join(cells) + " |")
    versions = ", ".join(f"{name} {record['versions'][name]}" for name in ("torch", "timm", "torchvision"))
    return "\n".join(
        [
            *lines,
            "",
            *(f"{number}. {reason.replace('<', '&lt;')}" for number, reason in enumerate(notes, start=1)),
            *([""] if notes else []),
            f"{versions}; {record['members']} members, {record['classes']} classes; {record['created'][:10]}, commit "
            f"{record['commit']}. The record is `results/zoo/zoo.json`.",
        ]
    )
