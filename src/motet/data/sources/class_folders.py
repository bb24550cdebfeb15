"""Images in folders, one folder a class."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from motet.data._dataset import Dataset, Split
from motet.data._fingerprint import of_image_files
from motet.data._holdout import hold_out, split_rows
from motet.data._options import FOLDER_OPTIONS, DataOptions
from motet.data._spec import DataSpec
from motet.data.formats.decode import (
    BadImageError,
    Header,
    bad_images_error,
    centre,
    check_whole,
    decode,
    read_header,
)
from motet.data.formats.image_files import ImageFiles
from motet.data.sources.folder_scan import Classes, check_classes, scan
from motet.errors import InputError

IN_MEMORY = 512 * 2**20
"""Bytes of pixels up to which a folder's images become tensors."""

_DARK = 32
_VALIDATION, _TEST = 0.1, 0.2
_THREADS = 16
# Of the photographs of ImageNet, and used by convention for others: the statistics of a stream are not worth a pass.
IMAGENET_MEAN: tuple[float, ...] = (0.485, 0.456, 0.406)
IMAGENET_STD: tuple[float, ...] = (0.229, 0.224, 0.225)
GREY_MEAN: tuple[float, ...] = (0.449,)
GREY_STD: tuple[float, ...] = (0.226,)


def image_folder(folder: Path, options: DataOptions | None = None, *, name: str | None = None) -> Dataset:
    """A data set of the images in a folder of class folders.

    The folder either holds ``train/`` (or ``training/``), and ``val/`` (or ``valid/``, ``validation/``) and ``test/``
    (or ``testing/``), with class folders in each; or class folders itself. Without ``val/``, a tenth of the training
    images is held out; without ``test/``, ``val/`` takes its place, as is usual for ImageNet. Class folders alone are
    split into 70/10/20 percent. All splits are stratified and the same on every machine. Images are looked for in the
    folders below a class folder, too. Other files in class folders, images outside them, and folders beside the splits
    are left out, and the notes say so.

    Images of one size keep it; images of several need ``image_size``: the square in the middle of each is brought to
    it. Images that take more than 512 MiB together stay in their files and are decoded when needed. See
    `motet.data.formats.decode` for what becomes of grey, 16-bit and transparent images. Pixels are normalised by the
    training images' mean and standard deviation, of streamed images by ImageNet's.

    Raises:
        InputError: without images or with one class; for a class that a split lacks or that has no images; for images
            that cannot be read, unless ``skip_bad``; for images of several sizes without ``image_size``.
    """
    options = options or DataOptions()
    options.check_only(FOLDER_OPTIONS, f"the images in {folder}")
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
    """The data set of image files by split and class.

    Args:
        name: what reports call it.
        found: files by split and class; the split ``"all"`` is split here.
        options: the user's.
        default_size: taken where the user says none.
        in_memory: bytes of pixels up to which images become tensors.
        check_headers: whether every file is opened before training. Not for a million of them, known to be good.
        hold_out_note: what else to say of how the splits came to be.
        notes: what is known already of what was left out.
        fingerprint: of the files.
    """
    splits = {split: dict(classes) for split, classes in found.items()}
    names = sorted(splits.get("train", splits.get("all", {})))
    notes = list(notes)
    size, channels = options.image_size or default_size, 3
    check_classes(splits, names)
    if check_headers or options.skip_bad:
        headers = _good_headers(splits, options, notes)
        size = size or _one_size(headers)
        channels = 1 if headers and all(header.grey for header in headers.values()) else 3
    assert size is not None
    height, width = (size, size) if isinstance(size, int) else size
    paths, labels, note = _assigned(splits, names, options)
    total = sum(map(len, paths.values())) * channels * height * width
    stream = total > in_memory if options.stream is None else options.stream
    if stream and height != width:
        raise InputError(
            "images that are streamed must be square",
            got=f"{width}x{height} pixels",
            fix=f"Pass --image-size {min(height, width)}",
        )
    if stream:
        if check_headers and not options.skip_bad:  # otherwise they have been decoded
            check_whole_images([path for files in paths.values() for path in files])
        inputs: dict[str, Any] = {
            split: ImageFiles(files, size=height, channels=channels) for split, files in paths.items()
        }
        mean = IMAGENET_MEAN if channels == 3 else GREY_MEAN
        std = IMAGENET_STD if channels == 3 else GREY_STD
    else:
        inputs = _tensors(paths, labels, size=(height, width), channels=channels, options=options, notes=notes)
        mean, std = _statistics(inputs["train"])
        _check_varied(inputs["train"], notes)
    dataset = Dataset(
        spec=DataSpec(
            name=name,
            input_shape=(channels, height, width),
            outputs=len(names),
            task="classification",
            class_names=tuple(names),
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


def _good_headers(splits: dict[str, dict[str, Any]], options: DataOptions, notes: list[str]) -> dict[Path, Header]:
    """The headers of the images that can be read; the others are taken out of `splits`, or an error.

    With ``skip_bad`` and a stream the pixels are looked at too: later there would be no way around a bad image.
    """
    every = [path for classes in splits.values() for paths in classes.values() for path in paths]
    thorough = options.skip_bad and options.stream is not False

    def look(path: Path) -> Header:
        if thorough:
            decode(path, size=8, channels=1)
        return read_header(path)

    headers, bad = _every(every, look)
    if bad:
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
            for name, paths in classes.items():
                classes[name] = [path for path in paths if path in headers]
        check_classes(splits, sorted(next(iter(splits.values()))))
    return headers


def check_whole_images(paths: Sequence[Path]) -> None:
    """Look now at images that are decoded later: one that is cut short would stop the training that meets it.

    Raises:
        InputError: naming and counting those that cannot be read.
    """
    _, bad = _every(paths, check_whole)
    if bad:
        raise bad_images_error(bad, len(paths))


def _every(paths: Sequence[Path], read: Callable[[Path], Any]) -> tuple[dict[Path, Any], list[tuple[Path, str]]]:
    """What `read` gives for each path, and the paths that it cannot read with the reasons."""

    def attempt(path: Path) -> Any:
        try:
            return read(path)
        except BadImageError as error:
            return error

    with ThreadPoolExecutor(_THREADS) as pool:
        results = dict(zip(paths, pool.map(attempt, paths), strict=True))
    bad = [(path, str(result)) for path, result in results.items() if isinstance(result, BadImageError)]
    return {path: result for path, result in results.items() if not isinstance(result, BadImageError)}, bad


def _skipped(bad: Sequence[tuple[Path, str]], of: int) -> str:
    return f"{len(bad)} of {of:,} images left out that cannot be read, the first {bad[0][0]} ({bad[0][1]})"


def _one_size(headers: Mapping[Path, Header]) -> Any:
    sizes: dict[tuple[int, int], int] = {}
    for header in headers.values():
        sizes[header.height, header.width] = sizes.get((header.height, header.width), 0) + 1
    if len(sizes) > 1:
        common = sorted(sizes, key=lambda each: -sizes[each])
        named = ", ".join(f"{sizes[each]:,} of {each[1]}x{each[0]}" for each in common[:3])
        raise InputError(
            "images of several sizes need one that they are brought to",
            got=named + (f" and {len(common) - 3} more sizes" if len(common) > 3 else ""),
            fix=f"Pass --image-size, such as --image-size {min(64, *common[0])}",
        )
    return next(iter(sizes))


def _assigned(
    splits: Mapping[str, Mapping[str, Sequence[Path]]], names: Sequence[str], options: DataOptions
) -> tuple[dict[str, list[Path]], dict[str, Tensor], str]:
    """Files and labels of train, validation and test, and how they came to be."""
    flat = {
        split: (
            [path for name in names for path in classes[name]],
            torch.tensor([label for label, name in enumerate(names) for _ in classes[name]], dtype=torch.int64),
        )
        for split, classes in splits.items()
    }
    seed, share = options.split_seed, options.validation_share
    share = _VALIDATION if share is None else share
    if "all" in flat:
        paths, labels = flat["all"]
        rows = dict(
            zip(
                ("train", "validation", "test"),
                split_rows(labels, test=_TEST, validation=share, seed=seed),
                strict=True,
            )
        )
        note = f"{_TEST:.0%} test and {share:.0%} validation images, stratified, seed {seed}"
        return (
            {split: [paths[row] for row in taken.tolist()] for split, taken in rows.items()},
            {split: labels[taken] for split, taken in rows.items()},
            note,
        )
    note = "the folders' own splits"
    if "test" not in flat:
        flat["test"] = flat.pop("validation")
        note = "val/ for testing"
    if "validation" not in flat:
        paths, labels = flat["train"]
        kept, out = hold_out(labels, min(len(labels) - 1, max(1, round(share * len(labels)))), seed=seed)
        for split, rows_K in (("train", kept), ("validation", out)):
            flat[split] = ([paths[row] for row in rows_K.tolist()], labels[rows_K])
        note += f"; {share:.0%} of train/ for validation, stratified, seed {seed}"
    return {split: flat[split][0] for split in flat}, {split: flat[split][1] for split in flat}, note


def _tensors(
    paths: Mapping[str, Sequence[Path]],
    labels: dict[str, Tensor],
    *,
    size: tuple[int, int],
    channels: int,
    options: DataOptions,
    notes: list[str],
) -> dict[str, Tensor]:
    """Every split's pixels. Images that turn out to be cut short leave their split, or are an error."""
    # Without --image-size all have this size already, square or not.
    box = None if options.image_size is None else centre()
    tensors, bad = {}, []
    for split, files in paths.items():
        filled = torch.empty(len(files), channels, *size, dtype=torch.uint8)
        rows = {path: row for row, path in enumerate(files)}

        def read(path: Path, filled: Tensor = filled, rows: Mapping[Path, int] = rows) -> None:
            filled[rows[path]] = decode(path, size=size, channels=channels, box=box)

        good, failed = _every(files, read)
        bad += failed
        if failed and good:
            kept = [row for row, path in enumerate(files) if path in good]
            filled, labels[split] = filled[kept], labels[split][kept]
        tensors[split] = filled
        if not good and options.skip_bad:
            raise InputError(
                f"the {split} split must hold images that can be read", got="none", fix="Mend or replace the files"
            )
    every = sum(map(len, paths.values()))
    if bad and not options.skip_bad:
        raise bad_images_error(bad, every)
    if bad:
        notes.append(_skipped(bad, every))
    return tensors


def _statistics(images: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of each channel, from exact sums; a channel that never varies is left as it is."""
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
            "the training images must show something",
            got=f"the value {most} in every pixel",
            fix="Check the files: 16 bits become 8 by their high byte, so that values below 256 become black",
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
            fix="Bring more rows of it, or leave the class out",
        )
