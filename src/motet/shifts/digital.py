"""JPEG compression and pixelation, by Pillow itself, so that every bit is that of the original."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO

import numpy as np
import torch
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

from motet.shifts.draws import Draws

# For the source, see `motet.shifts.noise`.
JPEG_CIFAR = ((80.0,), (65.0,), (58.0,), (50.0,), (40.0,))
JPEG_IMAGENET = ((25.0,), (18.0,), (15.0,), (10.0,), (7.0,))
PIXELATE_CIFAR = ((0.95,), (0.9,), (0.85,), (0.75,), (0.65,))
PIXELATE_IMAGENET = ((0.6,), (0.5,), (0.4,), (0.3,), (0.25,))

Images = UInt8[Tensor, "batch channel height width"]
# pixels: for smaller images, Python's own work, which only one thread at a time can do, dominates
_WORTH_A_THREAD = 96 * 96


def jpeg_compression(images: Images, draws: Draws, quality: float) -> Images:
    """Save as JPEG and read again.

    Args:
        images: images in uint8.
        draws: not used.
        quality: the quality, from 1 to 100.
    """

    def through_jpeg(image: Image.Image) -> Image.Image:
        file = BytesIO()
        image.save(file, "JPEG", quality=int(quality))
        return Image.open(file, formats=("JPEG",))

    return _each(images, through_jpeg)


def pixelate(images: Images, draws: Draws, share: float) -> Images:
    """Shrink both sides by averaging boxes, and enlarge them again by the nearest value.

    Args:
        images: images in uint8.
        draws: not used.
        share: the fraction of the side lengths.
    """

    def through_pixels(image: Image.Image) -> Image.Image:
        small = (int(image.width * share), int(image.height * share))
        return image.resize(small, Image.Resampling.BOX).resize(image.size, Image.Resampling.BOX)

    return _each(images, through_pixels)


def _each(images: Images, change: Callable[[Image.Image], Image.Image]) -> Images:
    """Apply `change` to every image; for large images with as many threads as torch uses."""
    grey = images.shape[1] == 1
    array = (images[:, 0] if grey else images.permute(0, 2, 3, 1)).cpu().numpy()
    array = np.ascontiguousarray(array)
    out = np.empty_like(array)

    def some(start: int, step: int) -> None:
        for row in range(start, len(array), step):
            out[row] = change(Image.fromarray(array[row]))

    workers = torch.get_num_threads() if images.shape[2] * images.shape[3] >= _WORTH_A_THREAD else 1
    if workers == 1:
        some(0, 1)
    else:
        with ThreadPoolExecutor(workers) as pool:
            list(pool.map(some, range(workers), [workers] * workers))
    changed = torch.from_numpy(out)
    return (changed.unsqueeze(1) if grey else changed.permute(0, 3, 1, 2).contiguous()).to(images.device)
