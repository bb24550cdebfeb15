"""Blurs with one kernel for all images: Gaussian, defocus, zoom. Constants as in `motet.shifts.noise`."""

import math
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from motet.shifts._pixels import pixels, unit
from motet.shifts._resample import gaussian, pad_mirrored, separable, zoom_matrix
from motet.shifts.draws import Draws

GAUSSIAN_CIFAR = ((0.4,), (0.6,), (0.7,), (0.8,), (1.0,))
GAUSSIAN_IMAGENET = ((1.0,), (2.0,), (3.0,), (4.0,), (6.0,))
DEFOCUS_CIFAR = ((0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1.0, 0.2), (1.5, 0.1))
DEFOCUS_IMAGENET = ((3.0, 0.1), (4.0, 0.5), (6.0, 0.5), (8.0, 0.5), (10.0, 0.5))
# Steps and numbers of the zoom factors, from 1 on. The original writes arange(1, end, step), whose length depends on
# rounding.
ZOOM_CIFAR = ((0.01, 7.0), (0.01, 12.0), (0.01, 16.0), (0.01, 21.0), (0.01, 26.0))
ZOOM_IMAGENET = ((0.01, 12.0), (0.01, 16.0), (0.02, 11.0), (0.02, 13.0), (0.03, 11.0))

Images = UInt8[Tensor, "batch channel height width"]


def gaussian_blur(images: Images, draws: Draws, sigma: float) -> Images:
    """Blur with a Gaussian, cut off at 4 standard deviations; the border pixels are repeated.

    Args:
        images: images in uint8.
        draws: not used.
        sigma: the standard deviation in pixels.
    """
    return pixels(gaussian(unit(images), sigma))


def defocus_blur(images: Images, draws: Draws, radius: float, alias_sigma: float) -> Images:
    """Blur with a disk that is smoothed by a Gaussian; the image is mirrored at its border.

    Args:
        images: images in uint8.
        draws: not used.
        radius: the radius of the disk in pixels.
        alias_sigma: the standard deviation of the Gaussian in pixels.
    """
    kernel = disk(radius, alias_sigma).to(images.device)
    batch, channels, *_ = images.shape
    x = pad_mirrored(unit(images), kernel.shape[-1] // 2)
    blurred = F.conv2d(x.flatten(0, 1).unsqueeze(1), kernel[None, None])
    return pixels(blurred.view(batch, channels, *images.shape[2:]))


@lru_cache(maxsize=16)
def disk(radius: float, alias_sigma: float) -> Float[Tensor, "side side"]:
    """The kernel of `defocus_blur`: a disk on 17x17 pixels (more for a larger radius), smoothed over 3x3 (5x5).

    Empty margins are removed.
    """
    from scipy.ndimage import correlate1d

    reach, smooth = (8, 1) if radius <= 8 else (math.ceil(radius), 2)
    line = np.arange(-reach, reach + 1)
    kernel = (line[:, None] ** 2 + line[None, :] ** 2 <= radius**2).astype(float)
    weights = np.exp(-(np.arange(-smooth, smooth + 1) ** 2) / (2 * alias_sigma**2))
    for axis in (0, 1):
        kernel = correlate1d(kernel, weights / weights.sum(), axis=axis, mode="mirror")
    kernel /= kernel.sum()
    held = int(np.abs(line)[(kernel > 1e-9).any(axis=0)].max())
    inner = slice(reach - held, reach + held + 1)
    return torch.from_numpy(kernel[inner, inner].copy()).to(torch.float32)


def zoom_blur(images: Images, draws: Draws, step: float, count: float) -> Images:
    """Average the image and its middle magnified by 1 + step, 1 + 2 step, and so on.

    Args:
        images: images in uint8.
        draws: not used.
        step: the step of the factors.
        count: the number of factors, including 1.
    """
    x = unit(images)
    height, width = images.shape[2:]
    factors = zoom_factors(step, int(count))
    if height * width <= _DENSE:
        mean = F.linear(x.flatten(2), _zooms(height, width, factors).to(x.device)).view_as(x)
        return pixels(mean)
    total = x.clone()
    for factor in factors:
        total += separable(x, zoom_matrix(height, factor), zoom_matrix(width, factor))
    return pixels(total.div_(count + 1))


def zoom_factors(step: float, count: int) -> tuple[float, ...]:
    """Return the factors of the original, ``numpy.arange(1, end, step)``, to the last bit.

    NumPy adds multiples of ``(1 + step) - 1``, which is not `step` in floating point. The size of a magnified part is
    rounded, so that one bit decides on a pixel: 26 pixels become 32 with 1.25, and 33 with 1.2500000000000002.

    Args:
        step: the step.
        count: the number of factors, including 1.
    """
    return tuple(float(factor) for factor in np.arange(1, 1 + (count - 0.5) * step, step))


_DENSE = 40 * 40  # pixels: up to this size one large product for all zooms is faster than a small one for each


@lru_cache(maxsize=8)
def _zooms(height: int, width: int, factors: tuple[float, ...]) -> Float[Tensor, "pixels pixels"]:
    """Return the whole of `zoom_blur` as one matrix on the pixels of an image."""
    total = torch.eye(height * width)
    for factor in factors:
        total += torch.kron(zoom_matrix(height, factor), zoom_matrix(width, factor))
    return total.div_(len(factors) + 1)
