"""Load data by name, folder or file; find its files; choose the reader."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Literal, final

from motet._internal.user_path import user_path
from motet.data._dataset import Dataset
from motet.data._fingerprint import of_file, of_image_files
from motet.data._options import DataOptions
from motet.data.formats.table_file import TABLE_SUFFIXES, is_table
from motet.data.sources.class_folders import image_folder
from motet.data.sources.digits import digits
from motet.data.sources.fetch import cache_folder, checksum_holds, download, offline, unpack
from motet.data.sources.file_sources import FILE_SOURCES, FileSource
from motet.data.sources.folder_scan import has_images, scan
from motet.data.sources.tables import table
from motet.data.sources.toy import toy
from motet.errors import InputError, nearest


@final
@dataclass(frozen=True, kw_only=True)
class DatasetEntry:
    """What is known about a data set before it is loaded.

    Attributes:
        description: one line.
        needs_files: whether it is stored in files.
        source: where the data comes from.
        downloaded: whether missing files are downloaded.
    """

    description: str
    needs_files: bool
    source: str
    downloaded: bool = False


DATASETS: Mapping[str, DatasetEntry] = MappingProxyType(
    {
        "digits": DatasetEntry(
            description="1,797 grey 8x8 images of handwritten digits, 10 classes; comes with scikit-learn",
            needs_files=False,
            source="scikit-learn",
        ),
        **{
            name: DatasetEntry(
                description=source.description, needs_files=True, source=source.source, downloaded=bool(source.files)
            )
            for name, source in FILE_SOURCES.items()
        },
        "toy": DatasetEntry(
            description="regression: MIMO's noisy function of one number, 64 training rows",
            needs_files=False,
            source="computed",
        ),
    }
)
"""The data sets that `load` knows, by name."""

Kind = Literal["named", "images", "table"]


def kind_of(data: str) -> Kind:
    """Return whether `data` is a known name, a folder of class folders with images, or a table. Reads no data.

    Raises:
        InputError: if it is none of them.
    """
    if data in DATASETS:
        return "named"
    path = user_path(data)
    got, fix = repr(data), nearest(data, DATASETS)
    if path.is_dir() and path.resolve() == path.resolve().parent:
        got, fix = f"{data}, the root of the file system", "Pass the folder with the data"  # do not search all of it
    elif path.is_dir():
        if has_images(path):
            return "images"
        got, fix = (
            f"{data}, a folder without images in folders",
            "Put the images of each class into a separate folder",
        )
    elif path.is_file():
        if is_table(path):
            return "table"
        kinds = ", ".join(sorted(TABLE_SUFFIXES))
        got, fix = f"{data}, a file of another kind", f"Save it as {kinds}, or compressed as .csv.gz"
    elif path.exists():
        got, fix = f"{data}, a pipe, socket or device", "Save the data in a file, and pass its path"
    else:
        siblings = [each.name for each in path.parent.iterdir()] if path.parent.is_dir() else []
        close = get_close_matches(path.name, siblings, n=1)
        if path.suffix or len(path.parts) > 1:
            wrong = path.parent if not path.parent.exists() else path
            raise InputError(
                "a data set in files must exist",
                got=f"{data}: there is no {'folder' if wrong != path else 'file or folder'} {wrong}",
                fix=f"Did you mean {path.with_name(close[0])}" if close else f"Check the path. {fix}",
            )
        fix = f"Did you mean the file {close[0]}? {fix}" if close else fix
    raise InputError(
        "dataset must be one that motet knows, a folder of class folders, or a table",
        got=got,
        fix=f"{fix}; for your own tensors use Dataset.from_tensors",
    )


def load(
    name: str,
    data_dir: Path | None = None,
    *,
    options: DataOptions | None = None,
    say: Callable[[str], None] = lambda _: None,
) -> Dataset:
    """Return the data set with that name, or in that folder or file, checked, on the CPU.

    Args:
        name: a key of `DATASETS`; a folder of class folders; or a CSV or Parquet file. A name has priority over a
            folder with the same name.
        data_dir: where to look for a named data set's files. The first folder with all of them is used, of
            ``data_dir/<name>``, ``data_dir``, ``$MOTET_DATA/<name>``, ``$MOTET_DATA`` and the cache. (Folders with the
            data set's name come first, because MNIST and Fashion-MNIST have files with the same names.) Otherwise the
            files are downloaded from their official source into the cache, unless MOTET_OFFLINE is set.
        options: how to read the user's own data.
        say: called with one line about each step.

    Raises:
        InputError: if there is no such data, if options do not fit it, if files are missing and cannot be downloaded
            (the message says which files, where they were searched, and where to get them), or if files are damaged.
    """
    options = options or DataOptions()
    kind = kind_of(name)
    if kind != "named":
        path = user_path(name)
        return image_folder(path, options) if kind == "images" else table(path, options)
    if name == "digits":
        options.check_only(set(), name)
        return digits()
    if name == "toy":
        options.check_only({"split_seed"}, name)
        return toy(options.split_seed)
    source = FILE_SOURCES[name]
    options.check_only(set(source.options), name)
    return source.read(_folder_of(name, source, data_dir, say), options)


def fingerprint(name: str, data_dir: Path | None = None, *, options: DataOptions | None = None) -> str:
    """Return the `Dataset.fingerprint` of `load` with these arguments, without decoding or downloading.

    It is empty if it is unknown: for data that is computed or missing, and for `imagenet` and `tiny-imagenet`, which
    have too many files.

    Args:
        name: see `load`.
        data_dir: see `load`.
        options: see `load`.
    """
    try:
        kind, path = kind_of(name), user_path(name)
        if kind == "table":
            return of_file(path)
        if kind == "images":
            return of_image_files(path, scan(path))
        source = FILE_SOURCES.get(name)
        if source is None or "stream" in source.options:
            return ""
        folder = next((each for each in _folders(name, source, data_dir)[1] if not source.missing(each)), None)
        if folder is None:
            return ""
        files = tuple((each.name, each.stat().st_size, each.stat().st_mtime_ns) for each in sorted(folder.iterdir()))
        return _of_named(name, folder, options or DataOptions(), files)
    except (InputError, OSError):  # missing or damaged; loading it will raise the error
        return ""


@lru_cache(maxsize=8)
def _of_named(name: str, folder: Path, options: DataOptions, files: tuple[tuple[str, int, int], ...]) -> str:
    """Computed once per process, as long as the folder's `files`, with their sizes and times, do not change."""
    return FILE_SOURCES[name].read(folder, options).fingerprint


def _folders(name: str, source: FileSource, data_dir: Path | None) -> tuple[list[Path], list[Path]]:
    """Return the places that the user named, and the folders to search, the cache's last."""
    roots = [user_path(root) for root in (data_dir, os.environ.get("MOTET_DATA")) if root]
    places = [folder for root in roots for folder in (root / name, root)]
    cache = cache_folder() / name
    folders = [
        inner
        for place in (*places, cache, cache / "unpacked")
        for inner in ((place / source.unpacked, place) if source.unpacked else (place,))
    ]
    return places, folders


def _folder_of(name: str, source: FileSource, data_dir: Path | None, say: Callable[[str], None]) -> Path:
    """Return the first folder with all of the data set's files; download them if there is none."""
    places, folders = _folders(name, source, data_dir)
    cache = cache_folder() / name
    for folder in folders:
        if not source.missing(folder):
            return folder
    if archive := _archive(source, [*places, cache]):
        return _unpacked(archive, cache, source)
    try:
        _download(name, source, cache, say)
    except InputError as error:
        raise _not_there(name, source, folders if places else [], str(error)) from error
    if not source.files:
        raise _not_there(name, source, folders if places else [], "")
    return _unpacked(cache / source.files[0].name, cache, source) if source.unpacked else cache


def _archive(source: FileSource, places: list[Path]) -> Path | None:
    """Return the archive of the data set, if it is in one of these folders and complete."""
    if not source.unpacked:
        return None
    (file,) = source.files
    paths = (place / file.name for place in places)
    return next((path for path in paths if path.is_file() and checksum_holds(path, file)), None)


def _download(name: str, source: FileSource, cache: Path, say: Callable[[str], None]) -> None:
    for file in source.files:
        if not offline() and not (cache / file.name).exists():
            say(f"downloading {file.name} of {name} to {cache}")
        download(file, cache)


def _unpacked(archive: Path, cache: Path, source: FileSource) -> Path:
    """Return the folder inside the archive, unpacked into the cache."""
    held = cache / "unpacked"
    if source.missing(held / source.unpacked):
        if held.exists():  # from an older version, or damaged
            raise InputError(
                f"{held} must hold the content of {archive.name}",
                got="a folder with missing files",
                fix="Remove that folder and run again; the archive is then unpacked again",
            )
        unpack(archive, held)
    return held / source.unpacked


def _not_there(name: str, source: FileSource, folders: list[Path], why: str) -> InputError:
    # If a folder has some of the files, the user needs to know which are missing.
    missing = {folder: source.missing(folder) for folder in folders}
    best = min(folders, key=lambda folder: len(missing[folder]), default=None)
    lacking = ", ".join(source.missing(best or Path(name)))
    looked = ", ".join(str(folder) for folder in folders)
    files = ", ".join(f"{file.name} ({file.checksum})" for file in source.by_hand)
    return InputError(
        f"{name} needs {source.needs} in one folder",
        got=(
            f"{best} without {lacking} (looked in {looked})"
            if best
            else (
                f"no folder that could hold {lacking}: neither --data-dir (data_dir=) nor the variable "
                "MOTET_DATA is set"
            )
        )
        + (f"; and the download failed: {why.rstrip('.')}" if why else ""),
        fix=f"Get them from {source.source}{f': {files}' if files else ''}, and pass their folder with --data-dir or "
        "in MOTET_DATA",
    )
