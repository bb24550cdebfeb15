"""What a long evaluation has found so far, so that one that was stopped goes on where it was."""

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, final

import torch

import motet
from motet._internal.files import remove_leftovers, write_text
from motet.data import Dataset, ImageFiles, Split
from motet.experiments.run import Run
from motet.training import checkpoint_files

PARTS = "evaluation-parts"
"""The folder in a run's, for as long as an evaluation of it is not finished."""
_AT_ONCE = 4096


@final
class Parts:
    """Finished parts of evaluations of one run: a file each, whole or absent, in `PARTS` of the run's folder.

    A file is named by a hash of everything that its content depends on, and holds that too: the weights, the settings,
    the data's values and targets, motet's own code, torch, the kind of device, and which part it is. What was found
    with anything else is never read; `clear` removes it.

    Args:
        folder: the run's.
        base: what all parts depend on, see `base_of`. Numbers and text, as for JSON.
    """

    def __init__(self, folder: Path, base: Mapping[str, Any]) -> None:
        self.folder = folder / PARTS
        self.base = dict(base)
        self._own: list[Path] = []

    def find(self, **part: Any) -> Any:
        """What was found for that part before; None if nothing was, or its file is damaged."""
        key, path = self._place(part)
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return None
        return content.get("found") if isinstance(content, dict) and content.get("key") == key else None

    def keep(self, found: Any, **part: Any) -> None:
        """Keep what was found for that part. Numbers come back as they are, NaN and infinities too.

        Raises:
            OSError: if the disk is full, or the folder cannot be written.
        """
        key, path = self._place(part)
        with suppress(FileNotFoundError):  # another evaluation of this run finished, and cleared up behind itself
            write_text(path, json.dumps({"key": key, "found": found}) + "\n")

    def clear(self) -> None:
        """Remove the parts asked for or kept here, and all that nothing can use any more: of other weights or code."""
        remove_leftovers(self.folder)
        for path in {*self._own, *self.folder.glob("*.json")}:
            if path in self._own or not self._usable(path):
                path.unlink(missing_ok=True)
        with suppress(OSError):  # there are parts of another evaluation, or none of any
            self.folder.rmdir()

    def _place(self, part: Mapping[str, Any]) -> tuple[dict[str, Any], Path]:
        key = json.loads(json.dumps({**self.base, "part": part}, sort_keys=True))  # as it is read back
        path = self.folder / f"{digest(json.dumps(key, sort_keys=True).encode())}.json"
        if path not in self._own:
            self._own.append(path)
        return key, path

    def _usable(self, path: Path) -> bool:
        try:
            key = json.loads(path.read_text(encoding="utf-8"))["key"]
        except (OSError, ValueError, LookupError, TypeError):
            return False
        own = json.loads(json.dumps(self.base))
        return isinstance(key, dict) and all(key.get(name) == value for name, value in own.items())


def base_of(run: Run, data: str, device: torch.device) -> dict[str, Any]:
    """What every part of an evaluation of `run` depends on. `data`: see `digest_of_data`."""
    digest = hashlib.sha256()
    for path in checkpoint_files(run.folder):
        with path.open("rb") as file:
            hashlib.file_digest(file, lambda: digest)
    return {
        "weights": digest.hexdigest(),
        "settings": run.record.settings,
        "data": data,
        "motet": motet.__version__,
        "code": _code(),
        "torch": str(torch.__version__),
        "device": device.type,
    }


def digest_of_data(dataset: Dataset) -> str:
    """Of the specification and the test rows; of tables, whose shifts are measured in it, the training rows as well."""
    rows = [digest_of_rows(dataset.test)]
    if len(dataset.spec.input_shape) == 1:
        rows.append(digest_of_rows(dataset.train))
    return digest(repr((dataset.spec, rows)).encode())


def digest_of_rows(split: Split) -> str:
    """Of every value and target; of images that stay in their files the files' paths, sizes and times."""
    found = hashlib.blake2b(split.targets.cpu().contiguous().flatten().view(torch.uint8).numpy().data, digest_size=16)
    inputs = split.inputs
    found.update(repr((tuple(inputs.shape), inputs.dtype)).encode())
    if isinstance(inputs, ImageFiles):
        found.update("\n".join(map(stamp, inputs.paths)).encode())
    else:
        for part in inputs.split(_AT_ONCE):
            found.update(part.cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return found.hexdigest()


def stamp(path: Path) -> str:
    """A file's place, size, and times of its last changes: another one as soon as somebody writes to it."""
    state = path.stat()
    return f"{path.resolve()} {state.st_size} {state.st_mtime_ns} {state.st_ctime_ns}"


def digest(content: bytes) -> str:
    """128 bits in hexadecimal."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


@cache
def _code() -> str:
    """Of motet's own source: a version number does not change with every commit."""
    root = Path(__file__).resolve().parents[1]
    found = hashlib.blake2b(digest_size=16)
    for file in sorted(root.rglob("*.py")):
        found.update(file.relative_to(root).as_posix().encode() + b"\0" + file.read_bytes())
    return found.hexdigest()
