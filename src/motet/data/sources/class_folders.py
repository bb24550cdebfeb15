"""Images in folders, one folder for each class."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from motet.data._dataset import Dataset, Split
from motet.data._fingerprint import of_image_files
from motet.data._holdout import hold_out, split_rows
from motet.data._options import FOLDER_OPTIONS, DataOptions
from motet.data._spec import DataSpec
from motet.data.formats.decode import Header, bad_images_error, check_whole
from motet.data.formats.image_files import ImageFiles
from motet.data.sources.equal_images import equal_image_notes
from motet.data.sources.folder_scan import Classes, check_classes, scan
from motet.data.sources.read_images import good_headers, read_all, read_pixels
from motet.errors import InputError, printable

IN_MEMORY = 512 * 2**20
"""The number of bytes of pixels up to which a folder's images become tensors."""

_DARK = 32
# Training on larger images takes more memory than most machines have, and seldom on purpose.
_OWN_SIZE = 2**20
_VALIDATION, _TEST = 0.1, 0.2
# Statistics of ImageNet, used by convention for other images too. Computing them for a stream would need a pass over
# all files.
IMAGENET_MEAN: tuple[float, ...] = (0.485, 0.456, 0.406)
IMAGENET_STD: tuple[float, ...] = (0.229, 0.224, 0.225)
GREY_MEAN: tuple[float, ...] = (0.449,)
GREY_STD: tuple[float, ...] = (0.226,)


def image_folder(folder: Path, options: DataOptions | None = None, *, name: str | None = None) -> Dataset:
    """Return a data set of the images in a folder of class folders.

    The folder contains either class folders, or ``train/`` (or ``training/``), ``val/`` (or ``valid/``,
    ``validation/``) and ``test/`` (or ``testing/``) with class folders in each. Without ``val/``, a tenth of the
    training images is held out for validation. Without ``test/``, the images of ``val/`` are the test images, as is
    usual for ImageNet. Class folders without splits are split into 70/10/20 percent. All splits are stratified and the
    same on every machine. Folders inside a class folder are searched too. Other files in class folders, images outside
    them, and folders next to the splits are left out, and the data set's notes say so.

    If all images have the same size, they keep it. Otherwise ``image_size`` is needed: the square in the middle of each
    image is resized to it. If the images take more than 512 MiB in total, they stay in their files and are decoded when
    needed. See `motet.data.formats.decode` for grey, 16-bit and transparent images. Pixels are normalised by the mean
    and standard deviation of the training images, or by ImageNet's if the images stay in their files.

    Args:
        folder: the folder.
        options: image_size, skip_bad, stream, validation_share, split_seed.
        name: the name of the data set in reports; the folder's name if None.

    Raises:
        InputError: if there are no images or only one class, if a class is missing from a split or has no images, if
            images cannot be read (unless ``skip_bad``), and if images have several sizes without ``image_size``.
    """
    options = options or DataOptions()
    options.check_only(FOLDER_OPTIONS, f"the images in {folder}")
    if not folder.is_dir():
        raise InputError(
            "the data must be a folder of class folders",
            got=f"{folder}, which is no folder" if folder.exists() else f"{folder}, which does not exist",
            fix="Check the path",
        )
    notes: list[str] = []
    found = scan(folder, notes)
    fingerprint = of_image_files(folder, found)
    return load_classes(name or folder.resolve().name, found, options, notes=notes, fingerprint=fingerprint)


def load_classes(
    name: str,
    found: Mapping[str, Classes],
    options: DataOptions,
    *,
    default_size: int | None = None,
    in_memory: int = IN_MEMORY,
    check_headers: bool = True,
    hold_out_note: str = "",
    notes: Sequence[str] = (),
    fingerprint: str = "",
) -> Dataset:
    """Return the data set of image files by split and class.

    Args:
        name: the name of the data set in reports.
        found: files by split and class; the split ``"all"`` is split here.
        options: the user's options.
        default_size: height and width of the images if ``options.image_size`` is None; None for the images' own size,
            which needs `check_headers`.
        in_memory: bytes of pixels up to which images become tensors.
        check_headers: whether every file is opened before training. Pass False for a million files known to be good.
        hold_out_note: added to the description of the splits.
        notes: the notes so far on what was left out.
        fingerprint: the fingerprint of the files.

    Raises:
        InputError: see `image_folder`; also for images that are not square and stay in their files.
    """
    splits = {split: {each: list(paths) for each, paths in classes.items()} for split, classes in found.items()}
    names = sorted(splits.get("train", splits.get("all", {})))
    notes = list(notes)
    check_classes(splits, names)
    headers = good_headers(splits, options, notes) if check_headers or options.skip_bad else {}
    channels, height, width = _shape(headers, options.image_size or default_size)
    paths, labels, note = _assigned(splits, names, options)
    class_names = tuple(map(printable, names))
    if check_headers:
        notes += equal_image_notes(paths, labels, class_names)
    size = sum(map(len, paths.values())) * channels * height * width
    streamed = size > in_memory if options.stream is None else options.stream
    inputs: Mapping[str, Any]
    if streamed:
        inputs, mean, std = _streamed(paths, channels=channels, height=height, width=width)
        if check_headers and not options.skip_bad:  # with skip_bad the images have already been decoded
            check_whole_images([path for files in paths.values() for path in files])
    else:
        inputs = read_pixels(paths, labels, size=(height, width), channels=channels, options=options, notes=notes)
        mean, std = _statistics(inputs["train"])
        _check_varied(inputs["train"], notes)
    dataset = Dataset(
        spec=DataSpec(
            name=printable(name),
            input_shape=(channels, height, width),
            outputs=len(names),
            task="classification",
            class_names=class_names,
            mean=mean,
            std=std,
            split=", ".join(filter(None, [note, hold_out_note])),
        ),
        train=Split(inputs=inputs["train"], targets=labels["train"]),
        validation=Split(inputs=inputs["validation"], targets=labels["validation"]),
        test=Split(inputs=inputs["test"], targets=labels["test"]),
        notes=tuple(notes),
        fingerprint=fingerprint,
    )
    _check_every_class_is_trained(dataset)
    dataset.check()
    return dataset


def check_whole_images(paths: Sequence[Path]) -> None:
    """Check images that are decoded later, because one that is cut short would stop the training.

    Raises:
        InputError: naming and counting the images that cannot be read.
    """
    _, bad = read_all(paths, check_whole)
    if bad:
        raise bad_images_error(bad, len(paths))


def _shape(headers: Mapping[Path, Header], size: int | None) -> tuple[int, int, int]:
    """Return channels, height and width: 3 channels unless all images are known to be grey, and their own size
    by default.
    """
    grey = bool(headers) and all(header.grey for header in headers.values())
    height, width = _one_size(headers) if size is None else (size, size)
    return 1 if grey else 3, height, width


def _one_size(headers: Mapping[Path, Header]) -> tuple[int, int]:
    """Return the height and width that all images have."""
    sizes = Counter((header.height, header.width) for header in headers.values())
    if len(sizes) > 1:
        common = sizes.most_common()
        named = ", ".join(f"{count:,} of {width}x{height}" for (height, width), count in common[:3])
        raise InputError(
            "images of several sizes need one size to which they are resized",
            got=named + (f" and {len(common) - 3} more sizes" if len(common) > 3 else ""),
            fix=f"Pass --image-size, such as --image-size {min(64, *common[0][0])}",
        )
    height, width = next(iter(sizes))
    if height * width > _OWN_SIZE:
        raise InputError(
            f"images of more than {_OWN_SIZE:,} pixels need a size to which they are resized",
            got=f"{len(headers):,} of {width}x{height}",
            fix=f"Pass --image-size, such as --image-size {min(224, height, width)}",
        )
    return height, width


def _streamed(
    paths: Mapping[str, Sequence[Path]], *, channels: int, height: int, width: int
) -> tuple[dict[str, ImageFiles], tuple[float, ...], tuple[float, ...]]:
    """Return images that stay in their files, and the mean and standard deviation that normalise them."""
    if height != width:
        raise InputError(
            "images that are streamed must be square",
            got=f"{width}x{height} pixels",
            fix=f"Pass --image-size {min(height, width)}",
        )
    inputs = {split: ImageFiles(files, size=height, channels=channels) for split, files in paths.items()}
    return (inputs, IMAGENET_MEAN, IMAGENET_STD) if channels == 3 else (inputs, GREY_MEAN, GREY_STD)


def _assigned(
    splits: Mapping[str, Classes], names: Sequence[str], options: DataOptions
) -> tuple[dict[str, list[Path]], dict[str, Tensor], str]:
    """Return files and labels of train, validation and test, and a note on how they were made."""
    share = _VALIDATION if options.validation_share is None else options.validation_share
    files = {split: _labelled(classes, names) for split, classes in splits.items()}
    if "all" in files:
        taken = split_rows(files["all"][1], test=_TEST, validation=share, seed=options.split_seed)
        parts = [_rows(files["all"], rows) for rows in taken]
        files = dict(zip(("train", "validation", "test"), parts, strict=True))
        note = f"{_TEST:.0%} test and {share:.0%} validation images, stratified, seed {options.split_seed}"
    else:
        note = _completed(files, share=share, seed=options.split_seed)
    return {split: files[split][0] for split in files}, {split: files[split][1] for split in files}, note


_LabelledFiles = tuple[list[Path], Tensor]


def _labelled(classes: Classes, names: Sequence[str]) -> _LabelledFiles:
    """Return the files class by class, and their labels: the positions of their classes in `names`."""
    labels = [label for label, name in enumerate(names) for _ in classes[name]]
    return [path for name in names for path in classes[name]], torch.tensor(labels, dtype=torch.int64)


def _rows(files: _LabelledFiles, rows_K: Tensor) -> _LabelledFiles:
    paths, labels = files
    return [paths[row] for row in rows_K.tolist()], labels[rows_K]


def _completed(files: dict[str, _LabelledFiles], *, share: float, seed: int) -> str:
    """Add the split that the folders lack, test or validation, and return a note about it."""
    note = "the folders' own splits"
    if "test" not in files:
        files["test"] = files.pop("validation")
        note = "val/ for testing"
    if "validation" not in files:
        number = len(files["train"][0])
        kept, out = hold_out(files["train"][1], min(number - 1, max(1, round(share * number))), seed=seed)
        files["train"], files["validation"] = _rows(files["train"], kept), _rows(files["train"], out)
        note += f"; {share:.0%} of train/ for validation, stratified, seed {seed}"
    return note


def _statistics(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each channel, from exact sums; a constant channel is not scaled."""
    mean, std = [], []
    for channel in images.unbind(dim=1):
        counts = torch.bincount(channel.reshape(-1).int(), minlength=256).double()
        levels = torch.arange(256, dtype=torch.float64) / 255
        average = float((counts * levels).sum() / counts.sum())
        variance = float((counts * (levels - average).square()).sum() / counts.sum())
        mean.append(average)
        std.append(variance**0.5 if variance > 1e-12 else 1.0)
    return tuple(mean), tuple(std)


def _check_varied(images: Tensor, notes: list[str]) -> None:
    least, most = int(images.min()), int(images.max())
    if least == most:
        raise InputError(
            "the training images must contain different values",
            got=f"the value {most} in every pixel",
            fix="Check the files. 16-bit images are reduced to their high byte: rescale them to the full 16-bit range",
        )
    if most < _DARK:
        notes.append(f"the brightest pixel is {most} of 255; 16 bits became 8 by their high byte: scale 12-bit images")


def _check_every_class_is_trained(dataset: Dataset) -> None:
    seen = torch.bincount(dataset.train.targets, minlength=dataset.spec.outputs)
    if not bool((seen > 0).all()):
        names = [dataset.spec.class_names[row] for row in (seen == 0).nonzero().flatten().tolist()]
        raise InputError(
            "every class must have a row to train on",
            got=f"none of {', '.join(names[:3])} among the {len(dataset.train)} rows of the train split",
            fix="Add rows of this class, or leave the class out",
        )
