"""The official corrupted test sets, read from the user's copies: CIFAR-10-C and CIFAR-100-C, ImageNet-C.

They are read in batches, so that memory does not grow with the size of the set.
"""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from motet.errors import InputError, nearest
from motet.shifts._corruption import SEVERITIES, check_severity

ShiftedBatch = tuple[UInt8[Tensor, "batch channel height width"], Int64[Tensor, "batch"]]
"""Images and labels."""


@final
class CifarC:
    """A folder of CIFAR-10-C or CIFAR-100-C.

    It contains ``labels.npy`` and, for each corruption, ``<corruption>.npy`` with the images of the five severities one
    after another. Official sources: zenodo.org/records/2535967 (CIFAR-10-C) and 3555552 (CIFAR-100-C). Files are
    memory-mapped.

    Args:
        folder: the folder with the files.

    Raises:
        InputError: if the folder has no labels.npy, no corruption, or files that do not fit together.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)
        files = self._files()
        self.names = tuple(file.stem for file in files)
        """The corruptions found."""
        labels = _array(self.folder / "labels.npy")
        if labels.ndim != 1 or labels.dtype.kind not in "iu":
            raise _misfit(self.folder / "labels.npy", labels, "one integer per row")
        self._images = {file.stem: _checked_images(file, len(labels)) for file in files}
        self._labels = self._labels_of_one_severity(labels, rows=self._rows())
        self.classes = int(self._labels.max()) + 1
        """The highest label, plus 1."""

    def _files(self) -> list[Path]:
        """Return the corruptions' files; raises without them or without labels."""
        arrays = sorted(self.folder.glob("*.npy"))
        files = [file for file in arrays if file.stem != "labels"]
        if not files or not (self.folder / "labels.npy").is_file():
            raise InputError(
                "a CIFAR-C folder must hold labels.npy and a .npy file for each corruption",
                got=f"{self.folder} with {', '.join(file.name for file in arrays) or 'no .npy file'}",
                fix="Unpack CIFAR-10-C.tar from zenodo.org/records/2535967 (CIFAR-100-C: 3555552) and pass its folder",
            )
        return files

    def _rows(self) -> int:
        """Return the number of images of one severity, the same for all corruptions."""
        sizes = {len(images) for images in self._images.values()}
        if len(sizes) > 1:
            raise InputError(
                "the corruptions of a CIFAR-C folder must have equally many images",
                got=", ".join(f"{len(images):,} in {name}.npy" for name, images in self._images.items()),
                fix="Unpack the archive again: one of the files is incomplete",
            )
        return sizes.pop() // len(SEVERITIES)

    def _labels_of_one_severity(self, labels: NDArray[Any], *, rows: int) -> Tensor:
        """Return the first `rows` labels, checked to be classes and, if there are more, the same for each severity."""
        every = torch.from_numpy(np.asarray(labels).astype(np.int64)).reshape(-1, rows)
        if int(every.min()) < 0:
            raise _misfit(self.folder / "labels.npy", labels, f"classes from 0, not {int(every.min())}")
        if bool((every != every[0]).any()):
            raise _misfit(self.folder / "labels.npy", labels, f"the same {rows:,} labels for each severity")
        return every[0]

    def image_shape(self, name: str) -> tuple[int, ...]:
        """``(channels, height, width)`` of a corruption's images."""
        height, width, channels = self._images[name].shape[1:]
        return (channels, height, width)

    def files(self, name: str, severity: int) -> tuple[Path, ...]:
        """Return the files with the images and labels of a corruption."""
        return (self.folder / f"{name}.npy", self.folder / "labels.npy")

    def batches(self, name: str, severity: int, *, batch_size: int) -> Iterator[ShiftedBatch]:
        """Yield the images of one corruption and severity in order, with their labels.

        Args:
            name: the corruption.
            severity: the severity.
            batch_size: images per batch.

        Raises:
            InputError: for a corruption that is not in the folder (the message names the nearest), a severity outside
                1..5, or a batch size below 1. Raised by the call, not by the first batch.
        """
        severity = check_severity(severity)
        _check_name(name, self.names, self.folder)
        _check_batch_size(batch_size)
        images = self._images[name]
        rows = len(images) // len(SEVERITIES)
        return self._read(images[(severity - 1) * rows : severity * rows], batch_size)

    def _read(self, images: NDArray[np.uint8], batch_size: int) -> Iterator[ShiftedBatch]:
        for start in range(0, len(images), batch_size):
            part = np.array(images[start : start + batch_size])  # a copy, because the file is mapped read-only
            yield (
                torch.from_numpy(part).permute(0, 3, 1, 2).contiguous(),
                self._labels[start : start + batch_size],
            )


@final
class ImageNetC:
    """A folder of ImageNet-C: ``<corruption>/<severity>/<class>/<image>``, or the same inside ``<family>/`` folders.

    Args:
        folder: the folder with the corruptions, or with families of them.
        classes: the training classes' folder names, in the order of their labels; by default the folder names found,
            sorted, which is the usual order.

    Raises:
        InputError: if no corruption is found, a severity is missing, or a class folder is not among `classes`.
    """

    def __init__(self, folder: str | Path, *, classes: Sequence[str] | None = None) -> None:
        self.folder = Path(folder)
        self._folders = _corruption_folders(self.folder)
        self.names = tuple(self._folders)
        """The corruptions found."""
        places = [path / str(severity) for path in self._folders.values() for severity in SEVERITIES]
        self.classes = tuple(classes or _class_folders(places[0]))
        """Folder names of the classes, in the order of their labels."""
        for place in places:
            self._check_classes(place)

    def _check_classes(self, place: Path) -> None:
        """Check that a corruption's folder of one severity contains images, all of them in folders of known classes."""
        found = _class_folders(place)
        strange = sorted(set(found) - set(self.classes))
        if strange or not found:
            raise InputError(
                "the class folders of ImageNet-C must be those of the training data",
                got=f"{', '.join(strange[:8]) or 'no class folder'} in {place}",
                fix="Pass classes= with the training folders' names (n01440764, ...), in the order of their labels",
            )
        if next(self._labelled(place), None) is None:
            raise InputError(
                "every corruption of ImageNet-C must have images at each severity",
                got=f"none in the class folders of {place}",
                fix="Unpack its archive again",
            )

    def image_shape(self, name: str) -> tuple[int, ...]:
        """Return ``(3, height, width)`` of a corruption's first image, which the others must have too.

        Raises:
            InputError: for an image that cannot be read.
        """
        height, width, _ = _decoded(next(file for file, _ in self._labelled(self._folders[name] / "1"))).shape
        return (3, height, width)

    def files(self, name: str, severity: int) -> tuple[Path, ...]:
        """Return the images of a corruption at a severity."""
        return tuple(file for file, _ in self._labelled(self._folders[name] / str(severity)))

    def batches(self, name: str, severity: int, *, batch_size: int) -> Iterator[ShiftedBatch]:
        """Yield the images of one corruption and severity, class by class, with their labels.

        Args:
            name: the corruption.
            severity: the severity.
            batch_size: images per batch.

        Raises:
            InputError: by the call, for a corruption that is not in the folder (the message names the nearest), a
                severity outside 1..5, or a batch size below 1; while iterating, for a file that is not an image or
                whose size differs from the first one's.
        """
        severity = check_severity(severity)
        _check_name(name, self.names, self.folder)
        _check_batch_size(batch_size)
        return self._read(self._folders[name] / str(severity), batch_size)

    def _labelled(self, folder: Path) -> Iterator[tuple[Path, int]]:
        """Yield the images in a corruption's folder of one severity, class by class, with their labels."""
        for label, name in enumerate(self.classes):
            for file in sorted((folder / name).glob("*")):
                if re.fullmatch(r"\.(jpe?g|png)", file.suffix.lower()):
                    yield file, label

    def _read(self, folder: Path, batch_size: int) -> Iterator[ShiftedBatch]:
        files = list(self._labelled(folder))
        size: tuple[int, ...] | None = None
        for start in range(0, len(files), batch_size):
            part = files[start : start + batch_size]
            images = []
            for file, _ in part:
                image = _decoded(file)
                size = size or image.shape
                if image.shape != size:
                    raise InputError(
                        "all images of an ImageNet-C folder must have the same size",
                        got=f"{file} of {image.shape[1]}x{image.shape[0]} after {size[1]}x{size[0]}",
                        fix="Resize them first (the official ones are 224x224)",
                    )
                images.append(image)
            inputs = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2).contiguous()
            yield inputs, torch.tensor([label for _, label in part])


def _corruption_folders(folder: Path) -> dict[str, Path]:
    """Return the folders of an ImageNet-C folder's corruptions by name, checked to have every severity."""
    outer = _folders_in(folder)
    inner = [child for family in outer for child in _folders_in(family)]
    corruptions = {child.name: child for child in outer + inner if (child / "1").is_dir()}
    if not corruptions:
        raise InputError(
            "an ImageNet-C folder must hold folders <corruption>/<severity>/<class>",
            got=f"{folder} with {', '.join(child.name for child in outer[:8]) or 'no folder in it'}",
            fix="Unpack the archives from zenodo.org/records/2235448 and pass the folder that contains them",
        )
    for path in corruptions.values():
        _check_severities(path)
    return corruptions


def _check_severities(corruption: Path) -> None:
    lacking = [str(severity) for severity in SEVERITIES if not (corruption / str(severity)).is_dir()]
    if lacking:
        raise InputError(
            "every corruption must have a folder for each severity from 1 to 5",
            got=f"{corruption.name} without {', '.join(lacking)} (in {corruption})",
            fix="Unpack its archive again",
        )


def _class_folders(place: Path) -> list[str]:
    return sorted(child.name for child in _folders_in(place))


def _folders_in(folder: Path) -> list[Path]:
    return [child for child in sorted(folder.glob("*")) if child.is_dir()]


def _decoded(file: Path) -> NDArray[np.uint8]:
    try:
        with Image.open(file) as image:
            return np.asarray(image.convert("RGB"))
    except (UnidentifiedImageError, OSError) as error:
        raise InputError(
            "every image of an ImageNet-C folder must be readable",
            got=f"{file} ({error})",
            fix="Unpack its archive again",
        ) from error


def _array(file: Path) -> NDArray[Any]:
    try:
        array: NDArray[Any] = np.load(file, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError) as error:
        raise InputError(
            "a CIFAR-C file must be a NumPy array", got=f"{file} ({error})", fix="Unpack the archive again"
        ) from error
    return array


def _checked_images(file: Path, labels: int) -> NDArray[np.uint8]:
    images = _array(file)
    if (
        images.ndim != 4
        or images.dtype != np.uint8
        or images.shape[3] not in (1, 3)
        or len(images) % 5
        or not images.size
    ):
        raise _misfit(file, images, "uint8 images (5 N, H, W, 3)")
    if labels not in (len(images), len(images) // len(SEVERITIES)):
        raise _misfit(file, images, f"as many images as the {labels} labels, or five times as many")
    return images


def _misfit(file: Path, array: NDArray[Any], wanted: str) -> InputError:
    return InputError(
        f"{file.name} must hold {wanted}",
        got=f"{array.dtype} of shape {array.shape} in {file}",
        fix="Unpack the archive again, and keep other .npy files elsewhere",
    )


def _check_name(name: str, names: tuple[str, ...], folder: Path) -> None:
    if name not in names:
        raise InputError(f"the corruption must be one of those in {folder}", got=repr(name), fix=nearest(name, names))


def _check_batch_size(batch_size: int) -> None:
    if batch_size < 1:
        raise InputError("batch_size must be at least 1", got=f"batch_size={batch_size}", fix="Pass 1 or more")
