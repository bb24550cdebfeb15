"""Records: frozen dataclasses that are written as JSON, and validated by their types when they are read back."""

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from typing import Annotated, Any, TypeVar, cast, dataclass_transform

from pydantic import BeforeValidator, ConfigDict, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass as pydantic_dataclass

from motet._internal.files import write_text
from motet.errors import InputError

SCHEMA_VERSION = 1
"""Version of the layout of all records. It rises when a field changes its meaning or disappears."""

T = TypeVar("T")
Upgrade = Callable[[dict[str, Any]], dict[str, Any]]

Number = Annotated[float, BeforeValidator(lambda value: math.nan if value is None else value)]
"""A number that may be missing: NaN in Python, null in JSON, which has no NaN."""


@dataclass_transform(frozen_default=True, kw_only_default=True)
def record(kind: type[T]) -> type[T]:
    """Class decorator: a frozen, keyword-only dataclass whose fields are validated when it is read from JSON.

    A value of another type than the field's annotation is refused, and so are unknown fields. Lists become tuples where
    a tuple is declared. Making one in Python is validated too, less strictly: an int may stand for a float.
    """
    make: Any = pydantic_dataclass(frozen=True, kw_only=True, config=ConfigDict(extra="forbid"))
    made: type[T] = make(kind)
    return made


def to_plain(value: Any) -> Any:
    """A record as plain data for JSON: dictionaries, lists, text and numbers; NaN and infinities become None."""
    if is_dataclass(value) and not isinstance(value, type):
        return {item.name: to_plain(getattr(value, item.name)) for item in fields(value)}
    if isinstance(value, Mapping):
        return {str(key): to_plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value


def write_record(path: Path, value: Any) -> None:
    """Write a record to `path` as JSON, with the schema's version first; the file is whole or absent."""
    content = {"schema_version": SCHEMA_VERSION, **to_plain(value)}
    write_text(path, json.dumps(content, indent=2, allow_nan=False, ensure_ascii=False) + "\n")


def read_record(path: Path, kind: type[T], *, upgrade: Upgrade | None = None) -> T:
    """The record of type `kind` in the JSON file at `path`.

    Args:
        path: the file.
        kind: a class decorated with `record`.
        upgrade: brings the content of a file without a schema version, of before there was one, to today's layout.

    Raises:
        InputError: naming the file and the field, if the file is no whole JSON object, was written by a newer motet, or
            has a field that is missing, unknown, of another type or out of range.
        OSError: if the file cannot be read.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{path} must be a whole JSON file", got=f"a damaged one ({error})", fix="Move it away and run again"
        ) from error
    return from_plain(content, kind, where=str(path), upgrade=upgrade)


def from_plain(content: object, kind: type[T], *, where: str, upgrade: Upgrade | None = None) -> T:
    """The record that `to_plain` made `content` from; `where` names its place in errors. See `read_record`."""
    if not isinstance(content, dict):
        raise InputError(f"{where} must hold a record", got=_short(content), fix=_FIX)
    content = dict(content)
    version = content.pop("schema_version", 0)
    if type(version) is not int or version < 0:
        raise InputError(f"schema_version in {where} must be a whole number", got=_short(version), fix=_FIX)
    if version > SCHEMA_VERSION:
        raise InputError(
            f"schema_version in {where} must be at most {SCHEMA_VERSION}",
            got=f"{version}, of a newer motet",
            fix="Install the version of motet that wrote it, or a newer one",
        )
    if version == 0 and upgrade is not None:
        try:
            content = upgrade(content)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, InputError):
                raise
            raise InputError(
                f"{where} must have the fields of a record", got=f"{type(error).__name__}: {error}", fix=_FIX
            ) from error
    try:
        # Through JSON text: its strict mode takes lists for tuples, and text for paths, but no text for numbers.
        found: T = _adapter(cast(Any, kind)).validate_json(json.dumps(content), strict=True)
    except ValidationError as error:
        raise _as_input_error(error, where) from error
    return found


_FIX = "Bring back the file as motet wrote it, or move it away and run again"


@cache
def _adapter(kind: Any) -> Any:
    return TypeAdapter(kind)


def _as_input_error(error: ValidationError, where: str) -> InputError:
    first = error.errors(include_url=False, include_context=False)[0]
    field = ".".join(map(str, first["loc"])) or "the record"
    if first["type"] == "missing":
        return InputError(f"{field} must be in {where}", got="no such field", fix=_FIX)
    if first["type"].startswith("unexpected"):
        return InputError(f"{where} must hold known fields only", got=f"the field {field}", fix=_FIX)
    requirement = first["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
    return InputError(f"{field} in {where} must be {requirement}", got=_short(first["input"]), fix=_FIX)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
