"""Small IDX files and CIFAR batches to read."""

import gzip
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from small_data import idx_bytes

IdxBytes = Callable[..., bytes]
Folder = Callable[..., Path]


@pytest.fixture(name="idx_bytes")
def _idx_bytes() -> IdxBytes:
    """An IDX file's bytes: of the shape, with the given payload, or with zero bytes."""
    return idx_bytes


@pytest.fixture
def mnist_folder(tmp_path: Path) -> Folder:
    """A folder with the four files: rows of 28x28 images whose pixels equal the row number, labels 0..9 in turn."""

    def write(
        folder: Path = tmp_path,
        *,
        train: int = 60,
        test: int = 20,
        zipped: bool = True,
        joint: str = "-",
        first_labels: Sequence[int] = (),
    ) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for stem, rows in (("train", train), ("t10k", test)):
            labels = bytes([*first_labels, *(row % 10 for row in range(rows))][:rows])
            images = b"".join(bytes([row % 256]) * 784 for row in range(rows))
            for name, content in (
                (f"{stem}-images{joint}idx3-ubyte", idx_bytes((rows, 28, 28), images)),
                (f"{stem}-labels{joint}idx1-ubyte", idx_bytes((rows,), labels)),
            ):
                path = folder / (f"{name}.gz" if zipped else name)
                path.write_bytes(gzip.compress(content) if zipped else content)
        return folder

    return write


@pytest.fixture
def cifar10_folder() -> Folder:
    """``cifar10_folder(folder)`` writes batches of random pixels; batch number s has labels s, s + 1, ... modulo 10."""

    def write(folder: Path, *, rows: int = 20, protocol: int = 2) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for seed, name in enumerate([*(f"data_batch_{n}" for n in range(1, 6)), "test_batch"]):
            pixels = np.random.RandomState(seed).randint(0, 256, size=(rows, 3072), dtype=np.uint8)
            labels = [(seed + row) % 10 for row in range(rows)]
            content = {b"data": pixels, b"labels": labels, b"batch_label": name.encode()}
            (folder / name).write_bytes(pickle.dumps(content, protocol=protocol))
        meta = {b"label_names": [f"class {n}".encode() for n in range(10)]}
        (folder / "batches.meta").write_bytes(pickle.dumps(meta, protocol=protocol))
        return folder

    return write
