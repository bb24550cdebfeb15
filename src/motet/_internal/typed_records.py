"""Records: frozen dataclasses that are written as JSON, and validated by their types when they are read."""

import json
import math
import re
import warnings
from collections.abc import Callable, Mapping
from dataclasses import field, fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast, dataclass_transform

from pydantic import AfterValidator, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as pydantic_dataclass

from motet._internal.files import write_text
from motet.errors import InputError

SCHEMA_VERSION = 1
"""The version of the layout of all records. It increases when a field changes its meaning or is removed."""

FIX = "Restore the file as motet wrote it, or move it away and run again"
"""The advice for a damaged file that a run can make again."""

T = TypeVar("T")
Upgrade = Callable[[dict[str, Any]], dict[str, Any]]

Number = Annotated[float, BeforeValidator(lambda value: math.nan if value is None else value)]
"""A number that may be missing: NaN in Python, null in JSON, which has no NaN."""


def _not_negative(value: float) -> float:
    if value < 0:
        raise ValueError("at least 0")
    return value


def _at_most_one(value: float) -> float:
    if value > 1 + 1e-4:  # a mean of float32 values may be slightly larger
        raise ValueError("at most 1")
    return value


Amount = Annotated[Number, AfterValidator(_not_negative)]
"""A number from 0, or NaN."""
Share = Annotated[Amount, AfterValidator(_at_most_one)]
"""A number from 0 to 1, or NaN."""
Count = Annotated[int, Field(ge=0, le=2**63 - 1)]
"""An integer of at least 0."""


@dataclass_transform(frozen_default=True, kw_only_default=True)
def record(kind: type[T]) -> type[T]:
    """Class decorator: a frozen, keyword-only dataclass whose fields are validated when it is read from JSON.

    A value of another type than the field's annotation is refused, and so are unknown fields. Lists become tuples if a
    tuple is declared. Instances made in Python are validated too, less strictly: an int is accepted for a float.

    Records were dictionaries in earlier versions: ``record["rows"]`` still works like ``record.rows``, with a
    `DeprecationWarning`.
    """
    if not hasattr(kind, "__getitem__"):
        kind.__getitem__ = _by_name  # type: ignore[index]
    make: Any = pydantic_dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
    made: type[T] = make(kind)
    return made


def _by_name(self: object, name: str) -> Any:
    kind = type(self).__name__
    if name not in {item.name for item in fields(cast(Any, self))}:
        raise KeyError(name)
    warnings.warn(
        f"{kind} is no longer a dictionary: use .{name} instead of [{name!r}]. This will be removed in motet 1.0.",
        DeprecationWarning,
        stacklevel=2,
    )
    return getattr(self, name)


def absent() -> Any:
    """Return the default for an optional field: None, which is left out of the JSON."""
    return field(default=None, metadata={"absent": True})


def to_plain(value: Any) -> Any:
    """Return a record as plain data for JSON: dictionaries, lists, text and numbers; NaN and infinities become None."""
    if is_dataclass(value) and not isinstance(value, type):
        held = [(item, getattr(value, item.name)) for item in fields(value)]
        return {
            item.name: item.metadata["plain"](each) if "plain" in item.metadata else to_plain(each)
            for item, each in held
            if each is not None or "absent" not in item.metadata
        }
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def record_content(value: Any) -> dict[str, Any]:
    """Return a record as plain data, with the schema version first."""
    return {"schema_version": SCHEMA_VERSION, **to_plain(value)}


def record_json(value: Any) -> str:
    """Return a record as indented JSON, with the schema version first."""
    return json.dumps(record_content(value), indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def write_record(path: Path, value: Any) -> None:
    """Write a record to `path` as JSON; the file is whole or absent."""
    write_text(path, record_json(value))


def read_record(path: Path, kind: type[T], *, upgrade: Upgrade | None = None, fix: str = FIX) -> T:
    """Read a record of type `kind` from a JSON file.

    Args:
        path: the file.
        kind: a class decorated with `record`.
        upgrade: converts the content of a file without a schema version to the current layout.
        fix: the advice in errors.

    Raises:
        InputError: naming the file and the field, if the file is not a whole JSON object, was written by a newer motet,
            or has a field that is missing, unknown, of another type or out of range.
        OSError: if the file cannot be read.
    """
    return from_plain(read_plain(path, fix=fix), kind, where=str(path), upgrade=upgrade, fix=fix)


def read_plain(path: Path, *, fix: str = FIX) -> object:
    """Return the content of a JSON file.

    Raises:
        InputError: if it is damaged.
        OSError: if it cannot be read.
    """
    try:
        return cast(object, json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} must be a complete JSON file", got=f"a damaged one ({error})", fix=fix) from error


def from_plain(content: object, kind: type[T], *, where: str, upgrade: Upgrade | None = None, fix: str = FIX) -> T:
    """Return the record in plain data made by `to_plain`.

    Args:
        content: plain data.
        kind: a class decorated with `record`.
        where: the name of the content in errors.
        upgrade: see `read_record`.
        fix: see `read_record`.

    Raises:
        InputError: see `read_record`.
    """
    if not isinstance(content, Mapping):
        raise InputError(f"{where} must hold a record", got=short(content), fix=fix)
    content = dict(content)
    version = content.pop("schema_version", 0)
    if type(version) is not int or version < 0:
        raise InputError(f"schema_version in {where} must be an integer", got=short(version), fix=fix)
    if version > SCHEMA_VERSION:
        raise InputError(
            f"schema_version in {where} must be at most {SCHEMA_VERSION}",
            got=f"{short(version)}, of a newer motet",
            fix="Install the version of motet that wrote it, or a newer one",
        )
    if version == 0 and upgrade is not None:
        try:
            content = upgrade(content)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"{where} must have the fields of a record", got=f"{type(error).__name__}: {error}", fix=fix
            ) from error
    try:
        text = json.dumps(content)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{where} must contain only plain data, as in JSON", got=str(error), fix=fix) from error
    if "\\ud" in text:  # the beginning of a surrogate's escape
        _check_text(content, where, fix)
    try:
        # Through JSON text: strict mode accepts lists for tuples, and text for paths, but no text for numbers.
        found: T = _adapter(cast(Any, kind)).validate_json(text, strict=True)
    except ValidationError as error:
        raise _as_input_error(error, where, fix) from error
    return found


@cache
def _adapter(kind: Any) -> Any:
    return TypeAdapter(kind)


def _check_text(value: object, where: str, fix: str, place: str = "") -> None:
    """Raise `InputError` for lone surrogates, which JSON can hold, but not a file in UTF-8."""
    if isinstance(value, str) and not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            raise InputError(
                f"{place} in {where} must hold valid Unicode text", got=short(ascii(value)), fix=fix
            ) from error
    elif isinstance(value, Mapping):
        for key, inner in value.items():
            _check_text(str(key), where, fix, place or "the fields")
            _check_text(inner, where, fix, f"{place}.{key}".removeprefix("."))
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            _check_text(inner, where, fix, f"{place}.{index}")


def _as_input_error(error: ValidationError, where: str, fix: str) -> InputError:
    first = error.errors(include_url=False, include_context=False)[0]
    place = ".".join(map(str, first["loc"])) or "the record"
    if first["type"] == "missing":
        return InputError(f"{place} must be in {where}", got="no such field", fix=fix)
    if first["type"].startswith("unexpected"):
        return InputError(f"{where} must hold only known fields", got=f"the field {place}", fix=fix)
    # pydantic says "Input should be a valid number", "Tuple should have at least 1 item", "Value error, ...".
    requirement = re.sub(r"^\w+ should ", "", re.sub(r"^Value error, ", "be ", first["msg"]))
    return InputError(f"{place} in {where} must {requirement}", got=short(first["input"]), fix=fix)


def short(value: object) -> str:
    """Return the ``repr`` of a value, shortened for an error message."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
