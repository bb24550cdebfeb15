"""Find the image files in a folder of class folders, and check its layout."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from motet.data.formats.decode import IMAGE_SUFFIXES
from motet.data.sources.walk import (
    THUMBNAIL_FOLDERS,
    Found,
    find,
    folders_in,
    has_image,
    is_system_name,
    loose_images,
)
from motet.errors import InputError, printable

_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}

Classes = Mapping[str, Sequence[Path]]
"""Files by class."""


def has_images(folder: Path) -> bool:
    """Whether some folder in `folder` contains an image, so that it may be a data set."""
    return any(has_image(each, folder) for each in _folders(folder))


def scan(folder: Path, notes: list[str] | None = None) -> dict[str, dict[str, list[Path]]]:
    """Return the image files by split and class, sorted by name. A folder of class folders is one split, "all".

    Args:
        folder: contains class folders, or folders of splits with class folders in them.
        notes: gets a line for each kind of files and folders that are left out.

    Raises:
        InputError: if the folders of splits are incomplete, or if a split has two of them.
    """
    notes = [] if notes is None else notes
    inside = _folders(folder)
    splits = {each: _SPLITS[each.name.lower()] for each in inside if each.name.lower() in _SPLITS}
    if "train" not in splits.values():
        _check_no_other_split(folder, inside, list(splits))
        return {"all": _classes(folder, folder, notes)}
    if odd := [each.name for each in inside if each not in splits]:
        names = f"{', '.join(odd[:3])}{', ...' if len(odd) > 3 else ''}"
        notes.append(printable(f"left out: {names}, next to the splits"))
    _check_splits(folder, splits)
    return {split: _classes(each, folder, notes) for each, split in splits.items()}


def _check_no_other_split(folder: Path, inside: list[Path], splits: list[Path]) -> None:
    """Raise for val/ or test/ without train/. A folder with that name and without class folders may be a class
    itself.
    """
    if odd := [each.name for each in splits if has_images(each)]:
        raise InputError(
            f"{folder} must hold train/ next to {' and '.join(f'{name}/' for name in odd)}",
            got=f"{', '.join(each.name for each in inside[:5])}",
            fix="Name the folder with the training images train, or pass a folder of class folders",
        )


def _check_splits(folder: Path, splits: Mapping[Path, str]) -> None:
    if len(set(splits.values())) < len(splits):
        raise InputError(
            f"{folder} must hold each split once",
            got=", ".join(each.name for each in splits),
            fix="Keep one of val, valid and validation",
        )
    if len(splits) == 1:
        raise InputError(
            f"{folder} must hold val/ or test/ next to train/",
            got="train/ alone",
            fix="Pass the folder train/ itself, which is then split",
        )


def _folders(folder: Path) -> list[Path]:
    """Return the folders that may be splits or classes: all but those with a name of a system's folder."""
    return [each for each in folders_in(folder) if not is_system_name(each.name)]


def _classes(folder: Path, root: Path, notes: list[str]) -> dict[str, list[Path]]:
    """Return the images of each class folder. What is left out is counted in the notes."""
    every = {each: find(each, root) for each in folders_in(folder)}
    left = [each for each in every if is_system_name(each.name) or _shows_thumbnails(each, every)]
    found = {each: inside for each, inside in every.items() if each not in left}
    hidden = [path for each in left for path in every[each].images]
    hidden += [path for each in every.values() for path in each.hidden]
    notes += _left_out(folder, found.values(), hidden)
    return {each.name: inside.images for each, inside in found.items()}


def _shows_thumbnails(folder: Path, found: Mapping[Path, Found]) -> bool:
    """Whether a folder next to the classes holds small copies of their images, and is not a class with such a name."""
    if folder.name.lower() not in THUMBNAIL_FOLDERS:
        return False
    others = {path.stem for each, inside in found.items() if each != folder for path in inside.images}
    return all(path.stem in others for path in found[folder].images)


def _left_out(folder: Path, found: Iterable[Found], hidden: list[Path]) -> list[str]:
    """Return the notes about what is left out of the class folders in `folder`."""
    found = list(found)
    others = sum((each.other for each in found), Counter[str]())
    special = [path for each in found for path in each.special]
    looping = [path for each in found for path in each.looping]
    notes = []
    if others:
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in others.most_common(3))
        more = ", ..." if len(others) > 3 else ""
        notes.append(f"left out: {others.total():,} files in {folder.name}/ of other kinds ({kinds}{more})")
    if loose := loose_images(folder):
        notes.append(f"left out: {loose:,} images in {folder.name}/ that are not in a class folder")
    for paths, what in (
        (hidden, "images in {} with hidden names or in hidden, thumbnail or system folders"),
        (special, "pipes, sockets or devices in {} with the names of images"),
        (looping, "linked folders in {} that lead back into the data"),
    ):
        if paths:
            first = min(paths).relative_to(folder).as_posix()
            notes.append(f"left out: {len(paths):,} {what.format(f'{folder.name}/')}, the first {first}")
    return list(map(printable, notes))


def check_classes(splits: Mapping[str, Classes], names: Sequence[str]) -> None:
    """Check that there are images, at least two classes, and images of each class in every split.

    Args:
        splits: files by split and class.
        names: the classes of the training split.

    Raises:
        InputError: naming the classes that are missing or empty.
    """
    if not any(paths for classes in splits.values() for paths in classes.values()):
        raise InputError(
            "a folder of images must hold class folders with images in them",
            got=f"none of {', '.join(sorted(IMAGE_SUFFIXES))}",
            fix="Put the images of each class into a separate folder",
        )
    if len({name for classes in splits.values() for name in classes}) < 2:
        raise InputError(
            "a classification needs at least 2 class folders",
            got=f"{len(names)}" + (f" ({names[0]})" if names else ""),
            fix="Put the images of each class into a separate folder",
        )
    for split, classes in splits.items():
        _check_split(split, classes, names)


def _check_split(split: str, classes: Classes, names: Sequence[str]) -> None:
    where = "" if split == "all" else f" of the {split} split"
    if odd := sorted(set(classes) - set(names)):
        raise InputError(
            "every class must have a folder in the train split",
            got=f"{', '.join(odd[:3])} in the {split} split only",
            fix="Add images of it to train/, or remove that folder",
        )
    if lacking := [name for name in names if name not in classes]:
        raise InputError(
            f"every class must have a folder in the {split} split",
            got=f"none for {', '.join(lacking[:3])}",
            fix="Add the folder with images of that class",
        )
    if empty := [name for name in names if not classes[name]]:
        raise InputError(
            f"every class folder{where} must hold images",
            got=f"none in {', '.join(empty[:3])}",
            fix="Add images, or remove that class from every split",
        )
