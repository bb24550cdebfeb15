"""Find image files with the same content in two splits, or in two classes."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from torch import Tensor

from motet.data.formats.decode import BadImageError
from motet.data.sources.read_images import read_all
from motet.errors import printable

_END = 4096
_ORDER = ("train", "validation", "test")


def equal_image_notes(
    paths: Mapping[str, Sequence[Path]], labels: Mapping[str, Tensor], class_names: Sequence[str]
) -> list[str]:
    """Return notes about images that are in two splits, which makes scores too good, or in two classes.

    Only identical files are found. Files are read as a whole only if others have the same size and the same first and
    last bytes.

    Args:
        paths: files by split.
        labels: their labels by split.
        class_names: the names of the classes.
    """
    split_of = {path: split for split in _ORDER for path in paths[split]}
    label_of = {path: int(label) for split in paths for path, label in zip(paths[split], labels[split], strict=True)}
    groups = _equal_files(list(split_of))
    return [*_in_two_splits(groups, split_of), *_in_two_classes(groups, label_of, class_names)]


def _in_two_splits(groups: Iterable[list[Path]], split_of: Mapping[Path, str]) -> list[str]:
    counts, first = dict.fromkeys(_ORDER, 0), None
    for group in groups:
        earlier, *later = sorted(group, key=lambda path: _ORDER.index(split_of[path]))
        for path in later:
            # A copy in the test split of a validation image counts too: settings are chosen on it.
            if split_of[path] != split_of[earlier]:
                counts[split_of[path]] += 1
                first = first or (path, earlier)
    if first is None:
        return []
    totals = {split: sum(held == split for held in split_of.values()) for split in _ORDER}
    copies = " and ".join(
        f"{counts[split]:,} of {totals[split]:,} {split} images" for split in ("test", "validation") if counts[split]
    )
    where = f"{first[0]} in {split_of[first[0]]} and {first[1]} in {split_of[first[1]]}"
    return [
        printable(
            f"warning: identical files in two splits: {copies} are copies of images in an earlier split, the first "
            f"{where}. Scores may be too good: remove the copies"
        )
    ]


def _in_two_classes(
    groups: Iterable[list[Path]], label_of: Mapping[Path, int], class_names: Sequence[str]
) -> list[str]:
    mixed = [group for group in groups if len({label_of[path] for path in group}) > 1]
    if not mixed:
        return []
    number, first = sum(map(len, mixed)), mixed[0]
    other = next(path for path in first if label_of[path] != label_of[first[0]])
    names = " and ".join(class_names[label_of[path]] for path in (first[0], other))
    return [
        printable(
            f"warning: identical files in two classes: {number:,} images, the first {first[0]} and {other} "
            f"({names}). One of the labels is wrong"
        )
    ]


def _equal_files(paths: Sequence[Path]) -> list[list[Path]]:
    """Return the groups of files with the same content, in the order of their first files."""
    groups = [list(paths)]
    keys: tuple[Callable[[Path], object], ...] = (_size, _ends, _content)
    for key in keys:
        groups = [part for group in groups for part in _divided(group, key)]
    return groups


def _divided(group: Sequence[Path], key: Callable[[Path], object]) -> list[list[Path]]:
    """Return the parts of a group that have the same key and at least two files."""
    keys, _ = read_all(group, key)
    parts: dict[object, list[Path]] = {}
    for path, value in keys.items():
        parts.setdefault(value, []).append(path)
    return [part for part in parts.values() if len(part) > 1]


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise BadImageError(str(error)) from error


def _ends(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            start = file.read(_END)
            file.seek(-min(_END, path.stat().st_size), 2)
            return hashlib.sha256(start + file.read(_END)).digest()
    except OSError as error:
        raise BadImageError(str(error)) from error


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest()
    except OSError as error:
        raise BadImageError(str(error)) from error
