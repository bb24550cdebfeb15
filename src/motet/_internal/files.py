"""Files that are whole or absent: written beside their final name, then renamed."""

import json
import math
import os
import re
import shutil
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from motet.errors import InputError


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a file in a folder beside `path`, then rename it over `path`.

    A process killed at any moment leaves either the old file or the new one. When `write` fails (a full disk,
    say) the half-written file is removed, `path` keeps what it held, and the error goes on to the caller.

    Raises:
        OSError: naming `path`, if the operating system refuses, also where `write` reports that in its own way.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # A folder, because writers have temporary files of their own (safetensors: .tmpXXXXXX), which a kill leaves too.
    beside = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.part")
    try:
        beside.mkdir()
        whole = beside / path.name
        write(whole)
        with whole.open("rb") as file:
            os.fsync(file.fileno())
        whole.chmod(beside.stat().st_mode & 0o666)  # what the user's umask leaves; safetensors lets only the owner read
        whole.replace(path)
    except Exception as error:
        number = _system_error(error)
        if number is None:
            raise
        raise OSError(number, os.strerror(number), str(path)) from error
    finally:
        shutil.rmtree(beside, ignore_errors=True)


def remove_leftovers(folder: Path) -> None:
    """Remove what killed processes left half-written in `folder`; only that of `write_atomically`."""
    for beside in folder.glob(".*.part"):
        shutil.rmtree(beside, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, atomically."""
    write_atomically(path, lambda beside: beside.write_text(text, encoding="utf-8"))


def to_json(value: Any) -> str:
    """`value` as indented JSON; NaN and infinities, which JSON does not have, become null."""
    return json.dumps(_finite(value), indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def write_json(path: Path, value: Any) -> None:
    """Write `value` to `path` as JSON, atomically. NaN becomes null."""
    write_text(path, to_json(value))


def read_json(path: Path) -> Any:
    """The content of a JSON file. Raises `InputError` if it is not one."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(
            f"{path} must be a whole JSON file", got=f"a damaged one ({error})", fix="Move it away and run again"
        ) from error


def _system_error(error: Exception) -> int | None:
    """The operating system's number for what went wrong; safetensors, for one, has it in the message only."""
    if isinstance(error, OSError):
        return error.errno
    match = re.search(r"\(os error (\d+)\)", str(error))
    return int(match[1]) if match else None


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
