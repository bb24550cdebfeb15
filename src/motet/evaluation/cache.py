"""A cache of partial results, so that an interrupted evaluation can continue."""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast, final

import torch
from torch import Tensor

import motet
from motet._internal.files import remove_leftovers, write_text
from motet._internal.nested import tensors_of
from motet._internal.tensor_file import bytes_of
from motet._internal.typed_records import from_plain, to_plain
from motet.data import Dataset, ImageFiles, Split
from motet.ensemble import Ensemble
from motet.errors import InputError

CACHE_FOLDER = "evaluation-parts"
"""The folder of the cache in a run's folder, until the evaluation is finished."""
_AT_ONCE = 4096

T = TypeVar("T")


@final
class EvaluationCache:
    """Results of an unfinished evaluation: one file each in one folder, each whole or absent.

    The name of a file is a hash of everything that its result depends on, and the file also contains that:
    `depends_on`, and which result it is. Results with other dependencies are never read; `clear` removes them.

    Args:
        folder: the cache's folder, created when it is needed. Use another one for each ensemble.
        depends_on: everything that all results depend on, as plain data for JSON. See `for_ensemble`.
    """

    def __init__(self, folder: Path, depends_on: Mapping[str, object]) -> None:
        self.folder = folder
        # as it will be read back
        self.depends_on: dict[str, Any] = json.loads(json.dumps(depends_on, default=to_plain))
        self._own: list[Path] = []

    @classmethod
    def for_ensemble(
        cls, folder: str | Path, ensemble: Ensemble, dataset: Dataset, *, about: object
    ) -> "EvaluationCache":
        """Return a cache whose results depend on the ensemble's weights, the data, the device, torch, and motet's own
        code.

        Args:
            folder: see `EvaluationCache`.
            ensemble: the ensemble, on the device on which it will be evaluated.
            dataset: the data that it will be evaluated on.
            about: everything else that its predictions depend on, as plain data for JSON: the settings of the method
                and the model, for example.
        """
        return cls(
            Path(folder),
            {
                "weights": digest_of_weights(ensemble),
                "about": about,
                "data": digest_of_data(dataset),
                "motet": motet.__version__,
                "code": _code(),
                "torch": str(torch.__version__),
                "device": next(ensemble.parameters()).device.type,
            },
        )

    def find(self, kind: type[T], **result: object) -> T | None:
        """Return the result of type `kind` stored under the same keywords; None if there is none, or its file
        is damaged.
        """
        key, path = self._place(result)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(content, dict) or content.get("key") != key or not _is_whole(content):
                return None
            return from_plain(content.get("found"), kind, where=str(path))
        except (OSError, ValueError, RecursionError, InputError):
            return None

    def keep(self, found: object, **result: object) -> None:
        """Store a record under these keywords. Numbers are restored exactly, including NaN and infinities.

        Raises:
            OSError: if the disk is full, or the folder cannot be written.
        """
        key, path = self._place(result)
        plain = _without_absent(asdict(cast(Any, found)))
        content = {"key": key, "found": plain, "checksum": _checksum(plain)}
        with suppress(FileNotFoundError):  # another evaluation of this run has finished, and cleared its cache
            write_text(path, json.dumps(content) + "\n")

    def clear(self) -> None:
        """Remove the results read or stored here, and all that can never be used: those of other weights or code."""
        remove_leftovers(self.folder)
        for path in {*self._own, *self.folder.glob("*.json")}:
            if path in self._own or not self._usable(path):
                path.unlink(missing_ok=True)
        with suppress(OSError):  # another evaluation's results are left, or there is no folder
            self.folder.rmdir()

    def _place(self, result: Mapping[str, object]) -> tuple[dict[str, Any], Path]:
        key = json.loads(json.dumps({**self.depends_on, "result": result}, sort_keys=True))
        path = self.folder / f"{digest(json.dumps(key, sort_keys=True).encode())}.json"
        if path not in self._own:
            self._own.append(path)
        return key, path

    def _usable(self, path: Path) -> bool:
        try:
            key = json.loads(path.read_text(encoding="utf-8"))["key"]
        except (OSError, ValueError, RecursionError, LookupError, TypeError):
            return False
        return isinstance(key, dict) and all(key.get(name) == value for name, value in self.depends_on.items())


def digest_of_weights(ensemble: Ensemble) -> str:
    """Return a hash of every parameter and buffer, with its name, type and shape."""
    found = hashlib.blake2b(digest_size=16)
    for name, value in ensemble.state_dict().items():
        if isinstance(value, Tensor):
            found.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            found.update(bytes_of(value))
        else:
            found.update(f"{name} {value!r}".encode())
    return found.hexdigest()


def digest_of_data(dataset: Dataset) -> str:
    """Return a hash of the specification and the test rows; for tables also the training rows, which set the scale of
    shifts.
    """
    rows = [digest_of_rows(dataset.test)]
    if len(dataset.spec.input_shape) == 1:
        rows.append(digest_of_rows(dataset.train))
    return digest(repr((dataset.spec, rows)).encode())


def digest_of_rows(split: Split) -> str:
    """Return a hash of every value and target; for images in files, of the files' paths, sizes and times."""
    found = hashlib.blake2b(bytes_of(split.targets), digest_size=16)
    inputs = split.inputs
    found.update(repr((tuple(inputs.shape), inputs.dtype)).encode())
    if isinstance(inputs, ImageFiles):
        found.update("\n".join(map(file_stamp, inputs.paths)).encode())
    else:
        for part in inputs.split(_AT_ONCE):
            for tensor in tensors_of(part):
                found.update(bytes_of(tensor))
    return found.hexdigest()


def file_stamp(path: Path) -> str:
    """Return a file's path, size, and times of its last changes, as a text that differs after the file is
    written to.
    """
    state = path.stat()
    return f"{path.resolve()} {state.st_size} {state.st_mtime_ns} {state.st_ctime_ns}"


def digest(content: bytes) -> str:
    """128 bits in hexadecimal."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _checksum(found: object) -> str:
    return digest(json.dumps(found).encode())


def _is_whole(content: Mapping[str, Any]) -> bool:
    return content.get("checksum") == _checksum(content.get("found"))


def _without_absent(value: object) -> object:
    """Return plain data without None, because absent fields are left out of records."""
    if isinstance(value, dict):
        return {key: _without_absent(item) for key, item in value.items() if item is not None}
    return value


@cache
def _code() -> str:
    """Return a hash of motet's own source, because the version number does not change with every commit."""
    root = Path(__file__).resolve().parents[1]
    found = hashlib.blake2b(digest_size=16)
    for file in sorted(root.rglob("*.py")):
        found.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
    return found.hexdigest()
