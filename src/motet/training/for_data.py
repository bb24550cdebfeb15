"""Choose the training settings that were left to the data: the batch size and the augmentation."""

import re
from dataclasses import replace

from motet.data import Augmentation, Dataset, DataSpec
from motet.training.settings import Training

LEAST_STEPS = 10
"""The number of steps of an epoch below which the default batch size is reduced."""
SMALLEST_BATCH = 4
"""The smallest default batch size: batch normalisation needs several rows."""
FEW_IMAGES = 10_000
"""The number of training images below which images are augmented by default."""

_CROP_SHARE = 8  # 4 pixels of CIFAR's 32, as in the papers
_SIDES = re.compile(r"(?:^|[^a-z])(?:left|right)(?:$|[^a-z])", re.IGNORECASE)
_CHARACTERS = 5


def settings_for(training: Training, dataset: Dataset) -> tuple[Training, tuple[str, ...]]:
    """Return the settings with a batch size and an augmentation for this data, and notes on what was chosen.

    Settings that are not None are not changed. If ``batch_size`` is None, it becomes ``largest_batch_size`` if an epoch
    then has at least 10 steps. Otherwise it becomes the largest power of two that gives at least 10 steps, but not less
    than 4, unless there are fewer than 4 rows. If ``augment`` is None, the training images of a classification are
    augmented if there are fewer than 10,000: with random crops (padded by an eighth of the shorter side) and with
    flips. Flips are left out for grey images, if a class name contains left or right, and if all class names are single
    characters, because a flip could change the class.

    Args:
        training: the settings.
        dataset: the data.
    """
    notes: list[str] = []
    if training.batch_size is None:
        training = _with_batch_size(training, len(dataset.train), notes)
    if training.augment is None:
        training = _with_augmentation(training, dataset, notes)
    return training, tuple(notes)


def _with_batch_size(training: Training, rows: int, notes: list[str]) -> Training:
    largest = training.largest_batch_size
    size = largest
    if rows // largest < LEAST_STEPS:
        power = 1 << max(0, (rows // LEAST_STEPS).bit_length() - 1)
        size = max(1, min(largest, rows, max(SMALLEST_BATCH, power)))
    if size < largest:
        steps = rows // size
        notes.append(
            f"batch size {size} instead of {largest}, so that an epoch of {rows:,} training rows has {steps} steps; "
            "--batch-size (batch_size=) overrides it"
        )
    return replace(training, batch_size=size)


def _with_augmentation(training: Training, dataset: Dataset, notes: list[str]) -> Training:
    spec, rows = dataset.spec, len(dataset.train)
    augmentation = Augmentation()
    if (
        len(spec.input_shape) == 3
        and spec.task == "classification"
        and spec.ignored_label is None
        and rows < FEW_IMAGES
    ):
        crop = min(spec.input_shape[1:]) // _CROP_SHARE
        augmentation = Augmentation(crop=crop, flip=_may_be_flipped(spec))
    if augmentation.active:
        pixels = f"{augmentation.crop} pixel{'' if augmentation.crop == 1 else 's'}"
        kinds = [f"random crops (padding {pixels})"] if augmentation.crop else []
        kinds += ["flips"] if augmentation.flip else []
        notes.append(
            f"augmentation by {' and '.join(kinds)}, because there are only {rows:,} training images; "
            "--augment none (augment=Augmentation()) turns it off"
        )
    return replace(training, augment=augmentation)


def _may_be_flipped(spec: DataSpec) -> bool:
    """Whether a mirrored image still belongs to its class, as far as can be known."""
    grey = spec.input_shape[0] != 3
    sides = any(_SIDES.search(name) for name in spec.class_names)
    characters = len(spec.class_names) >= _CHARACTERS and all(len(name) == 1 for name in spec.class_names)
    return not (grey or sides or characters)
