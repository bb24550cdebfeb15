"""Facts about a comparison: data, model, hardware, versions and training settings."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime

from motet.data import DataDescription
from motet.experiments.records import Hardware
from motet.report.record import Comparison

_MOST_CLASSES = 20
_OUTPUTS = {"classification": "classes", "multilabel": "labels"}


def facts(comparison: Comparison) -> list[tuple[str, str]]:
    """Return the facts about the comparison as pairs of a name and a value, without facts that the record lacks."""
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
        ("Trained otherwise", "; ".join(record.other_versions or ())),
        ("Date", _date(record.created)),
    ]
    return [(name, value) for name, value in pairs if value]


def training_facts(comparison: Comparison) -> list[tuple[str, str]]:
    """Return the training settings, as pairs of a name and a value."""
    left_out = ("type", "largest_batch_size")  # the batch size is known
    settings = {name: value for name, value in comparison.record.training.items() if name not in left_out}
    return [(name.replace("_", " "), _plain(value)) for name, value in settings.items()]


def _plain(value: object) -> str:
    """Return the text of a setting, with "yes", "no" and "none" instead of True, False and None."""
    if isinstance(value, Mapping):
        return _switched_on(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return ", ".join(map(_plain, value)) or "none"
    return "none" if value is None else str(value)


def _switched_on(settings: Mapping[str, object]) -> str:
    """Return the nested settings (of the augmentation) that are switched on, or "none"."""
    on = {name: value for name, value in settings.items() if name != "type" and value}
    # These two settings only modify an augmentation. Without one they are left out.
    if not on.keys() - {"padding", "mix_probability"}:
        return "none"
    return ", ".join(f"{name.replace('_', ' ')} {_plain(value)}" for name, value in on.items())


def _data_facts(data: DataDescription) -> list[tuple[str, str]]:
    return [
        ("Data", _joined([data.name, _task(data)])),
        ("Examples", _joined(_sizes(data))),
        ("Split", data.split or ""),
        ("Note", "; ".join(data.notes or ())),
        ("Labels" if data.task == "multilabel" else "Classes", _names(data.class_names)),
        ("Targets", _names(data.target_names or ())),
    ]


def _task(data: DataDescription) -> str:
    """Return the task, with the number of classes or targets if there are several: "classification, 10 classes"."""
    outputs = data.classes or 1
    if data.task is None or outputs <= 1:
        return data.task or ""
    return f"{data.task}, {outputs} {_OUTPUTS.get(data.task, 'targets')}"


def _sizes(data: DataDescription) -> list[str]:
    parts = {"train": data.train, "validation": data.validation, "test": data.test}
    return [f"{rows:,} {part}" for part, rows in parts.items() if rows is not None]


def _names(names: Sequence[str]) -> str:
    return _joined([*names[:_MOST_CLASSES], "…"] if len(names) > _MOST_CLASSES else names)


def _threads(hardware: Hardware) -> str:
    return f"{hardware.threads} thread{'' if hardware.threads == 1 else 's'}" if hardware.threads else ""


def _version(name: str, version: str) -> str:
    return f"{name} {version}" if version else ""


def _joined(parts: Iterable[str]) -> str:
    """Return the parts that are not empty, separated by commas."""
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
