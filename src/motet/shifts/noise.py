"""Independent noise for every pixel and channel.

Each function takes images, their random numbers and one severity's constants. ``CIFAR`` and ``IMAGENET`` hold these
constants for severities 1 to 5, in all files of this folder. They are those of Hendrycks and Dietterich 2019
(Benchmarking Neural Network Robustness to Common Corruptions and Perturbations, https://arxiv.org/abs/1903.12261), from
the programs that made CIFAR-10-C (make_cifar_c.py) and ImageNet-C (make_imagenet_c.py) in
github.com/hendrycks/robustness.
"""

from functools import lru_cache

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from motet.shifts._pixels import pixels, unit
from motet.shifts.draws import Draws

GAUSSIAN_CIFAR = ((0.04,), (0.06,), (0.08,), (0.09,), (0.10,))
GAUSSIAN_IMAGENET = ((0.08,), (0.12,), (0.18,), (0.26,), (0.38,))
SHOT_CIFAR = ((500.0,), (250.0,), (100.0,), (75.0,), (50.0,))
SHOT_IMAGENET = ((60.0,), (25.0,), (12.0,), (5.0,), (3.0,))
IMPULSE_CIFAR = ((0.01,), (0.02,), (0.03,), (0.05,), (0.07,))
IMPULSE_IMAGENET = ((0.03,), (0.06,), (0.09,), (0.17,), (0.27,))
SPECKLE_CIFAR = ((0.06,), (0.1,), (0.12,), (0.16,), (0.2,))
SPECKLE_IMAGENET = ((0.15,), (0.2,), (0.35,), (0.45,), (0.6,))

_SLICES = 512  # the number of intervals of [0, 1] for which `shot_noise` knows where to start the search

Images = UInt8[Tensor, "batch channel height width"]


def gaussian_noise(images: Images, draws: Draws, std: float) -> Images:
    """Add normal noise, on the scale from 0 to 1.

    Args:
        images: images in uint8.
        draws: their random numbers.
        std: the standard deviation.
    """
    return pixels(draws.normal(*images.shape[1:], std=std).add_(unit(images)))


def speckle_noise(images: Images, draws: Draws, std: float) -> Images:
    """Multiply by normal noise around 1: bright pixels get more.

    Args:
        images: images in uint8.
        draws: their random numbers.
        std: the standard deviation.
    """
    return pixels(draws.normal(*images.shape[1:], mean=1.0, std=std).mul_(unit(images)))


def shot_noise(images: Images, draws: Draws, photons: float) -> Images:
    """Count photons: each pixel is a Poisson number with mean `photons` times its brightness, divided by `photons`.

    Args:
        images: images in uint8.
        draws: their random numbers.
        photons: the mean number of photons of a white pixel.
    """
    table, offset, start = (part.to(images.device) for part in _poisson(photons))
    level = images.to(torch.int32)
    chance = draws.uniform(*images.shape[1:])
    # The count is the first whose distribution function exceeds the uniform number. `start` is where to search, given
    # the number's first bits: usually there or one further. The few others, in the tails, are searched for.
    slices = start.shape[1]
    at = start.flatten()[(level * slices).add_((chance * slices).to(torch.int32))]
    at += table[at] <= chance
    far = (table[at] <= chance).nonzero(as_tuple=True)
    # The functions of all 256 levels are concatenated. With l added to that of level l they increase throughout, so one
    # search is enough.
    rising = table.double() + torch.arange(256, device=table.device).repeat_interleave(torch.diff(offset[:, 1]))
    at[far] = torch.searchsorted(rising, level[far] + chance[far].double(), right=True, out_int32=True)
    return pixels((at - offset[:-1, 0][level]).to(torch.float32).div_(photons))


@lru_cache(maxsize=16)
def _poisson(photons: float) -> tuple[Tensor, Tensor, Tensor]:
    """Return tables for `shot_noise`.

    They are: the distribution functions of the 256 levels' counts, concatenated; for each level, the offset from a
    position in them to the count, and where its function begins; for each level and interval of [0, 1], the position of
    the first possible count.

    Counts rarer than a uniform number's steps (2^-24) are left out, which keeps the tables in the processor's cache.
    """
    from scipy.stats import poisson

    parts, offsets, length = [], [], 0
    starts = np.empty((256, _SLICES), dtype=np.int32)
    for level in range(256):
        mean = level / 255 * photons
        low, high = (int(poisson.ppf(p, mean)) if level else 0 for p in (2.0**-26, 1 - 2.0**-26))
        cdf = poisson.cdf(np.arange(low, high + 1), mean).astype(np.float32)
        cdf[-1] = 1.0
        parts.append(cdf)
        offsets.append((length - low, length))
        starts[level] = length + np.searchsorted(cdf, np.arange(_SLICES) / _SLICES, side="right")
        length += len(cdf)
    offsets.append((0, length))
    return (
        torch.from_numpy(np.concatenate(parts)),
        torch.tensor(offsets, dtype=torch.int32),
        torch.from_numpy(starts),
    )


def impulse_noise(images: Images, draws: Draws, amount: float) -> Images:
    """Salt and pepper: some values become black or white, with equal probabilities.

    Args:
        images: images in uint8.
        draws: their random numbers.
        amount: the fraction of values that change.
    """
    shape = images.shape[1:]
    hit, salt = draws.uniform(*shape) < amount, draws.uniform(*shape) < 0.5
    return torch.where(hit, salt.to(torch.uint8).mul_(255), images)
