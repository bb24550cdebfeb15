"""Frost: a picture of ice laid over the image, generated (`motet.shifts._ice`) or from your photographs."""

from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from motet.errors import InputError
from motet.shifts._ice import COUNT, ice
from motet.shifts._pixels import grey, levels
from motet.shifts.draws import Draws

# Weights of image and ice, and the scale of the ice for each pixel of the image's longer side: the original shrinks its
# photographs to a fifth for images of 32, and does not scale them for images of 224. For the source, see
# `motet.shifts.noise`.
CIFAR = tuple(
    (image, frost, 0.2 / 32) for image, frost in ((1.0, 0.2), (1.0, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45))
)
IMAGENET = tuple(
    (image, frost, 1 / 224) for image, frost in ((1.0, 0.4), (0.8, 0.6), (0.7, 0.7), (0.65, 0.7), (0.6, 0.75))
)
_SUFFIXES = (".png", ".jpg", ".jpeg")
# The original lists frost6.jpg too, but draws a number below five: its sixth photograph is never used.
_ORIGINAL = ("frost1.png", "frost2.png", "frost3.png", "frost4.jpg", "frost5.jpg")

Images = UInt8[Tensor, "batch channel height width"]


def frost(images: Images, draws: Draws, share: float, weight: float, scale: float) -> Images:
    """``share * image + weight * ice``, where the ice is a random window of one of five generated pictures.

    Args:
        images: images in uint8.
        draws: their random numbers.
        share: the weight of the image.
        weight: the weight of the ice.
        scale: the scale of the ice for each pixel of the image's longer side.
    """
    return _lay(_grown, COUNT, images, draws, share, weight, scale)


def frost_of_photos(folder: Path) -> Callable[..., Images]:
    """Return `frost` with the photographs in `folder` instead of generated ice, all equally likely.

    If the folder holds the original's frost1.png to frost5.jpg, only these five are drawn, as in the original.

    Raises:
        InputError: if the folder contains no .png, .jpg or .jpeg file, or one that cannot be read.
    """
    files = [folder / name for name in _ORIGINAL]
    if not all(file.is_file() for file in files):
        files = sorted(file for file in folder.glob("*") if file.suffix.lower() in _SUFFIXES)
    if not files:
        raise InputError(
            "the folder of frost photographs must hold at least one .png, .jpg or .jpeg file",
            got=str(folder),
            fix="Pass the folder with frost1.png to frost5.jpg, or use the corruption frost, which generates ice",
        )
    photos = [_read(file) for file in files]

    @lru_cache(maxsize=2 * len(photos))
    def scaled(number: int, factor: float, least: tuple[int, int]) -> Tensor:
        return _scaled(photos[number], factor, least)

    return partial(_lay, scaled, len(photos))


def _lay(  # noqa: PLR0917  (a severity's constants come by position)
    picture: Callable[[int, float, tuple[int, int]], Tensor],
    count: int,
    images: Images,
    draws: Draws,
    share: float,
    weight: float,
    scale: float,
) -> Images:
    batch, channels, height, width = images.shape
    which_B = draws.integers(count)
    corner_B2 = draws.uniform(2).double()
    ice_layer = torch.zeros(batch, 3, height, width, device=images.device)
    pictures: Sequence[int] = which_B.unique().tolist()
    for number in pictures:
        whole = picture(number, scale * max(height, width), (height, width)).to(images.device)
        rows_B = (which_B == number).nonzero().squeeze(1)
        free = torch.tensor([whole.shape[1] - height, whole.shape[2] - width], device=images.device)
        # The original's randint(0, free): the last position is left out, unless it is the only one.
        top_B, left_B = (corner_B2[rows_B] * free.clamp_min(1)).long().minimum(free).unbind(1)
        y = top_B.view(-1, 1, 1) + torch.arange(height, device=images.device).view(1, -1, 1)
        x = left_B.view(-1, 1, 1) + torch.arange(width, device=images.device).view(1, 1, -1)
        ice_layer[rows_B] = whole[:, y, x].transpose(0, 1).to(torch.float32)
    if channels == 1:
        ice_layer = grey(ice_layer)
    return levels(images.to(torch.float32).mul_(share) + ice_layer.mul_(weight))


@lru_cache(maxsize=2 * COUNT)
def _grown(number: int, factor: float, least: tuple[int, int]) -> Tensor:
    return _scaled(ice(number), factor, least)


def _scaled(picture: UInt8[Tensor, "3 h w"], factor: float, least: tuple[int, int]) -> UInt8[Tensor, "3 new_h new_w"]:
    """Return the picture at `factor` of its size, or as large as needed to cover `least`.

    As in OpenCV's ``resize`` with INTER_LINEAR, a pixel is interpolated between its four neighbours. Shrinking takes no
    means over the pixels in between, so that fine needles stay sharp.
    """
    height, width = picture.shape[1:]
    factor = max(factor, least[0] / height, least[1] / width)
    x = picture.to(torch.float64)
    for axis, size, at_least in ((1, height, least[0]), (2, width, least[1])):
        made = max(round(size * factor), at_least)
        at = ((torch.arange(made, dtype=torch.float64) + 0.5) / factor - 0.5).clamp_(0, size - 1)
        low = at.long()
        right = (at - low).view(-1, 1) if axis == 1 else at - low
        x = x.index_select(axis, low) * (1 - right) + x.index_select(axis, (low + 1).clamp_max(size - 1)) * right
    return (x + 0.5).to(torch.uint8)


def _read(file: Path) -> UInt8[Tensor, "3 h w"]:
    try:
        with Image.open(file) as image:
            return torch.from_numpy(np.asarray(image.convert("RGB")).copy()).permute(2, 0, 1).contiguous()
    except (UnidentifiedImageError, OSError) as error:
        raise InputError(
            "every frost photograph must be an image that Pillow can read",
            got=f"{file} ({error})",
            fix="Remove the file, or save it again as PNG",
        ) from error
