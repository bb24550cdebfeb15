"""Other data sets, brought to the form of a run's own data, so that its network can be asked about them."""

from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from motet.data import DataOptions, Dataset, DataSpec, ImageFiles, Split, kind_of, load
from motet.errors import InputError

_AT_ONCE = 1024
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's mode "L"


def load_ood(data: str, dataset: Dataset, *, data_dir: Path | None = None) -> Split:
    """The test rows of another data set of images, in the form of `dataset`'s inputs.

    Images of another size are resized (bilinear, antialiased), grey ones repeated over three channels, coloured ones
    turned grey where the run's are (ITU-R BT.601), and floats brought to the run's scale by `DataSpec.full_scale`.

    Args:
        data: a name that `motet.data.load` knows, or a folder of class folders.
        dataset: the run's data, of images.
        data_dir: where files are looked for first.

    Raises:
        InputError: for unknown data (with the nearest name), data that is no images, and a run's that is not.
    """
    check_ood(dataset)
    kind = kind_of(data)
    options = DataOptions()
    if kind == "images":
        options = DataOptions(image_size=max(dataset.spec.input_shape[1:]), stream=False)
    elif kind == "table" or data == "toy":
        raise InputError(
            f"data out of distribution for {dataset.spec.name} must be images",
            got=f"{data}, a table",
            fix="Pass a data set of images (see: motet data), or a folder of class folders",
        )
    other = load(data, data_dir, options=options)
    return Split(inputs=_alike(other, dataset), targets=other.test.targets)


def check_ood(dataset: Dataset) -> None:
    """Raise `InputError` unless the run is a classification of images."""
    spec = dataset.spec
    if spec.task != "classification":
        raise InputError(
            "detection of data out of distribution needs class probabilities",
            got=f"a run of {spec.name}, {'a regression' if spec.task == 'regression' else 'counts'}",
            fix="Leave --ood out",
        )
    if len(spec.input_shape) != 3 or spec.input_shape[0] not in {1, 3}:
        raise InputError(
            "data out of distribution is asked for runs on images",
            got=f"{spec.name} with inputs of shape {spec.input_shape}",
            fix="Leave --ood out; in Python motet.evaluation.evaluate_ood takes any rows of the run's shape",
        )
    dataset.spec.to_bytes(dataset.test.inputs[:1])


def _alike(other: Dataset, dataset: Dataset) -> Tensor | ImageFiles:
    same = other.spec.input_shape == dataset.spec.input_shape and other.test.inputs.dtype == dataset.train.inputs.dtype
    if same and other.spec.full_scale == dataset.spec.full_scale:
        return other.test.inputs  # bit by bit, so that overlapping images are found
    parts = [_brought(part, other.spec, dataset.spec) for part in other.test.inputs.split(_AT_ONCE)]
    images = torch.cat(parts)
    return images if dataset.train.inputs.dtype == torch.uint8 else dataset.spec.from_bytes(images)


def _brought(inputs: Tensor, of: DataSpec, to: DataSpec) -> Tensor:
    """Images of one specification as uint8 images of the shape of another."""
    images = of.to_bytes(inputs)
    channels, height, width = to.input_shape
    if images.shape[1] != channels:
        if channels == 3:
            images = images.repeat(1, 3, 1, 1)
        else:
            weights = torch.tensor(_LUMA, device=images.device).view(1, 3, 1, 1)
            images = (images.float() * weights).sum(dim=1, keepdim=True).round().to(torch.uint8)
    if images.shape[2:] == (height, width):
        return images
    resized = F.interpolate(images.float(), size=(height, width), mode="bilinear", antialias=True)
    return resized.round().clamp(0, 255).to(torch.uint8)
