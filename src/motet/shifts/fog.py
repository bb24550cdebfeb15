"""Fog: a cloud made by the diamond-square algorithm."""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from motet.shifts._pixels import pixels, unit
from motet.shifts.draws import Draws

# The strength, and the divisor of the cloud's roughness at each finer scale. For the source, see `motet.shifts.noise`.
CIFAR = ((0.2, 3.0), (0.5, 3.0), (0.75, 2.5), (1.0, 2.0), (1.5, 1.75))
IMAGENET = ((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4))

Images = UInt8[Tensor, "batch channel height width"]


def fog(images: Images, draws: Draws, strength: float, decay: float) -> Images:
    """Add a cloud, and scale so that the image's brightest value can stay as bright.

    Args:
        images: images in uint8.
        draws: their random numbers.
        strength: the largest value of the cloud.
        decay: the divisor of the cloud's roughness.
    """
    height, width = images.shape[2:]
    x = unit(images)
    brightest = x.amax(dim=(1, 2, 3), keepdim=True)
    side = 1 << (max(height, width) - 1).bit_length()
    cloud = plasma(draws, side, decay)[:, None, :height, :width]
    return pixels((x + strength * cloud) * (brightest / (brightest + strength)))


def plasma(draws: Draws, side: int, decay: float) -> Float[Tensor, "batch side side"]:
    """Return a height map from 0 to 1 with periodic borders, by the diamond-square algorithm.

    Each new point is the mean of the four around it plus uniform noise. As in the original, the uniform noise is
    multiplied by the amplitude twice, so that it falls by ``decay^2`` at each finer scale.

    Args:
        draws: the images' random numbers.
        side: a power of two, at least 2.
        decay: the divisor of the roughness.
    """
    heights = torch.zeros(len(draws), side, side, device=draws.device)
    rough, step = 100.0, side
    while step >= 2:
        half = step // 2
        fresh = (side // step, side // step)
        corners = heights[:, ::step, ::step].clone()
        square = corners + corners.roll(-1, 1)
        square = square + square.roll(-1, 2)
        centres = square / 4 + draws.uniform(*fresh, low=-rough * rough, high=rough * rough)
        heights[:, half::step, half::step] = centres
        neighbours = centres + centres.roll(1, 1) + corners + corners.roll(-1, 2)
        heights[:, ::step, half::step] = neighbours / 4 + draws.uniform(*fresh, low=-rough * rough, high=rough * rough)
        above = centres + centres.roll(1, 2) + corners + corners.roll(-1, 1)
        heights[:, half::step, ::step] = above / 4 + draws.uniform(*fresh, low=-rough * rough, high=rough * rough)
        step, rough = half, rough / decay
    heights -= heights.amin(dim=(1, 2), keepdim=True)
    return heights / heights.amax(dim=(1, 2), keepdim=True)
