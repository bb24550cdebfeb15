"""Which image files a folder of class folders holds, and what is wrong with its layout."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from motet.data.formats.decode import IMAGE_SUFFIXES
from motet.errors import InputError

_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}

Classes = Mapping[str, Sequence[Path]]
"""Files by class."""


def has_images(folder: Path) -> bool:
    """Whether some folder in `folder` holds an image, so that it may be a data set."""
    return any(next(_images(each), None) is not None for each in _folders(folder))


def scan(folder: Path, notes: list[str] | None = None) -> dict[str, dict[str, list[Path]]]:
    """The image files by split and class, in the order of their names. A folder of class folders is one split, "all".

    Args:
        folder: holds class folders, or folders of splits with class folders in them.
        notes: gets a line for each kind of files and folders that are left out.

    Raises:
        InputError: if the folders of splits are incomplete, or if a split has two of them.
    """
    notes = [] if notes is None else notes
    inside = _folders(folder)
    splits = {each: _SPLITS[each.name.lower()] for each in inside if each.name.lower() in _SPLITS}
    if "train" not in splits.values():
        _check_no_other_split(folder, inside, list(splits))
        return {"all": _classes(folder, notes)}
    if odd := [each.name for each in inside if each not in splits]:
        notes.append(f"left out: {', '.join(odd[:3])}{', ...' if len(odd) > 3 else ''}, beside the splits")
    _check_splits(folder, splits)
    return {split: _classes(each, notes) for each, split in splits.items()}


def _check_no_other_split(folder: Path, inside: list[Path], splits: list[Path]) -> None:
    """Refuse val/ or test/ without train/. A folder of that name without class folders may be a class itself."""
    if odd := [each.name for each in splits if has_images(each)]:
        raise InputError(
            f"{folder} must hold train/ beside {' and '.join(f'{name}/' for name in odd)}",
            got=f"{', '.join(each.name for each in inside[:5])}",
            fix="Name the folder with the training images train, or pass a folder of class folders alone",
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
            f"{folder} must hold val/ or test/ beside train/",
            got="train/ alone",
            fix="Pass the folder train/ itself, to have it split",
        )


def _folders(folder: Path) -> list[Path]:
    return sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))


def _files(folder: Path) -> Iterator[Path]:
    """Every file below the folder that is not hidden, including links to missing files, which an error will name."""
    return (path for path in folder.rglob("*") if not path.name.startswith(".") and not path.is_dir())


def _images(folder: Path) -> Iterator[Path]:
    return filter(_is_image, _files(folder))


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in IMAGE_SUFFIXES


def _classes(folder: Path, notes: list[str]) -> dict[str, list[Path]]:
    """The images of each class folder. Files that are left out are counted in the notes."""
    classes: dict[str, list[Path]] = {}
    others: Counter[str] = Counter()
    for each in _folders(folder):
        files = list(_files(each))
        classes[each.name] = sorted(filter(_is_image, files))
        others.update(path.suffix.lower() or path.name for path in files if not _is_image(path))
    if others:
        named = ", ".join(f"{count:,} {kind}" for kind, count in others.most_common(3))
        more = ", ..." if len(others) > 3 else ""
        notes.append(f"left out: {sum(others.values()):,} files in {folder.name}/ of other kinds ({named}{more})")
    if loose := sum(_is_image(path) and path.is_file() for path in folder.iterdir()):
        notes.append(f"left out: {loose:,} images in {folder.name}/ that lie in no class folder")
    return classes


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
            fix="Put the images of each class into a folder of its own",
        )
    if len({name for classes in splits.values() for name in classes}) < 2:
        raise InputError(
            "a classification needs at least 2 class folders",
            got=f"{len(names)}" + (f" ({names[0]})" if names else ""),
            fix="Put the images of each class into a folder of its own",
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
