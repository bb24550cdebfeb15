"""What a long evaluation has found so far, so that one that was stopped goes on where it was."""

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
from motet._internal.typed_records import from_plain, to_plain
from motet.data import Dataset, ImageFiles, Split
from motet.ensemble import Ensemble
from motet.errors import InputError

CACHE_FOLDER = "evaluation-parts"
"""The cache's folder in a run's, for as long as an evaluation of it is not finished."""
_AT_ONCE = 4096

T = TypeVar("T")


@final
class EvaluationCache:
    """Results of an evaluation that is not finished yet: a file each in one folder, whole or absent.

    A file is named by a hash of everything that its result depends on, and holds that too: what `depends_on` says, and
    which result it is. What was found with anything else is never read; `clear` removes it.

    Args:
        folder: the cache's own; made when it is needed. Use another one for each ensemble.
        depends_on: what all results depend on, as plain data for JSON. See `for_ensemble`.
    """

    def __init__(self, folder: Path, depends_on: Mapping[str, object]) -> None:
        self.folder = folder
        self.depends_on: dict[str, Any] = json.loads(json.dumps(depends_on, default=to_plain))  # as it is read back
        self._own: list[Path] = []

    @classmethod
    def for_ensemble(
        cls, folder: str | Path, ensemble: Ensemble, dataset: Dataset, *, about: object
    ) -> "EvaluationCache":
        """A cache whose results depend on the ensemble's weights, the data, the device, torch, and motet's own code.

        Args:
            folder: see `EvaluationCache`.
            ensemble: on the device on which it will be evaluated.
            dataset: the data it will be evaluated on.
            about: what else its predictions depend on and its weights do not show, as plain data for JSON: the method's
                and the model's settings, for example.
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
        """The result of type `kind` that was kept under the same words; None if none was, or its file is damaged."""
        key, path = self._place(result)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if not isinstance(content, dict) or content.get("key") != key:
                return None
            return from_plain(content.get("found"), kind, where=str(path))
        except (OSError, ValueError, InputError):
            return None

    def keep(self, found: object, **result: object) -> None:
        """Keep a record under these words. Numbers come back as they are, NaN and infinities too.

        Raises:
            OSError: if the disk is full, or the folder cannot be written.
        """
        key, path = self._place(result)
        content = {"key": key, "found": _without_absent(asdict(cast(Any, found)))}
        with suppress(FileNotFoundError):  # another evaluation of this run finished, and cleared its cache
            write_text(path, json.dumps(content) + "\n")

    def clear(self) -> None:
        """Remove the results asked for or kept here, and all that can never be used: of other weights or code."""
        remove_leftovers(self.folder)
        for path in {*self._own, *self.folder.glob("*.json")}:
            if path in self._own or not self._usable(path):
                path.unlink(missing_ok=True)
        with suppress(OSError):  # results of another evaluation are left, or there is no folder
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
        except (OSError, ValueError, LookupError, TypeError):
            return False
        return isinstance(key, dict) and all(key.get(name) == value for name, value in self.depends_on.items())


def digest_of_weights(ensemble: Ensemble) -> str:
    """Of every parameter and buffer, with its name, type and shape."""
    found = hashlib.blake2b(digest_size=16)
    for name, value in ensemble.state_dict().items():
        if isinstance(value, Tensor):
            found.update(f"{name} {value.dtype} {tuple(value.shape)}".encode())
            found.update(_bytes_of(value))
        else:
            found.update(f"{name} {value!r}".encode())
    return found.hexdigest()


def digest_of_data(dataset: Dataset) -> str:
    """Of the specification and the test rows; of tables, whose shifts are measured in it, the training rows as well."""
    rows = [digest_of_rows(dataset.test)]
    if len(dataset.spec.input_shape) == 1:
        rows.append(digest_of_rows(dataset.train))
    return digest(repr((dataset.spec, rows)).encode())


def digest_of_rows(split: Split) -> str:
    """Of every value and target; of images that stay in their files the files' paths, sizes and times."""
    found = hashlib.blake2b(_bytes_of(split.targets), digest_size=16)
    inputs = split.inputs
    found.update(repr((tuple(inputs.shape), inputs.dtype)).encode())
    if isinstance(inputs, ImageFiles):
        found.update("\n".join(map(stamp, inputs.paths)).encode())
    else:
        for part in inputs.split(_AT_ONCE):
            found.update(_bytes_of(part))
    return found.hexdigest()


def stamp(path: Path) -> str:
    """A file's place, size, and times of its last changes: another one as soon as somebody writes to it."""
    state = path.stat()
    return f"{path.resolve()} {state.st_size} {state.st_mtime_ns} {state.st_ctime_ns}"


def digest(content: bytes) -> str:
    """128 bits in hexadecimal."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def _bytes_of(values: Tensor) -> memoryview:
    return values.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data


def _without_absent(value: object) -> object:
    """Plain data without what is None: absent fields are left out of records."""
    if isinstance(value, dict):
        return {key: _without_absent(item) for key, item in value.items() if item is not None}
    return value


@cache
def _code() -> str:
    """Of motet's own source: a version number does not change with every commit."""
    root = Path(__file__).resolve().parents[1]
    found = hashlib.blake2b(digest_size=16)
    for file in sorted(root.rglob("*.py")):
        found.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
    return found.hexdigest()
