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
        ("Split", str(data.get("split") or "")),
        ("Note", "; ".join(str(note) for note in data.get("notes") or [])),
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


def training_facts(comparison: Comparison) -> list[tuple[str, str]]:
    """The training settings, as pairs of a name and a value."""
    settings = {name: value for name, value in comparison.training.items() if name != "type"}
    return [(name.replace("_", " "), _plain(value)) for name, value in settings.items()]


def _plain(value: Any) -> str:
    """A setting as people write it; of settings within a setting, those that are not off."""
    if isinstance(value, dict):
        # Shares and ways of an augmentation that is off say nothing.
        held = {name: each for name, each in value.items() if name not in ("type", "padding", "mix_probability")}
        if not any(held.values()):
            return "none"
        on = {name: each for name, each in value.items() if name != "type" and each}
        return ", ".join(f"{name.replace('_', ' ')} {_plain(each)}" for name, each in on.items())
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value)) or "none"
    return "none" if value is None else str(value)


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
