"""The datasets known by name, and where their files are looked for."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import final

from motet.data._dataset import Dataset
from motet.data.digits import digits
from motet.data.idx import FASHION_MNIST_SOURCE, MNIST_SOURCE, fashion_mnist, missing_files, mnist
from motet.errors import InputError, nearest


@final
@dataclass(frozen=True, kw_only=True)
class DatasetEntry:
    """What is known of a dataset before it is loaded.

    Attributes:
        description: one line.
        needs_files: whether its files must be downloaded first. motet downloads nothing.
        source: where the data comes from.
    """

    description: str
    needs_files: bool
    source: str


DATASETS: Mapping[str, DatasetEntry] = MappingProxyType(
    {
        "digits": DatasetEntry(
            description="1,797 grey 8x8 images of handwritten digits, 10 classes; comes with scikit-learn",
            needs_files=False,
            source="scikit-learn",
        ),
        "fashion-mnist": DatasetEntry(
            description="70,000 grey 28x28 images of clothes, 10 classes",
            needs_files=True,
            source=FASHION_MNIST_SOURCE,
        ),
        "mnist": DatasetEntry(
            description="70,000 grey 28x28 images of handwritten digits, 10 classes",
            needs_files=True,
            source=MNIST_SOURCE,
        ),
    }
)
"""The datasets that `load` knows, by name."""

_FILE_LOADERS: Mapping[str, Callable[[Path], Dataset]] = {"fashion-mnist": fashion_mnist, "mnist": mnist}


def load(name: str, data_dir: Path | None = None) -> Dataset:
    """The dataset of that name, checked, on the CPU.

    Args:
        name: a key of `DATASETS`.
        data_dir: where to look for files. The first folder that holds all of a dataset's files is taken, of
            ``data_dir/<name>``, ``data_dir``, ``$MOTET_DATA/<name>`` and ``$MOTET_DATA``. (A folder that bears the
            dataset's name comes first, since MNIST and Fashion-MNIST name their files alike.)

    Raises:
        InputError: when the name is unknown, files are missing (the message says which, where they were looked for,
            and where to get them), or files are damaged.
    """
    if name not in DATASETS:
        raise InputError(
            "dataset must be one that motet knows",
            got=repr(name),
            fix=f"{nearest(name, DATASETS)}; for your own tensors use Dataset.from_tensors",
        )
    if not DATASETS[name].needs_files:
        return digits()
    roots = [Path(root).expanduser() for root in (data_dir, os.environ.get("MOTET_DATA")) if root]
    folders = [folder for root in roots for folder in (root / name, root)]
    missing = {folder: missing_files(folder) for folder in folders}
    for folder in folders:
        if not missing[folder]:
            return _FILE_LOADERS[name](folder)
    # Where a folder has some of the files, the user needs to know the others.
    best = min(folders, key=lambda folder: len(missing[folder]), default=None)
    lacking = ", ".join(missing_files(best or Path(name)))
    looked = ", ".join(str(folder) for folder in folders)
    raise InputError(
        f"{name} needs its four IDX files in one folder",
        got=f"{best} without {lacking} (looked in {looked})"
        if best
        else f"no folder to look in for {lacking}: neither --data-dir (data_dir=) nor the variable MOTET_DATA is set",
        fix=f"Get them from {DATASETS[name].source}, and pass their folder with --data-dir or in MOTET_DATA",
    )
