"""Tiny ImageNet and ImageNet (ILSVRC 2012) from their official folders."""

import csv
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from motet.data._dataset import Dataset
from motet.data._fingerprint import of_image_files
from motet.data._options import FOLDER_OPTIONS, DataOptions
from motet.data.formats.decode import IMAGE_SUFFIXES
from motet.data.sources.class_folders import check_whole_images, load_classes
from motet.data.sources.folder_scan import scan
from motet.errors import InputError

_GROUND_TRUTH = Path("data", "ILSVRC2012_validation_ground_truth.txt")
_KAGGLE = "LOC_val_solution.csv"
_HELD_OUT_IMAGENET = 0.01
_SYNSET = re.compile(r"n\d{8}")
_AGAIN = "Unpack the official files again"


def tiny_imagenet(folder: Path, options: DataOptions | None = None) -> Dataset:
    """Tiny ImageNet: 110,000 images ``(3, 64, 64)`` in 200 classes; 90,000/10,000/10,000 rows, as uint8 tensors.

    The official validation images, whose labels are known, are the test images, as in the papers; validation images are
    a tenth of the training images.

    Args:
        folder: contains ``train/n01443537/images/*.JPEG`` and ``val/`` with ``val_annotations.txt`` and ``images/``, as
            in the archive; or class folders in both.
        options: image_size, skip_bad, stream, validation_share, split_seed.

    Raises:
        InputError: see `motet.data.image_folder`; also for annotations that do not match the images.

    Source: cs231n.stanford.edu.
    """
    options = options or DataOptions()
    options.check_only(FOLDER_OPTIONS, "tiny-imagenet")
    annotations = folder / "val" / "val_annotations.txt"
    if annotations.is_file():
        lines = [line.split("\t") for line in _text(annotations).splitlines() if line]
        labels = {line[0]: line[1] for line in lines if len(line) > 1}
        found = {
            "train": scan(folder / "train")["all"],
            "validation": _flat(folder / "val" / "images", labels, annotations),
        }
    else:
        found = {split: classes for split, classes in scan(folder).items() if split != "test"}
    _check_synsets("tiny-imagenet", folder, found["train"])
    if options.stream is None:
        options = replace(options, stream=False)
    fingerprint = of_image_files(folder, found)
    return _named(load_classes("tiny-imagenet", found, options, default_size=64, fingerprint=fingerprint), folder)


def imagenet(folder: Path, options: DataOptions | None = None) -> Dataset:
    """ImageNet (ILSVRC 2012): 1.28 million training images in 1,000 classes, decoded from their files when needed.

    The official 50,000 validation images are the test images, as in the papers; one percent of the training images is
    held out for validation. Images are resized to 224x224 pixels, or to ``image_size``.

    Args:
        folder: contains ``train/<synset>/*.JPEG``; and ``val/`` with class folders, or with the 50,000 original images,
            and next to it their labels: the development kit's folder ``ILSVRC2012_devkit_t12``, or Kaggle's
            ``LOC_val_solution.csv``.
        options: image_size, skip_bad, stream, validation_share, split_seed.

    Raises:
        InputError: see `motet.data.image_folder`; also if the labels of the validation images are not found.
    """
    options = options or DataOptions()
    options.check_only(FOLDER_OPTIONS, "imagenet")
    if options.validation_share is None:
        options = replace(options, validation_share=_HELD_OUT_IMAGENET)
    if options.stream is None:
        options = replace(options, stream=True)
    found: dict[str, Any] = {"train": scan(folder / "train")["all"]}
    _check_synsets("imagenet", folder, found["train"])
    inside = folder / "val"
    if any(each.is_dir() for each in inside.iterdir()):
        found["validation"] = scan(inside)["all"]
    else:
        found["validation"] = _flat(inside, *_validation_labels(folder))
    # Not all of the million files: files that were copied or unpacked wrongly are wrong in every class.
    check_whole_images([paths[0] for classes in found.values() for paths in classes.values() if paths])
    return load_classes(
        "imagenet", found, options, default_size=224, check_headers=False, fingerprint=of_image_files(folder, found)
    )


def missing_tiny_imagenet(folder: Path) -> tuple[str, ...]:
    """Return the names of Tiny ImageNet's folders that are not in `folder`."""
    return tuple(name for name in ("train", "val") if not (folder / name).is_dir())


missing_imagenet = missing_tiny_imagenet


def _flat(images: Path, labels: Mapping[str, str], source: Path) -> dict[str, list[Path]]:
    """Return the files by class, for images that are all in one folder."""
    classes: dict[str, list[Path]] = {}
    paths = sorted(path for path in images.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    unknown = [path.name for path in paths if path.name not in labels]
    if unknown or not paths:
        raise InputError(
            f"{source} must name the class of every image in {images}",
            got=f"no class for {len(unknown)}, the first {unknown[0]}" if unknown else "no images there",
            fix=_AGAIN,
        )
    for path in paths:
        classes.setdefault(labels[path.name], []).append(path)
    return classes


def _validation_labels(folder: Path) -> tuple[dict[str, str], Path]:
    """Return the synset of each validation image by its file's name, and the file with the labels."""
    kaggle, devkit = folder / _KAGGLE, folder / "ILSVRC2012_devkit_t12"
    if kaggle.is_file():
        try:
            rows = list(csv.DictReader(_text(kaggle).splitlines()))
            return {f"{row['ImageId']}.JPEG": row["PredictionString"].split()[0] for row in rows}, kaggle
        except (KeyError, IndexError, AttributeError, csv.Error) as error:
            raise _wrong_labels(kaggle, "the columns ImageId and PredictionString", error) from error
    truth = devkit / _GROUND_TRUTH
    if truth.is_file() and (devkit / "data" / "meta.mat").is_file():
        synsets = _synsets(devkit / "data" / "meta.mat")
        try:
            numbers = [int(line) for line in _text(truth).split()]
            return {f"ILSVRC2012_val_{row:08d}.JPEG": synsets[number] for row, number in enumerate(numbers, 1)}, truth
        except (ValueError, KeyError) as error:
            raise _wrong_labels(truth, f"a number from 1 to {len(synsets)} a line", error) from error
    raise InputError(
        "the classes of ImageNet's validation images must be known",
        got=f"a flat {folder / 'val'} with neither {_KAGGLE} nor {devkit.name}/ with "
        f"{_GROUND_TRUTH} and data/meta.mat next to it",
        fix="Put the Kaggle file or the unpacked development kit there, or sort the images into class folders",
    )


def _synsets(path: Path) -> dict[int, str]:
    """Return the development kit's leaf synsets by number. (MATLAB files of this version contain only data.)"""
    from scipy.io import loadmat

    try:
        table = loadmat(path, squeeze_me=True)["synsets"]
        return {int(row["ILSVRC2012_ID"]): str(row["WNID"]) for row in table if int(row["num_children"]) == 0}
    except Exception as error:  # a damaged file can raise any error
        raise _wrong_labels(path, "the development kit's synsets", error) from error


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise _wrong_labels(path, "text", error) from error


def _wrong_labels(path: Path, what: str, error: Exception) -> InputError:
    return InputError(f"{path} must hold {what}", got=f"{type(error).__name__}: {error}", fix=_AGAIN)


def _check_synsets(name: str, folder: Path, classes: Mapping[str, Any]) -> None:
    """Check that the classes have ImageNet's names, because any folder with train/ and val/ could be found."""
    if odd := [each for each in classes if not _SYNSET.fullmatch(each)]:
        raise InputError(
            f"the classes of {name} must have names like WordNet's synsets, such as n01440764",
            got=f"{', '.join(odd[:3])} in {folder / 'train'}",
            fix=f"Pass the folder of {name} with --data-dir; for your own images, pass their folder instead of {name}",
        )


def _named(dataset: Dataset, folder: Path) -> Dataset:
    """Return the data set with words for the synsets if the archive has them."""
    words = folder / "words.txt"
    if not words.is_file():
        return dataset
    lines = (line.split("\t") for line in _text(words).splitlines())
    known = {line[0]: line[1].split(",")[0].strip() for line in lines if len(line) > 1}
    names = tuple(known.get(name, name) for name in dataset.spec.class_names)
    return replace(dataset, spec=replace(dataset.spec, class_names=names))
