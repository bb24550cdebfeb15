"""What tells whether data is still what a run was made with: short, and quick to compute."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor

from motet.data._dataset import Dataset

_WORD = 8


def of_file(path: Path) -> str:
    """Of a table: of every byte of its file."""
    with path.open("rb") as file:
        return f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"


def of_image_files(folder: Path, found: Mapping[str, Mapping[str, Sequence[Path]]]) -> str:
    """Of images in folders: of every file's split, class, path below `folder`, and size in bytes; not of the pixels.

    An image that is replaced by another of the very same name and size is not noticed.
    """
    digest = hashlib.sha256()
    for split, classes in sorted(found.items()):
        for name, paths in sorted(classes.items()):
            for path in paths:
                size = path.stat().st_size if path.exists() else -1
                digest.update(f"{split}\0{name}\0{path.relative_to(folder).as_posix()}\0{size}\n".encode())
    return f"files:{digest.hexdigest()}"


def of_tensors(dataset: Dataset) -> str:
    """Of data in memory: of each row's sum, as 64-bit words, and of each target, in order; hundredths of a second.

    Any one value that changes is noticed, and rows that change places; not words that change places within a row.
    """
    digest = hashlib.sha256()
    for split in (dataset.train, dataset.validation, dataset.test):
        assert isinstance(split.inputs, Tensor)
        rows = split.inputs.detach().cpu().contiguous().flatten(1).view(torch.uint8)
        words = rows.view(torch.int64) if rows.shape[1] % _WORD == 0 else rows
        digest.update(words.sum(dim=1, dtype=torch.int64).numpy().tobytes())
        digest.update(split.targets.detach().cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return f"rows:{digest.hexdigest()}"
