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
    """Whether some folder in `folder` holds an image: enough to take it for a data set."""
    return any(next(_images(each), None) is not None for each in _folders(folder))


def scan(folder: Path, notes: list[str] | None = None) -> dict[str, dict[str, list[Path]]]:
    """The image files by split (``"all"`` where there is one) and class, in the order of their names.

    What is left out is told to `notes`.
    """
    notes = [] if notes is None else notes
    inside = _folders(folder)
    splits = {each: _SPLITS[each.name.lower()] for each in inside if each.name.lower() in _SPLITS}
    if not any(split == "train" for split in splits.values()):
        if odd := [each.name for each in splits if has_images(each)]:
            raise InputError(
                f"{folder} must hold train/ beside {' and '.join(f'{name}/' for name in odd)}",
                got=f"{', '.join(each.name for each in inside[:5])}",
                fix="Name the folder with the training images train, or pass a folder of class folders alone",
            )
        return {"all": _classes(folder, notes)}
    if odd := [each.name for each in inside if each not in splits]:
        notes.append(f"left out: {', '.join(odd[:3])}{', ...' if len(odd) > 3 else ''}, beside the splits")
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
    return {split: _classes(each, notes) for each, split in splits.items()}


def _folders(folder: Path) -> list[Path]:
    return sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))


def _files(folder: Path) -> Iterator[Path]:
    """Every file below the folder that is not hidden; links that lead nowhere too, for them to be named."""
    return (path for path in folder.rglob("*") if not path.name.startswith(".") and not path.is_dir())


def _images(folder: Path) -> Iterator[Path]:
    return (path for path in _files(folder) if path.suffix.lower() in IMAGE_SUFFIXES)


def _classes(folder: Path, notes: list[str]) -> dict[str, list[Path]]:
    classes: dict[str, list[Path]] = {}
    others: Counter[str] = Counter()
    for each in _folders(folder):
        classes[each.name] = []
        for path in _files(each):
            if path.suffix.lower() in IMAGE_SUFFIXES:
                classes[each.name].append(path)
            else:
                others[path.suffix.lower() or path.name] += 1
        classes[each.name].sort()
    if others:
        named = ", ".join(f"{count:,} {kind}" for kind, count in others.most_common(3))
        more = ", ..." if len(others) > 3 else ""
        notes.append(f"left out: {sum(others.values()):,} files in {folder.name}/ of other kinds ({named}{more})")
    loose = sum(path.suffix.lower() in IMAGE_SUFFIXES and path.is_file() for path in folder.iterdir())
    if loose:
        notes.append(f"left out: {loose:,} images in {folder.name}/ that lie in no class folder")
    return classes


def check_classes(splits: Mapping[str, Classes], names: Sequence[str]) -> None:
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
