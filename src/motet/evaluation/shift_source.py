"""The shifts that a user can name: sets of corruptions, single corruptions, shifts of tables, folders of
official files.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal, final

import torch

from motet._internal.user_path import user_path
from motet.data import Dataset, DataSpec, Split
from motet.errors import InputError, nearest
from motet.evaluation.cache import digest, digest_of_rows, file_stamp
from motet.evaluation.shifted_rows import Shifted, shifted_files, shifted_images, shifted_table
from motet.shifts import (
    CORRUPTIONS,
    SETS,
    SEVERITIES,
    TABLE_SHIFTS,
    CifarC,
    Constants,
    Corruption,
    ImageNetC,
    corruptions,
)

TABLES = "tables"
"""The name of all shifts of tables."""


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class ShiftSettings:
    """How rows are shifted, see `motet.evaluation.evaluate_shift`. `split` is None for the data set's test rows."""

    split: Split | None = None
    severities: Sequence[int] = SEVERITIES
    seed: int = 0
    batch_size: int = 512
    constants: Constants | None = None

    @cached_property
    def key(self) -> dict[str, object]:
        """Return everything that a result under one corruption at one severity depends on, as plain data."""
        rows = None if self.split is None else digest_of_rows(self.split)
        return {"rows": rows, "seed": self.seed, "batch_size": self.batch_size, "constants": self.constants}


@final
@dataclass(frozen=True, kw_only=True)
class ShiftSource:
    """The source of shifted rows.

    Attributes:
        name: the name in records.
        kind: whether images are corrupted, a table is shifted, or files are read.
        names: the corruptions.
        files: an official set.
        corruptions: the functions for `names`, including the caller's own.
    """

    name: str
    kind: Literal["images", "table", "files"]
    names: tuple[str, ...]
    files: CifarC | ImageNetC | None = None
    corruptions: tuple[Corruption, ...] = ()

    @classmethod
    def of_images(cls, shifts: str | Sequence[str | Corruption]) -> "ShiftSource":
        """Return the source for a set of corruptions, a corruption's name, or several corruptions.

        Raises:
            InputError: for an unknown name, with the nearest.
        """
        items = [shifts] if isinstance(shifts, str) else shifts
        chosen = [each for item in items for each in (corruptions(item) if isinstance(item, str) else (item,))]
        names = tuple(each.name for each in chosen)
        name = shifts if isinstance(shifts, str) else ", ".join(names)
        return cls(name=name, kind="images", names=names, corruptions=tuple(chosen))

    @property
    def averaged(self) -> tuple[str, ...]:
        """The corruptions that means are taken over: the official 15 of the 19 in CIFAR-C and ImageNet-C."""
        official = tuple(name for name in self.names if name in SETS["cifar-c"])
        return official or self.names

    @property
    def notes(self) -> tuple[str, ...]:
        """Return notes for the user: official corruptions that means usually include, and that are missing here."""
        missing = [name for name in SETS["cifar-c"] if name not in self.names]
        if self.files is None or not missing:
            return ()
        return (
            f"{self.files.folder} has {15 - len(missing)} of the 15 corruptions that means usually include; "
            f"it lacks {', '.join(missing)}",
        )

    def key(self, name: str, severity: int, settings: ShiftSettings) -> dict[str, object] | None:
        """Return the cache key of a result; None if it cannot be cached.

        Results of files depend on the files (the key changes when one of them is written to) and on the numbering of
        their classes. Results under a corruption that motet does not have cannot be cached, because its code is
        unknown.

        Args:
            name: the corruption.
            severity: the severity.
            settings: how rows are shifted.
        """
        if any(each.name == name and CORRUPTIONS.get(name) is not each for each in self.corruptions):
            return None
        key: dict[str, object] = {"shift": self.kind, "corruption": name, "severity": severity}
        if self.files is not None:
            stamps = digest("\n".join(map(file_stamp, self.files.files(name, severity))).encode())
            return key | {"files": stamps, "classes": self.files.classes, "batch_size": settings.batch_size}
        return key | settings.key

    def for_data(self, dataset: Dataset) -> "ShiftSource":
        """Return the source with an ImageNet-C folder's classes numbered as in the data set, if its classes have such
        names.
        """
        names = dataset.spec.class_names
        if isinstance(self.files, ImageNetC) and set(self.files.classes) <= set(names):
            return replace(self, files=ImageNetC(self.files.folder, classes=names))
        return self

    def check(self, dataset: Dataset) -> None:
        """Check that this shift fits the data: images for corruptions, tables for shifts of tables.

        Raises:
            InputError: if it does not.
        """
        spec, axes = dataset.spec, len(dataset.spec.input_shape)
        if self.kind == "table" and axes != 1:
            raise InputError(
                f"{self.name} is a shift of tables, and needs a run on a table",
                got=f"{spec.name} with inputs of shape {spec.input_shape}",
                fix=f"Choose a shift of images: {', '.join(SETS)}, or one corruption",
            )
        if self.kind != "table" and (axes != 3 or spec.input_shape[0] not in {1, 3}):
            raise InputError(
                f"{self.name} is a shift of images, and needs a run on images",
                got=f"{spec.name} with inputs of shape {spec.input_shape}",
                fix=f"Choose a shift of tables: {', '.join([TABLES, *TABLE_SHIFTS])}",
            )
        if self.kind == "images" and min(spec.input_shape[1:]) < 4:
            raise InputError(
                "images must be at least 4 pixels high and wide to be corrupted",
                got=f"{spec.name} with inputs of shape {spec.input_shape}",
                fix="Evaluate a run on larger images",
            )
        if self.kind != "table":
            spec.to_bytes(dataset.test.rows[:1])
        if self.files is not None:
            self._check_classes(self.files, spec)
            self._check_files(self.files, spec)

    def _check_classes(self, files: CifarC | ImageNetC, spec: DataSpec) -> None:
        if spec.task != "classification":
            raise InputError(
                "official corrupted images have class labels, and need a run on a classification",
                got=f"{spec.task_in_words} of {spec.name}",
                fix="Choose a generated shift",
            )
        if isinstance(files, ImageNetC) and len(files.classes) != spec.outputs:
            raise InputError(
                "an ImageNet-C folder must have the run's classes",
                got=f"{len(files.classes)} class folders for {spec.outputs} classes of {spec.name}",
                fix="Pass the set that was made from the run's data",
            )

    def _check_files(self, files: CifarC | ImageNetC, spec: DataSpec) -> None:
        """Check all files that can be checked before the first is evaluated."""
        for name in self.names:
            shape = files.image_shape(name)
            if shape != spec.input_shape:
                raise InputError(
                    f"images of {name} in {files.folder} must have shape {spec.input_shape}, like those of the run",
                    got=f"images of shape {shape}",
                    fix=f"Pass the set that was made from {spec.name}",
                )
        if isinstance(files, CifarC) and files.classes > spec.outputs:
            raise InputError(
                f"labels in {files.folder / 'labels.npy'} must be classes of the run, 0 to {spec.outputs - 1}",
                got=f"labels up to {files.classes - 1}",
                fix=f"Pass the set that was made from {spec.name}",
            )

    def rows(self, dataset: Dataset, settings: ShiftSettings, device: torch.device | str = "cpu") -> Iterator[Shifted]:
        """Yield rows of the data set, or of the files, under each corruption at each severity.

        Args:
            dataset: the data set.
            settings: how rows are shifted.
            device: the device on which images are corrupted.
        """
        severities, batch_size = settings.severities, settings.batch_size
        if self.files is not None:
            return shifted_files(dataset, self.files, self.names, severities=severities, batch_size=batch_size)
        split, seed = settings.split, settings.seed
        if self.kind == "table":
            return shifted_table(
                dataset, self.names, split=split, severities=severities, seed=seed, batch_size=batch_size
            )
        return shifted_images(
            dataset,
            self.corruptions,
            split=split,
            severities=severities,
            seed=seed,
            batch_size=batch_size,
            constants=settings.constants,
            device=device,
        )


def find_shift(text: str) -> ShiftSource:
    """Return the shift with this name, or in this folder. A name has priority over a folder with the same name.

    Raises:
        InputError: if there is neither, with the nearest name; or for a folder without an official set.
    """
    if not text.strip():
        raise InputError("a shift must have a name", got=repr(text), fix=f"Pass one of {', '.join([*SETS, TABLES])}")
    if text in SETS or text in CORRUPTIONS:
        return ShiftSource.of_images(text)
    if text == TABLES or text in TABLE_SHIFTS:
        return ShiftSource(name=text, kind="table", names=tuple(TABLE_SHIFTS) if text == TABLES else (text,))
    folder = user_path(text)
    if not folder.is_dir():
        raise InputError(
            "a shift must be one of motet's, or a folder with the files of CIFAR-C or ImageNet-C",
            got=repr(text),
            fix=nearest(text, [*SETS, TABLES, *TABLE_SHIFTS, *CORRUPTIONS]),
        )
    files = _official_files(folder)
    # Names in the papers' order, other names after them.
    names = [*(name for name in CORRUPTIONS if name in files.names), *(n for n in files.names if n not in CORRUPTIONS)]
    return ShiftSource(name=f"{folder.resolve().name} (files)", kind="files", names=tuple(names), files=files)


def _official_files(folder: Path) -> CifarC | ImageNetC:
    if any(folder.glob("*.npy")):
        return CifarC(folder)
    if any(folder.glob("*/1/*/")) or any(folder.glob("*/*/1/*/")):
        return ImageNetC(folder)
    raise InputError(
        "a folder of shifted images must hold those of CIFAR-C (<corruption>.npy, labels.npy) or of ImageNet-C "
        "(<corruption>/<severity>/<class>)",
        got=f"{folder}, which holds neither",
        fix="Unpack the official archive (zenodo.org/records/2535967, 3555552 or 2235448) and pass its folder",
    )
