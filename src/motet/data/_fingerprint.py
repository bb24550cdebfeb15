"""Short fingerprints that show whether data has changed since a run was made."""

import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from motet._internal.nested import NestedInputs, tensors_of
from motet.data._dataset import Dataset

_WORD = 8


def of_file(path: Path) -> str:
    """Return the fingerprint of a table: a hash of its file."""
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def of_image_files(folder: Path, found: Mapping[str, Mapping[str, Sequence[Path]]]) -> str:
    """Return the fingerprint of images in folders: of every file's split, class, path below `folder`, and size in
    bytes.

    It does not depend on the pixels, so an image that is replaced by another one with the same name and size is not
    noticed.
    """
    digest = hashlib.sha256()
    for split, classes in sorted(found.items()):
        for name, paths in sorted(classes.items()):
            for path in paths:
                size = path.stat().st_size if path.exists() else -1
                # Names as the file system has them: they need not be UTF-8.
                digest.update(os.fsencode(f"{split}\0{name}\0{path.relative_to(folder).as_posix()}\0{size}\n"))
    return f"files:{digest.hexdigest()}"


def of_tensors(dataset: Dataset) -> str:
    """Return the fingerprint of data in memory: of each row's sum, as 64-bit words, and of each target, in order.

    It takes hundredths of a second. It notices a change of any one value, and a change of the order of rows, but not
    words that change places within a row.
    """
    digest = hashlib.sha256()
    for split in (dataset.train, dataset.validation, dataset.test):
        assert isinstance(split.inputs, Tensor | NestedInputs)
        for inputs in tensors_of(split.inputs):
            rows = inputs.detach().cpu().contiguous().reshape(len(inputs), -1).view(torch.uint8)
            words = rows.view(torch.int64) if rows.shape[1] % _WORD == 0 else rows
            digest.update(words.sum(dim=1, dtype=torch.int64).numpy().tobytes())
        digest.update(split.targets.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return f"rows:{digest.hexdigest()}"
