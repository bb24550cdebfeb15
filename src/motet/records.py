"""Frozen dataclasses of settings as plain data, and back."""

from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from typing import Any

from motet.errors import InputError, nearest


def to_record(settings: Any) -> dict[str, Any]:
    """A settings dataclass as plain data for JSON, each dataclass with its type's name under ``"type"``."""
    record: dict[str, Any] = {"type": type(settings).__name__}
    for item in fields(settings):
        value = getattr(settings, item.name)
        if is_dataclass(value):
            record[item.name] = to_record(value)
        else:
            record[item.name] = list(value) if isinstance(value, tuple) else value
    return record


def from_record(record: dict[str, Any], known: Iterable[type]) -> Any:
    """The settings that `to_record` made `record` from.

    Args:
        record: plain data.
        known: the dataclasses that may stand in it. Nothing else is ever imported or called.

    Raises:
        InputError: if a type or a field is unknown.
    """
    types = {kind.__name__: kind for kind in known}
    name = record.get("type")
    if name not in types:
        raise InputError("a record must name a known type", got=repr(name), fix=nearest(str(name), types))
    values = {
        key: from_record(value, types.values())
        if isinstance(value, dict)
        else tuple(value)
        if isinstance(value, list)
        else value
        for key, value in record.items()
        if key != "type"
    }
    try:
        return types[name](**values)
    except TypeError as error:
        raise InputError(
            f"a record of {name} must have its fields", got=str(error), fix="Use the version of motet that wrote it"
        ) from error
