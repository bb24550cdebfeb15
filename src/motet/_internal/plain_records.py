"""Convert frozen dataclasses of settings to plain data, and back."""

import json
import math
from collections.abc import Callable, Iterable
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin, get_type_hints

from motet._internal.loading import describe_error
from motet._internal.renamed_settings import with_new_names
from motet._internal.wording import with_article
from motet.errors import InputError, nearest

Name = Callable[[type], str]
Load = Callable[[str], type]

LEFT_OUT = "left out of records at its default"
"""A key of the metadata of fields, see `to_record`."""

_FIX = "Restore the record as motet wrote it, or run again"


def to_record(settings: Any, *, name: Name = lambda kind: kind.__name__) -> dict[str, Any]:
    """Return a settings dataclass as plain data for JSON, with the name of its type under ``"type"``.

    A field whose metadata has ``LEFT_OUT`` is left out where it has its default: records of before the field was added
    stay the same.

    Args:
        settings: an instance of a dataclass.
        name: returns the name of a type. A name with a colon is resolved by `from_record`'s `load`.

    Raises:
        InputError: naming the field, for a value that a record cannot restore exactly.
    """
    record: dict[str, Any] = {"type": name(type(settings))}
    for item in fields(settings):
        value = getattr(settings, item.name)
        if item.init and not (item.metadata.get(LEFT_OUT) and value == item.default):
            record[item.name] = _plain(value, name, f"{item.name} of {type(settings).__name__}")
    return record


def from_record(record: dict[str, Any], known: Iterable[type], *, load: Load | None = None) -> Any:
    """Return the settings in a record made by `to_record`.

    Args:
        record: plain data.
        known: the dataclasses that the record may contain.
        load: returns the class of a name with a colon, ``module:Class``, or raises `InputError`. Without it such names
            are refused, and nothing is imported.

    Raises:
        InputError: naming the field, if a type or a field is unknown, a field is missing, a value has another type than
            the field, or the settings refuse it. An int is accepted for a float.
    """
    return _read(with_new_names(record), {kind.__name__: kind for kind in known}, load, (), "a record")


def _plain(value: Any, name: Name, where: str) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return to_record(value, name=name)
    if isinstance(value, list | tuple):
        return [_plain(item, name, where) for item in value]
    if value is None or type(value) in (str, int, bool) or (type(value) is float and math.isfinite(value)):
        return value
    shown = repr(value)
    raise InputError(
        f"{where} must be a setting that a record can hold: a finite number, text, a bool, None, a tuple of these, "
        "or a dataclass of settings",
        got=f"{with_article(type(value).__name__)}, {shown if len(shown) <= 60 else shown[:57] + '...'}",
        fix="Give the field such a type",
    )


def _read(record: object, types: dict[str, type], load: Load | None, allowed: tuple[type, ...], where: str) -> Any:
    kind, given = _kind_of(record, types, load)
    name = record["type"] if isinstance(record, dict) else ""
    if allowed and not issubclass(kind, allowed):
        wanted = " or ".join(each.__name__ for each in allowed)
        raise InputError(f"{where} must be a record of {wanted}", got=f"a record of {name}", fix=_FIX)
    _check_fields(kind, given, name)
    hints = _hints(kind)

    def read(item: object, hint: Any, where: str) -> Any:
        return _read(item, types, load, tuple(_classes(hint)), where)

    values = {key: _value(value, hints.get(key, Any), f"{key} of {name}", read) for key, value in given.items()}
    try:
        return kind(**values)
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"the settings in a record of {name} must be valid", got=describe_error(error), fix=_FIX
        ) from error


def _kind_of(record: object, types: dict[str, type], load: Load | None) -> tuple[type, dict[str, Any]]:
    """Return the class that a record names, and the record's fields without the name."""
    name = record.get("type") if isinstance(record, dict) else None
    if not isinstance(record, dict) or not isinstance(name, str):
        raise InputError("a record must name a known type", got=repr(name), fix=nearest(str(name), types))
    given = {key: value for key, value in record.items() if key != "type"}
    if load is not None and ":" in name:
        return load(name), given
    if name not in types:
        raise InputError("a record must name a known type", got=repr(name), fix=nearest(name, types))
    return types[name], given


def _check_fields(kind: type, given: dict[str, Any], name: str) -> None:
    """Raise `InputError` unless a record has all required fields of its class, and no unknown ones."""
    kinds: dict[str, Field[Any]] = {item.name: item for item in fields(kind) if item.init}
    if unknown := [key for key in given if key not in kinds]:
        raise InputError(
            f"a record of {name} must have only its fields", got=f"the unknown field {unknown[0]}", fix=_NEWER
        )
    needed = [key for key, item in kinds.items() if item.default is MISSING and item.default_factory is MISSING]
    if missing := [key for key in needed if key not in given]:
        raise InputError(
            f"a record of {name} must have all its fields", got=f"no field called {missing[0]}", fix=_NEWER
        )


_NEWER = "Use the version of motet that wrote it"


def _value(value: Any, hint: Any, where: str, read: Callable[[Any, Any, str], Any]) -> Any:
    """Return a field's value: nested settings are read as records; other values must have the field's type."""
    if isinstance(value, dict) and (_classes(hint) or _adapter(_of_plain_data(hint)) is None):
        return read(value, hint, where)
    if isinstance(value, list) and any(isinstance(item, dict) for item in value):
        each = (*get_args(hint), Any)[0]
        return tuple(_value(item, each, f"{where}, item {number}", read) for number, item in enumerate(value, start=1))
    return _typed(value, hint, where)


def _typed(value: Any, hint: Any, where: str) -> Any:
    from pydantic import ValidationError

    plain = _of_plain_data(hint)
    shown = repr(value)
    got = shown if len(shown) <= 60 else f"{shown[:57]}..."
    if not plain:
        wanted = " or ".join(kind.__name__ for kind in _classes(hint))
        raise InputError(f"{where} must be a record of {wanted}", got=got, fix=_FIX)
    adapter = _adapter(plain)
    if adapter is None:
        return tuple(value) if isinstance(value, list) else value
    try:
        # Through JSON text: in strict mode it accepts lists for tuples and ints for floats, but no text or bool for a
        # number.
        return adapter.validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        wanted = first["msg"].removeprefix("Input should be ").replace("a valid array", "a list")
        raise InputError(f"{where} must be {wanted}", got=got, fix=_FIX) from error
    except Exception as error:  # a settings class deep inside the type, which pydantic tries to make itself
        raise InputError(f"{where} must have the type of its field", got=describe_error(error), fix=_FIX) from error


@cache
def _adapter(hint: Any) -> Any:
    """Return the validator for values of that type; None if pydantic has none."""
    from pydantic import ConfigDict, PydanticUserError, TypeAdapter

    if hint is Any:
        return None
    try:
        return TypeAdapter(hint, config=ConfigDict(allow_inf_nan=False))
    except (PydanticUserError, TypeError, NameError):
        return None


def _of_plain_data(hint: Any) -> Any:
    """Return the type without the settings classes in it; an empty tuple if nothing is left."""
    if get_origin(hint) in (Union, UnionType):
        options = tuple(option for option in get_args(hint) if not is_dataclass(option))
        return Union[options] if options else ()  # noqa: UP007 - of a tuple
    return () if is_dataclass(hint) else hint


@cache
def _hints(kind: type) -> dict[str, Any]:
    """Return the types of a dataclass's fields; none if they cannot be resolved."""
    try:
        return get_type_hints(kind, include_extras=True)
    except (NameError, TypeError, AttributeError):
        return {}


def _classes(hint: Any) -> list[type]:
    """Return the classes that a nested record may have; none if all are allowed."""
    if get_origin(hint) is Annotated:
        return _classes(get_args(hint)[0])
    if get_origin(hint) in (Union, UnionType):
        return [kind for option in get_args(hint) for kind in _classes(option)]
    return [hint] if isinstance(hint, type) and hint is not type(None) else []
