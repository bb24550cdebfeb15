"""Frozen dataclasses of settings as plain data, and back."""

from collections.abc import Iterable
from dataclasses import fields, is_dataclass
from typing import Any

from motet.errors import InputError, nearest


def to_record(settings: Any) -> dict[str, Any]:
    """A settings dataclass as plain data for JSON, each dataclass with its type's name under ``"type"``."""
    record: dict[str, Any] = {"type": type(settings).__name__}
    for item in fields(settings):
        record[item.name] = _plain(getattr(settings, item.name))
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
    name = record.get("type") if isinstance(record, dict) else None
    if not isinstance(name, str) or name not in types:
        raise InputError("a record must name a known type", got=repr(name), fix=nearest(str(name), types))
    values = {key: _rich(value, types.values()) for key, value in record.items() if key != "type"}
    try:
        return types[name](**values)
    except TypeError as error:
        raise InputError(
            f"a record of {name} must have its fields", got=str(error), fix="Use the version of motet that wrote it"
        ) from error


def _plain(value: Any) -> Any:
    if is_dataclass(value):
        return to_record(value)
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _rich(value: Any, known: Iterable[type]) -> Any:
    if isinstance(value, dict):
        return from_record(value, known)
    return tuple(_rich(item, known) for item in value) if isinstance(value, list) else value
