"""Read many image files at once: headers and pixels, and handle files that cannot be read."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

from motet.data._options import DataOptions
from motet.data.formats.decode import BadImageError, Header, bad_images_error, centre, decode, read_header
from motet.data.formats.memory import available_cores
from motet.data.sources.folder_scan import check_classes
from motet.errors import InputError

_T = TypeVar("_T")

Splits = dict[str, dict[str, list[Path]]]
"""Files by split and class."""

BadFiles = list[tuple[Path, str]]
"""Files that cannot be read, and the reasons."""


def read_all(paths: Sequence[Path], read: Callable[[Path], _T]) -> tuple[dict[Path, _T], BadFiles]:
    """Return the result of `read` for each path, computed in threads, and the paths for which it raises
    `BadImageError`.
    """

    def attempt(path: Path) -> _T | BadImageError:
        try:
            return read(path)
        except BadImageError as error:
            return error

    with ThreadPoolExecutor(min(16, available_cores())) as pool:
        results = dict(zip(paths, pool.map(attempt, paths), strict=True))
    good = {path: result for path, result in results.items() if not isinstance(result, BadImageError)}
    bad = [(path, str(result)) for path, result in results.items() if isinstance(result, BadImageError)]
    return good, bad


def good_headers(
    splits: dict[str, dict[str, list[Path]]], options: DataOptions, notes: list[str]
) -> dict[Path, Header]:
    """Return the headers of the images that can be read. With ``skip_bad`` the other images are removed from `splits`.

    With ``skip_bad`` and a stream the pixels are decoded too, because a bad image could not be left out later.

    Args:
        splits: files by split and class.
        options: skip_bad, stream.
        notes: gets a line about images that are left out.

    Raises:
        InputError: for images that cannot be read, unless ``skip_bad``, and if no image is left.
    """
    every = [path for classes in splits.values() for paths in classes.values() for path in paths]
    thorough = options.skip_bad and options.stream is not False

    def look(path: Path) -> Header:
        if thorough:
            decode(path, size=8, channels=1)
        return read_header(path)

    headers, bad = read_all(every, look)
    if not bad:
        return headers
    if not options.skip_bad:
        raise bad_images_error(bad, len(every))
    if not headers:
        raise InputError(
            "some of the images must be readable",
            got=f"none of {len(every):,}, the first {bad[0][0]} ({bad[0][1]})",
            fix="Check that the files are images",
        )
    notes.append(_skipped(bad, len(every)))
    for classes in splits.values():
        classes.update({name: [path for path in paths if path in headers] for name, paths in classes.items()})
    check_classes(splits, sorted(next(iter(splits.values()))))
    return headers


def read_pixels(
    paths: Mapping[str, Sequence[Path]],
    labels: dict[str, Tensor],
    *,
    size: tuple[int, int],
    channels: int,
    options: DataOptions,
    notes: list[str],
) -> dict[str, Tensor]:
    """Return every split's pixels, uint8 (images, channels, height, width).

    With ``skip_bad``, images that are cut short are left out, and their labels are removed from `labels`.

    Args:
        paths: files by split.
        labels: labels by split.
        size: height and width.
        channels: 1 or 3.
        options: skip_bad.
        notes: gets a line about images that are left out.

    Raises:
        InputError: for images that cannot be read, unless ``skip_bad``, and if a split has no others.
    """
    # Without --image-size all images already have this size, square or not.
    box = None if options.image_size is None else centre()
    decode_one = partial(decode, size=size, channels=channels, box=box)
    tensors: dict[str, Tensor] = {}
    bad: BadFiles = []
    for split, files in paths.items():
        tensors[split], kept, failed = _decoded(files, decode_one, shape=(channels, *size))
        labels[split] = labels[split][kept]
        bad += failed
        if not kept and options.skip_bad:
            raise InputError(
                f"the {split} split must hold images that can be read", got="none", fix="Repair or replace the files"
            )
    every = sum(map(len, paths.values()))
    if bad and not options.skip_bad:
        raise bad_images_error(bad, every)
    if bad:
        notes.append(_skipped(bad, every))
    return tensors


def _decoded(
    files: Sequence[Path], decode_one: Callable[[Path], Tensor], *, shape: tuple[int, int, int]
) -> tuple[Tensor, list[int], BadFiles]:
    """Return the pixels of the files that can be read, the indices of these files, and the other files."""
    # Filled in place, because a list of images and their stack would take twice the memory.
    pixels = torch.empty(len(files), *shape, dtype=torch.uint8)
    rows = {path: row for row, path in enumerate(files)}

    def fill(path: Path) -> None:
        pixels[rows[path]] = decode_one(path)

    good, bad = read_all(files, fill)
    kept = [row for row, path in enumerate(files) if path in good]
    return (pixels[kept] if bad else pixels), kept, bad


def _skipped(bad: BadFiles, of: int) -> str:
    return f"{len(bad)} of {of:,} images left out that cannot be read, the first {bad[0][0]} ({bad[0][1]})"
