"""Tensors in a safetensors file with checksums, so that damage is noticed. Reading it executes no code.

Beside the tensors the file has a JSON object, ``about``, in its metadata. There are checksums of that object, and of
each tensor: its name, dtype, shape and bytes. A file of an older version of motet has none, and is read without this
check.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from motet._internal.files import write_atomically

# Fields of the object. They are not the file's metadata, whose order safetensors does not keep: equal content must give
# equal files.
_CHECKSUMS = "checksums"
_VERSION = "format"


def write_tensors(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, object], *, key: str) -> None:
    """Write `tensors` and `about` to `path`, atomically.

    Args:
        path: the file.
        tensors: the tensors, on any device.
        about: plain data for JSON.
        key: the name of `about` in the file, which says what kind of file it is.

    Raises:
        OSError: if the disk is full, or the folder cannot be written.
    """
    from safetensors.torch import save_file

    # Clones, because safetensors refuses tensors that share memory (tied weights).
    copies = {name: value.detach().cpu().contiguous().clone() for name, value in tensors.items()}
    plain: dict[str, Any] = json.loads(json.dumps({**about, _VERSION: 1}))  # as it will be read
    checksums = {
        "about": _digest([_canonical(plain)]),
        "tensors": {name: _checksum(name, copies[name]) for name in copies},
    }
    metadata = {key: json.dumps(plain | {_CHECKSUMS: checksums})}
    write_atomically(path, lambda file: save_file(copies, file, metadata=metadata))


def read_tensors(
    path: Path, *, key: str, only: Callable[[str], bool] = lambda _: True
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return a file's ``about``, and the tensors whose names `only` accepts.

    Args:
        path: the file.
        key: see `write_tensors`.
        only: whether the tensor with this name is wanted. Others are neither read nor checked.

    Raises:
        SafetensorError: if it is no safetensors file.
        LookupError: if it is another kind of file.
        ValueError: if it was changed or damaged after it was written.
        OSError: if it cannot be read.
    """
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        about = _object((file.metadata() or {})[key])
        names = list(file.keys())
        tensors: dict[str, Tensor] = {name: file.get_tensor(name) for name in names if only(name)}
    if _CHECKSUMS in about:
        _check(about.pop(_CHECKSUMS), about, names, tensors)
    elif _VERSION in about:
        raise ValueError("it has no checksums, so it was changed or damaged after it was written")
    return about, tensors


def _object(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except RecursionError as error:
        raise ValueError(f"{_DAMAGED}: its description is nested too deeply") from error
    checksums = found.get(_CHECKSUMS, {"tensors": {}}) if isinstance(found, dict) else None
    if not isinstance(checksums, dict) or not isinstance(checksums.get("tensors"), dict):
        raise ValueError(f"{_DAMAGED}: its description")
    whole: dict[str, Any] = found
    return whole


def _check(held: Any, about: Mapping[str, object], names: Iterable[str], tensors: Mapping[str, Tensor]) -> None:
    if held.get("about") != _digest([_canonical(about)]):
        raise ValueError(f"{_DAMAGED}: its description")
    if held["tensors"].keys() != set(names):
        raise ValueError(f"{_DAMAGED}: other tensors than were written")
    for name, value in tensors.items():
        if held["tensors"][name] != _checksum(name, value):
            raise ValueError(f"{_DAMAGED}: the tensor {name}")


_DAMAGED = "it was changed or damaged after it was written, because this does not match its checksum"


def _canonical(about: Mapping[str, object]) -> bytes:
    return json.dumps(about, sort_keys=True).encode()


def _checksum(name: str, value: Tensor) -> str:
    return _digest([f"{name} {value.dtype} {tuple(value.shape)}".encode(), bytes_of(value)])


def bytes_of(values: Tensor) -> memoryview:
    """Return a tensor's values, in the order of its indices."""
    return values.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data


def _digest(parts: Iterable[bytes | memoryview]) -> str:
    found = hashlib.sha256()
    for part in parts:
        found.update(part)
    return found.hexdigest()
