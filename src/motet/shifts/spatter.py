"""Spatter: drops of water, or splashes of mud, on the lens."""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from motet.shifts._edges import ONE, canny, distance, equalised, sum_of_nine
from motet.shifts._pixels import SLACK, colour, pixels, unit
from motet.shifts._resample import gaussian, pad_mirrored
from motet.shifts.draws import Draws

# Mean and standard deviation of the liquid, its blur, threshold, intensity (for mud: the second blur), and whether it
# is mud. For the source, see `motet.shifts.noise`.
CIFAR = (
    (0.62, 0.1, 0.7, 0.7, 0.5, 0.0),
    (0.65, 0.1, 0.8, 0.7, 0.5, 0.0),
    (0.65, 0.3, 1.0, 0.69, 0.5, 0.0),
    (0.65, 0.1, 0.7, 0.69, 0.6, 1.0),
    (0.65, 0.1, 0.5, 0.68, 0.6, 1.0),
)
IMAGENET = (
    (0.65, 0.3, 4.0, 0.69, 0.6, 0.0),
    (0.65, 0.3, 3.0, 0.68, 0.6, 0.0),
    (0.65, 0.3, 2.0, 0.68, 0.5, 0.0),
    (0.65, 0.3, 1.0, 0.65, 1.5, 1.0),
    (0.67, 0.4, 1.0, 0.65, 1.5, 1.0),
)
WATER = (175.0, 238.0, 238.0)
MUD = (63.0, 42.0, 20.0)

Images = UInt8[Tensor, "batch channel height width"]


def spatter(  # noqa: PLR0917  (a severity's constants come by position)
    images: Images, draws: Draws, mean: float, std: float, blur: float, threshold: float, intensity: float, mud: float
) -> Images:
    """Cover the image where a smoothed random field exceeds a threshold, with water or with mud.

    Args:
        images: images in uint8.
        draws: their random numbers.
        mean: the mean of the field.
        std: its standard deviation.
        blur: the standard deviation of its smoothing.
        threshold: where it is covered.
        intensity: the intensity of water, or the second blur of mud.
        mud: 1 for mud, 0 for water.
    """
    channels, height, width = images.shape[1:]
    x = unit(images)
    liquid = gaussian(draws.normal(height, width, mean=mean, std=std), blur)
    if mud:
        cover = gaussian((liquid > threshold).to(torch.float32), intensity)
        cover = torch.where(cover < 0.8, 0.0, cover).unsqueeze(1)
        return pixels(x * (1 - cover) + colour(MUD, channels, x) * cover)
    cover = _light(torch.where(liquid < threshold, 0.0, liquid))
    highest = cover.amax(dim=(1, 2), keepdim=True)
    # Without any liquid the original divides 0 by 0.
    cover = torch.where(highest > 0, cover / highest, 0.0).unsqueeze(1) * intensity
    return pixels(x + cover * colour(WATER, channels, x))


def _light(liquid: Float[Tensor, "batch height width"]) -> Float[Tensor, "batch height width"]:
    """Return the light on drops, from an embossed map of the distance to their edges."""
    # The original's bytes begin again at 0 above 255. The mean of the distances is truncated in integers, because it is
    # often a whole number or a hair less.
    depth = (liquid * 255 + SLACK).to(torch.int32).remainder_(256).to(torch.float32)
    near = sum_of_nine(distance(canny(depth, 50.0, 150.0), 20)).to(torch.int32)
    near = equalised(near.div(9 * ONE, rounding_mode="floor").to(torch.float32))
    p = pad_mirrored(near, 1)
    up, middle, below = p[:, :-2], p[:, 1:-1], p[:, 2:]
    embossed = (
        -2 * up[..., :-2] - up[..., 1:-1]
        - middle[..., :-2] + middle[..., 1:-1] + middle[..., 2:]
        + below[..., 1:-1] + 2 * below[..., 2:]
    )  # fmt: skip
    return depth * (sum_of_nine(embossed.clamp_(0, 255)) / 9).round_()
