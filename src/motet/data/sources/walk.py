"""List the image files in a folder: no hidden or thumbnail folders, no pipes or devices, no circles of links."""

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import final

from motet.data.formats.decode import IMAGE_SUFFIXES
from motet.errors import InputError

THUMBNAIL_FOLDERS = frozenset({"thumbnail", "thumbnails", "thumb", "thumbs", "_thumbs", "_thumbnails"})
"""Folders of small copies, inside a class folder. A class may have such a name too."""

_SYSTEM_FOLDERS = frozenset(
    {
        "__macosx",  # archives made by macOS
        "@eadir",  # Synology
        "@recycle",  # QNAP
        "#recycle",
        "#snapshot",
        "$recycle.bin",  # Windows
        "recycler",
        "system volume information",
        "lost+found",  # Linux
        "__pycache__",
    }
)
_SYSTEM_FILES = frozenset({"thumbs.db", "ehthumbs.db", "desktop.ini", "picasa.ini", "icon\r"})


def is_system_name(name: str) -> bool:
    """Whether an operating system or a program keeps its own files under this name: hidden names (``.thumbnails``,
    ``.ipynb_checkpoints``, ``._photo.jpg``) and a few known folders.
    """
    return name.startswith(".") or name.lower() in _SYSTEM_FOLDERS


def is_image_name(name: str) -> bool:
    """Whether a file has the suffix of an image."""
    return Path(name).suffix.lower() in IMAGE_SUFFIXES


@final
@dataclass
class Found:
    """The files in a folder.

    Attributes:
        images: files with an image suffix, sorted, including links to files that do not exist.
        other: the number of other files by suffix.
        hidden: images with hidden names, or in hidden, system or thumbnail folders.
        special: pipes, sockets and devices with an image suffix. They are never opened.
        looping: linked folders that lie in the data set itself, or contain it.
    """

    images: list[Path] = field(default_factory=list)
    other: Counter[str] = field(default_factory=Counter)
    hidden: list[Path] = field(default_factory=list)
    special: list[Path] = field(default_factory=list)
    looping: list[Path] = field(default_factory=list)


def find(folder: Path, root: Path) -> Found:
    """Return all files below `folder`, which is in the data set `root`. Links to folders elsewhere are followed."""
    found = Found()
    for path, hidden, special in _walk(folder, root, found.looping):
        image = is_image_name(path.name)
        if image and hidden:
            found.hidden.append(path)
        elif image:
            (found.special if special else found.images).append(path)
        elif not hidden and path.name.lower() not in _SYSTEM_FILES:
            found.other[path.suffix.lower() or path.name] += 1
    found.images.sort()
    found.hidden.sort()
    return found


def has_image(folder: Path, root: Path) -> bool:
    """Whether there is an image in `folder`. The search ends at the first."""
    return any(
        not hidden and not special and is_image_name(path.name) for path, hidden, special in _walk(folder, root, [])
    )


def folders_in(folder: Path) -> list[Path]:
    """Return the folders in `folder`, sorted, also the hidden ones, without links that lead to where they are."""
    top = folder.resolve()
    inside = [Path(entry.path) for entry in _entries(folder) if _holds(entry.is_dir)]
    return [path for path in inside if not (path.is_symlink() and top.is_relative_to(path.resolve()))]


def loose_images(folder: Path) -> int:
    """Return the number of images directly in `folder`."""
    found = (entry for entry in _entries(folder) if is_image_name(entry.name) and not is_system_name(entry.name))
    return sum(_holds(entry.is_file) for entry in found)


def _walk(folder: Path, root: Path, looping: list[Path]) -> Iterator[tuple[Path, bool, bool]]:
    """Yield all that is not a folder, whether it is hidden, and whether it is a pipe, a socket or a device.

    No linked folder is entered that lies in `root`, contains it, or was entered before.
    """
    top = root.resolve()
    seen: set[Path] = {folder.resolve()}
    waiting = [(folder, False)]
    while waiting:
        here, hidden_here = waiting.pop()
        for entry in _entries(here):
            hidden = hidden_here or is_system_name(entry.name)
            if not _holds(entry.is_dir):
                # A link to a file that does not exist is no special file: an error will name it.
                path = Path(entry.path)
                yield path, hidden, not _holds(entry.is_file) and _holds(path.exists)
                continue
            if entry.is_symlink():
                target = Path(entry.path).resolve()
                if top.is_relative_to(target) or target.is_relative_to(top) or target in seen:
                    looping.append(Path(entry.path))
                    continue
                seen.add(target)
            waiting.append((Path(entry.path), hidden or entry.name.lower() in THUMBNAIL_FOLDERS))


def _entries(folder: Path) -> "list[os.DirEntry[str]]":
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)
    except PermissionError as error:
        raise InputError(
            "every folder of the data must be readable",
            got=f"no permission to list {folder}",
            fix="Change its permissions, or move it out of the data",
        ) from error


def _holds(question: Callable[[], bool]) -> bool:
    """Return the answer about an entry of a folder; False for a link to itself."""
    try:
        return question()
    except OSError:
        return False
