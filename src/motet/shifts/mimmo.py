"""The five shifts of MIMMO (Ferianc and Rodrigues 2022, supplement): geometry and light, at five levels each.

The paper has names and constants, but no code. Decisions: pixels that are not covered after a movement are black;
values between pixels are interpolated linearly; contrast is changed relative to the mean of the image's grey, as in
Pillow and torchvision. The fifth shift's name is garbled in the paper ("amble", .9 to .5): **it is interpreted as a
scale factor**, which is a guess. Rotation's first level, 0 degrees, changes nothing.
"""

import math

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from motet.shifts._pixels import grey, pixels, unit
from motet.shifts.draws import Draws

TRANSLATION = ((0.1,), (0.2,), (0.3,), (0.4,), (0.5,))
ROTATION = ((0.0,), (45.0,), (90.0,), (135.0,), (180.0,))
BRIGHTNESS = ((0.9,), (0.7,), (0.5,), (0.3,), (0.1,))
CONTRAST = ((0.9,), (0.7,), (0.5,), (0.3,), (0.1,))
SCALE = ((0.9,), (0.8,), (0.7,), (0.6,), (0.5,))

Images = UInt8[Tensor, "batch channel height width"]


def translation(images: Images, draws: Draws, share: float) -> Images:
    """Move each image to the left, right, top or bottom at random, by whole pixels.

    Args:
        images: images in uint8.
        draws: their random numbers.
        share: the distance as a fraction of the side.
    """
    height, width = images.shape[2:]
    direction_B = draws.integers(4)
    out = torch.zeros_like(images)
    right, down = math.floor(share * width + 0.5), math.floor(share * height + 0.5)
    for number, (dx, dy) in enumerate(((right, 0), (-right, 0), (0, down), (0, -down))):
        moved = torch.zeros_like(images)
        to_y, to_x = slice(max(dy, 0), height + min(dy, 0)), slice(max(dx, 0), width + min(dx, 0))
        from_y, from_x = slice(max(-dy, 0), height + min(-dy, 0)), slice(max(-dx, 0), width + min(-dx, 0))
        moved[:, :, to_y, to_x] = images[:, :, from_y, from_x]
        out = torch.where((direction_B == number).view(-1, 1, 1, 1), moved, out)
    return out


def rotation(images: Images, draws: Draws, degrees: float) -> Images:
    """Rotate about the centre, anticlockwise.

    Args:
        images: images in uint8.
        draws: not used.
        degrees: the angle.
    """
    turn = math.radians(degrees)
    return pixels(_about_centre(unit(images), math.cos(turn), math.sin(turn)))


def scale(images: Images, draws: Draws, factor: float) -> Images:
    """Shrink about the centre; pixels that are no longer covered are black.

    Args:
        images: images in uint8.
        draws: not used.
        factor: the new side length divided by the old one.
    """
    return pixels(_about_centre(unit(images), 1 / factor, 0.0))


def brightness(images: Images, draws: Draws, factor: float) -> Images:
    """Multiply every value by `factor`.

    Args:
        images: images in uint8.
        draws: not used.
        factor: below 1 for darker images.
    """
    return pixels(unit(images) * factor)


def contrast(images: Images, draws: Draws, factor: float) -> Images:
    """Multiply the differences from the image's mean grey by `factor`.

    Args:
        images: images in uint8.
        draws: not used.
        factor: below 1 for less contrast.
    """
    x = unit(images)
    mean = grey(x).mean(dim=(1, 2, 3), keepdim=True)
    return pixels((x - mean) * factor + mean)


def _about_centre(
    x_BCHW: Float[Tensor, "batch channel height width"], cosine: float, sine: float
) -> Float[Tensor, "batch channel height width"]:
    """Return each pixel's value from the position that ``(cosine, sine)`` rotates and scales it to, about the
    centre.
    """
    height, width = x_BCHW.shape[2:]
    y = torch.arange(height, device=x_BCHW.device, dtype=torch.float64) - (height - 1) / 2
    x = torch.arange(width, device=x_BCHW.device, dtype=torch.float64) - (width - 1) / 2
    from_x = cosine * x - sine * y.unsqueeze(1)
    from_y = sine * x + cosine * y.unsqueeze(1)
    grid = torch.stack((from_x * (2 / (width - 1)), from_y * (2 / (height - 1))), dim=-1).float()
    sampled: Tensor = F.grid_sample(x_BCHW, grid.expand(len(x_BCHW), -1, -1, -1), align_corners=True)
    return sampled
