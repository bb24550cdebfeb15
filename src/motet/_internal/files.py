"""Files that are whole or absent: written under a temporary name, then renamed."""

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
    """Let `write` fill a temporary file in the same folder, then rename it to `path`.

    A process killed at any moment leaves either the old file or the new one. If `write` fails (a full disk, for
    example), the temporary file is removed, `path` keeps its content, and the error is raised.

    Raises:
        OSError: naming `path`, if the operating system reports an error, also if `write` converts it to another
            exception.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # In a folder, because writers make their own temporary files (safetensors: .tmpXXXXXX), which a kill leaves too.
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.part")
    try:
        temporary.mkdir()
        whole = temporary / path.name
        write(whole)
        with whole.open("rb") as file:
            os.fsync(file.fileno())
        # the permissions of the user's umask; safetensors allows only the owner to read
        whole.chmod(temporary.stat().st_mode & 0o666)
        whole.replace(path)
    except Exception as error:
        number = _system_error(error)
        if number is None:
            raise
        raise OSError(number, os.strerror(number), str(path)) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary files of `write_atomically` that killed processes left in `folder`."""
    for temporary in folder.glob(".*.part"):
        shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8, atomically."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def to_json(value: Any) -> str:
    """Return `value` as indented JSON; NaN and infinities, which JSON does not have, become null."""
    return json.dumps(_finite(value), indent=2, allow_nan=False, ensure_ascii=False) + "\n"


def write_json(path: Path, value: Any) -> None:
    """Write `value` to `path` as JSON, atomically. NaN becomes null."""
    write_text(path, to_json(value))


def read_json(path: Path) -> Any:
    """Return the content of a JSON file.

    Raises:
        InputError: if it is not a JSON file.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(
            f"{path} must be a complete JSON file", got=f"a damaged one ({error})", fix="Move it away and run again"
        ) from error


def _system_error(error: Exception) -> int | None:
    """Return the operating system's error number; safetensors, for example, has it only in the message."""
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
