"""Files that are whole or absent: written under a temporary name, then renamed."""

import json
import math
import os
import re
import shutil
import uuid
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from motet.errors import InputError


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let `write` fill a temporary file in the same folder, then rename it to `path`.

    A process killed at any moment, or a machine that loses power, leaves either the old file or the new one. If `write`
    fails (a full disk, for example), the temporary file is removed, `path` keeps its content, and the error is raised.

    Raises:
        OSError: naming `path`, if the operating system reports an error, also if `write` converts it to another
            exception.
    """
    make_folder(path.parent)
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
        _sync_folder(path.parent)
    except Exception as error:
        number = _system_error(error)
        if number is None:
            raise
        raise OSError(number, os.strerror(number), str(path)) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def make_folder(folder: Path) -> None:
    """Create `folder` and its parents, so that they survive a power failure; nothing if it exists.

    Raises:
        OSError: if the operating system reports an error.
    """
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for place in reversed(missing):
        _sync_folder(place.parent)


def is_leftover(path: Path) -> bool:
    """Whether `path` is, or is in, a temporary folder of `write_atomically`."""
    return any(_TEMPORARY.fullmatch(part) for part in path.parts)


def remove_leftovers(folder: Path, *, everywhere: bool = False) -> None:
    """Remove the temporary files of `write_atomically` that killed processes left in `folder`.

    No other process may be writing there, see `motet._internal.folder_lock`.

    Args:
        folder: the folder.
        everywhere: whether to remove them in the folders below it, too.
    """
    for temporary in [*(folder.rglob if everywhere else folder.glob)(".*.part")]:
        if _TEMPORARY.fullmatch(temporary.name):
            shutil.rmtree(temporary, ignore_errors=True)


_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{12}\.part")


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
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{path} must be a complete JSON file", got=f"a damaged one ({error})", fix="Move it away and run again"
        ) from error


def _sync_folder(folder: Path) -> None:
    """Write the folder's list of names to the disk: without it, a renamed file may be lost with the power."""
    if os.name != "posix":  # other systems cannot open a folder
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some file systems do not support it
            os.fsync(opened)
    finally:
        os.close(opened)


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
