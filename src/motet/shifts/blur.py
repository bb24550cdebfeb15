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
# Steps and numbers of the zoom factors from 1 on. The original writes arange(1, end, step), whose length rounding
# decides.
ZOOM_CIFAR = ((0.01, 7.0), (0.01, 12.0), (0.01, 16.0), (0.01, 21.0), (0.01, 26.0))
ZOOM_IMAGENET = ((0.01, 12.0), (0.01, 16.0), (0.02, 11.0), (0.02, 13.0), (0.03, 11.0))

Images = UInt8[Tensor, "batch channel height width"]


def gaussian_blur(images: Images, draws: Draws, sigma: float) -> Images:
    """Blur with a Gaussian of deviation `sigma` pixels, cut at 4 deviations; the border continues outwards."""
    return pixels(gaussian(unit(images), sigma))


def defocus_blur(images: Images, draws: Draws, radius: float, alias_sigma: float) -> Images:
    """Blur with a disk of `radius` pixels, itself smoothed by a Gaussian of deviation `alias_sigma`.

    The image goes on as its mirror image beyond its border.
    """
    kernel = disk(radius, alias_sigma).to(images.device)
    batch, channels, *_ = images.shape
    x = pad_mirrored(unit(images), kernel.shape[-1] // 2)
    blurred = F.conv2d(x.flatten(0, 1).unsqueeze(1), kernel[None, None])
    return pixels(blurred.view(batch, channels, *images.shape[2:]))


@lru_cache(maxsize=16)
def disk(radius: float, alias_sigma: float) -> Float[Tensor, "side side"]:
    """The kernel of `defocus_blur`: a disk on 17x17 pixels (more for a larger radius), smoothed over 3x3 (5x5).

    Margins that hold nothing are cut off.
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
    """The mean of the image and of its middle magnified by 1, 1 + step, 1 + 2 step, ... (`count` factors)."""
    x = unit(images)
    height, width = images.shape[2:]
    factors = tuple(1 + number * step for number in range(int(count)))
    if height * width <= _DENSE:
        mean = F.linear(x.flatten(2), _zooms(height, width, factors).to(x.device)).view_as(x)
        return pixels(mean)
    total = x.clone()
    for factor in factors:
        total += separable(x, zoom_matrix(height, factor), zoom_matrix(width, factor))
    return pixels(total.div_(count + 1))


_DENSE = 40 * 40  # pixels: up to here one large product for all zooms together is faster than small ones for each


@lru_cache(maxsize=8)
def _zooms(height: int, width: int, factors: tuple[float, ...]) -> Float[Tensor, "pixels pixels"]:
    """The whole of `zoom_blur` as one matrix on the pixels of an image."""
    total = torch.eye(height * width)
    for factor in factors:
        total += torch.kron(zoom_matrix(height, factor), zoom_matrix(width, factor))
    return total.div_(len(factors) + 1)
