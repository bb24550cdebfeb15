"""How a comparison was run, in words."""

from datetime import UTC, datetime
from typing import Any

from motet.report.record import Comparison


def facts(comparison: Comparison) -> list[tuple[str, str]]:
    """How it was run, as pairs of a name and a value; what the record does not say is left out."""
    about, data, hardware = comparison.about, comparison.data, comparison.hardware
    sizes = [f"{data[part]:,} {part}" for part in ("train", "validation", "test") if data.get(part) is not None]
    task = str(data.get("task") or "")
    if task and data.get("classes"):
        what = "classes" if task == "classification" else "target" if data["classes"] == 1 else "targets"
        task += f", {data['classes']} {what}"
    machine = [hardware.get("processor"), hardware.get("device")]
    threads = hardware.get("threads")
    classes = [str(name) for name in data.get("class_names") or []]
    versions = [f"motet {about['motet']}" if about.get("motet") else "", _version("torch", hardware.get("torch"))]
    pairs = [
        ("Data", _joined([data.get("name"), task])),
        ("Examples", _joined(sizes)),
        ("Classes", _joined([*classes[:20], "…"] if len(classes) > 20 else classes)),
        ("Model", str(about.get("model") or "")),
        ("Likelihood", str(about.get("likelihood") or "")),
        ("Members", str(about.get("members") or "")),
        ("Seeds", _joined([str(seed) for seed in comparison.seeds])),
        ("Hardware", _joined([*machine, f"{threads} thread{'' if threads == 1 else 's'}" if threads else ""])),
        ("Versions", _joined(versions)),
        ("Commit", str(about.get("commit") or "not recorded")),
        ("Date", _date(about.get("created"))),
    ]
    return [(name, value) for name, value in pairs if value]


def _version(name: str, version: Any) -> str:
    return f"{name} {version}" if version else ""


def _joined(parts: list[Any]) -> str:
    return ", ".join(str(part) for part in parts if part)


def _date(created: Any) -> str:
    try:
        moment = datetime.fromisoformat(str(created))
    except ValueError:
        return str(created or "")
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC)
    zone = " UTC" if moment.tzinfo is not None else ""
    return f"{moment.day} {moment:%B %Y, %H:%M}{zone}"
