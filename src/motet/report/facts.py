"""How a comparison was run, in words."""

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

from motet.data import DataDescription
from motet.experiments.records import Hardware
from motet.report.record import Comparison

_MOST_CLASSES = 20


def facts(comparison: Comparison) -> list[tuple[str, str]]:
    """How the comparison was run, as pairs of a name and a value. What the record does not say is left out."""
    record = comparison.record
    pairs = [
        *(_data_facts(record.data) if record.data is not None else []),
        ("Model", record.model),
        ("Likelihood", record.likelihood or ""),
        ("Members", str(record.members or "")),
        ("Seeds", _joined(map(str, record.seeds))),
        ("Hardware", _joined([record.hardware.processor, record.hardware.device, _threads(record.hardware)])),
        ("Versions", _joined([_version("motet", record.motet), _version("torch", record.hardware.torch)])),
        ("Commit", record.commit or "not recorded"),
        ("Date", _date(record.created)),
    ]
    return [(name, value) for name, value in pairs if value]


def training_facts(comparison: Comparison) -> list[tuple[str, str]]:
    """The training settings, as pairs of a name and a value."""
    settings = {name: value for name, value in comparison.record.training.items() if name != "type"}
    return [(name.replace("_", " "), _plain(value)) for name, value in settings.items()]


def _plain(value: object) -> str:
    """A setting in words: "yes", "no" or "none" rather than Python's True, False and None."""
    if isinstance(value, Mapping):
        return _switched_on(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value)) or "none"
    return "none" if value is None else str(value)


def _switched_on(settings: Mapping[str, object]) -> str:
    """The settings inside a setting (the augmentation) that are not off, or "none"."""
    on = {name: value for name, value in settings.items() if name != "type" and value}
    # These two only refine an augmentation, so that without one they say nothing.
    if not on.keys() - {"padding", "mix_probability"}:
        return "none"
    return ", ".join(f"{name.replace('_', ' ')} {_plain(value)}" for name, value in on.items())


def _data_facts(data: DataDescription) -> list[tuple[str, str]]:
    return [
        ("Data", _joined([data.name, _task(data)])),
        ("Examples", _joined(_sizes(data))),
        ("Split", data.split or ""),
        ("Note", "; ".join(data.notes or ())),
        ("Classes", _class_names(data)),
    ]


def _task(data: DataDescription) -> str:
    """The task with the number of the network's outputs where there are several: "classification, 10 classes"."""
    outputs = data.classes or 1
    if data.task is None or outputs <= 1:
        return data.task or ""
    return f"{data.task}, {outputs} {'classes' if data.task == 'classification' else 'targets'}"


def _sizes(data: DataDescription) -> list[str]:
    parts = {"train": data.train, "validation": data.validation, "test": data.test}
    return [f"{rows:,} {part}" for part, rows in parts.items() if rows is not None]


def _class_names(data: DataDescription) -> str:
    names = data.class_names
    return _joined([*names[:_MOST_CLASSES], "…"] if len(names) > _MOST_CLASSES else names)


def _threads(hardware: Hardware) -> str:
    return f"{hardware.threads} thread{'' if hardware.threads == 1 else 's'}" if hardware.threads else ""


def _version(name: str, version: str) -> str:
    return f"{name} {version}" if version else ""


def _joined(parts: Iterable[str]) -> str:
    """The parts that are not empty, separated by commas."""
    return ", ".join(part for part in parts if part)


def _date(created: str) -> str:
    try:
        moment = datetime.fromisoformat(created)
    except ValueError:
        return created
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC)
    zone = " UTC" if moment.tzinfo is not None else ""
    return f"{moment.day} {moment:%B %Y, %H:%M}{zone}"
