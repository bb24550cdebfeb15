"""How a comparison was run, in words."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from motet.report.record import Comparison

_MOST_CLASSES = 20


def facts(comparison: Comparison) -> list[tuple[str, str]]:
    """How the comparison was run, as pairs of a name and a value. What the record does not say is left out."""
    about, data, hardware = comparison.about, comparison.data, comparison.hardware
    pairs = [
        ("Data", _joined([data.get("name"), _task(data)])),
        ("Examples", _joined(_sizes(data))),
        ("Split", _text(data.get("split"))),
        ("Note", "; ".join(map(str, data.get("notes") or []))),
        ("Classes", _class_names(data)),
        ("Model", _text(about.get("model"))),
        ("Likelihood", _text(about.get("likelihood"))),
        ("Members", _text(about.get("members"))),
        ("Seeds", _joined(map(str, comparison.seeds))),
        ("Hardware", _joined([hardware.get("processor"), hardware.get("device"), _threads(hardware)])),
        ("Versions", _joined([_version("motet", about.get("motet")), _version("torch", hardware.get("torch"))])),
        ("Commit", _text(about.get("commit")) or "not recorded"),
        ("Date", _date(about.get("created"))),
    ]
    return [(name, value) for name, value in pairs if value]


def training_facts(comparison: Comparison) -> list[tuple[str, str]]:
    """The training settings, as pairs of a name and a value."""
    settings = {name: value for name, value in comparison.training.items() if name != "type"}
    return [(name.replace("_", " "), _plain(value)) for name, value in settings.items()]


def _plain(value: Any) -> str:
    """A setting in words: "yes", "no" or "none" rather than Python's True, False and None."""
    if isinstance(value, dict):
        return _switched_on(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value)) or "none"
    return "none" if value is None else str(value)


def _switched_on(settings: Mapping[str, Any]) -> str:
    """The settings inside a setting (the augmentation) that are not off, or "none"."""
    on = {name: value for name, value in settings.items() if name != "type" and value}
    # These two only refine an augmentation, so that without one they say nothing.
    if not on.keys() - {"padding", "mix_probability"}:
        return "none"
    return ", ".join(f"{name.replace('_', ' ')} {_plain(value)}" for name, value in on.items())


def _task(data: Mapping[str, Any]) -> str:
    """The task with the number of the network's outputs where there are several: "classification, 10 classes"."""
    task, outputs = _text(data.get("task")), data.get("classes") or 1
    if not task or outputs <= 1:
        return task
    return f"{task}, {outputs} {'classes' if task == 'classification' else 'targets'}"


def _sizes(data: Mapping[str, Any]) -> list[str]:
    return [f"{data[part]:,} {part}" for part in ("train", "validation", "test") if data.get(part) is not None]


def _class_names(data: Mapping[str, Any]) -> str:
    names = [str(name) for name in data.get("class_names") or []]
    return _joined([*names[:_MOST_CLASSES], "…"] if len(names) > _MOST_CLASSES else names)


def _threads(hardware: Mapping[str, Any]) -> str:
    threads = hardware.get("threads")
    return f"{threads} thread{'' if threads == 1 else 's'}" if threads else ""


def _version(name: str, version: Any) -> str:
    return f"{name} {version}" if version else ""


def _text(value: Any) -> str:
    """A value of the record as text, "" where there is none."""
    return str(value or "")


def _joined(parts: Iterable[Any]) -> str:
    """The parts that are not empty, separated by commas."""
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
