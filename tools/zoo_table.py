"""docs/zoo.md's tables from results/zoo/zoo.json."""

from collections import Counter
from pathlib import Path
from typing import Any

from motet._internal.files import read_json
from motet.methods import METHODS

RECORD = Path(__file__).resolve().parent.parent / "results" / "zoo" / "zoo.json"
SECTIONS = {
    "timm and torchvision": ("timm", "torchvision"),
    "transformers": ("transformers",),
    "Models as users write them": ("own",),
}
"""The tables, and the libraries in each."""


def zoo_table() -> str:
    """A row a model, a column a method; before it how many work, below it why methods refuse and how it was made."""
    record: dict[str, Any] = read_json(RECORD)
    models: dict[str, dict[str, Any]] = record["models"]
    reasons = [reason for each in models.values() for reason in each["outcomes"].values()]
    counts = Counter(requirement(reason) for reason in reasons if reason is not None)
    examples = {requirement(reason): reason for reason in reversed(reasons) if reason is not None}
    numbers = {short: number for number, (short, _) in enumerate(counts.most_common(), start=1)}
    working = reasons.count(None)
    # Never rounded up to 100 %.
    lines = [f"**{working:,} of {len(reasons):,} cells work ({int(1000 * working / max(1, len(reasons))) / 10} %).**"]
    for title, libraries in SECTIONS.items():
        rows = {name: each for name, each in models.items() if name.partition(":")[0] in libraries}
        lines += ["", f"### {title}", *_table(rows, numbers)]
    lines += ["", "### Why methods refuse"]
    lines += [
        f"{numbers[short]}. {short.replace('<', '&lt;')} ({count} {'cell' if count == 1 else 'cells'}); "
        f"{_example(examples[short]).replace('<', '&lt;')}."
        for short, count in counts.most_common()
    ]
    versions = ", ".join(
        f"{name} {record['versions'][name]}" for name in ("torch", "timm", "torchvision", "transformers")
    )
    commits = sorted({each["source"] for each in models.values()})
    return "\n".join(
        [
            *lines,
            "",
            f"{versions}; {record['members']} members, {record['classes']} classes; {record['created'][:10]}, commit "
            f"{' and '.join(commits)}. The record is `results/zoo/zoo.json`; it has every message in full.",
        ]
    )


def _table(models: dict[str, dict[str, Any]], numbers: dict[str, int]) -> list[str]:
    labels = " | ".join(kind.label for kind in METHODS.values())
    lines = [f"| model | parameters | {labels} |", "|---|--:|" + ":-:|" * len(METHODS)]
    for model, each in models.items():
        cells = [_cell(each["outcomes"].get(name, "not tried"), numbers) for name in METHODS]
        lines.append(f"| `{model.removeprefix('own:')}` | {_size(each['parameters'])} | {' | '.join(cells)} |")
    return lines


def _cell(reason: str | None, numbers: dict[str, int]) -> str:
    if reason is None or reason == "not tried":
        return reason or "yes"
    return f"{'**fault**' if is_fault(reason) else 'no'} ({numbers[requirement(reason)]})"


def _size(parameters: int) -> str:
    return f"{parameters / 1e6:.2f} M" if parameters >= 1e5 else f"{parameters / 1e3:.1f} k"


def is_fault(reason: str) -> bool:
    """Whether the method neither works nor says what the model lacks."""
    return reason == "time" or reason.startswith("raw: ")


def requirement(reason: str) -> str:
    """The part of an error that many have in common: what must hold."""
    return (
        "more than 20 s of processor time"
        if reason == "time"
        else reason.removeprefix("raw: ").partition(", but got ")[0]
    )


def _example(reason: str) -> str:
    got = reason.partition(", but got ")[2].partition(". ")[0].rstrip(".")
    return f"for example: got {got if len(got) < 160 else got[:157] + '...'}" if got else "a fault"
