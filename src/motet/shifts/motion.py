"""Motion blur, also used for snow."""

import math

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from motet.shifts._pixels import levels
from motet.shifts.draws import Draws

# Radius and standard deviation in pixels. For the source, see `motet.shifts.noise`.
CIFAR = ((6.0, 1.0), (6.0, 1.5), (6.0, 2.0), (8.0, 2.0), (9.0, 2.5))
IMAGENET = ((10.0, 3.0), (15.0, 5.0), (15.0, 8.0), (15.0, 12.0), (20.0, 15.0))

Images = UInt8[Tensor, "batch channel height width"]


def motion_blur(images: Images, draws: Draws, radius: float, sigma: float) -> Images:
    """Blur along a line, at a separate angle for each image, from -45 to 45 degrees to the horizontal.

    The original calls ImageMagick, which rounds while all other code truncates; see `along`.

    Args:
        images: images in uint8.
        draws: their random numbers.
        radius: half the line's length in pixels.
        sigma: the standard deviation of the weights in pixels.
    """
    angle_B = draws.uniform(low=-45.0, high=45.0)
    return levels(along(images.to(torch.float32), angle_B, radius, sigma).add_(0.5))


def along(
    x_BCHW: Float[Tensor, "batch channel height width"], angle_B: Float[Tensor, "batch"], radius: float, sigma: float
) -> Float[Tensor, "batch channel height width"]:
    """Return a mean over a line that starts at each pixel, with the weights of half a Gaussian.

    This is ImageMagick's MotionBlurImage: ``2 ceil(radius) + 1`` points at a distance of one pixel, each rounded to the
    nearest pixel; the border pixels are repeated.

    Args:
        x_BCHW: images.
        angle_B: the direction of each line, in degrees, from the x-axis (to the right) towards the y-axis (down).
        radius: half the line's length in pixels.
        sigma: the Gaussian's standard deviation in pixels.
    """
    weights = [math.exp(-(step**2) / (2 * sigma**2)) for step in range(2 * math.ceil(radius) + 1)]
    total = sum(weights)
    weights = [weight / total for weight in weights if weight > 1e-7 * total]  # the other terms change no pixel
    height, width = x_BCHW.shape[2:]
    steps = torch.arange(len(weights), device=x_BCHW.device, dtype=torch.float64)
    radians_B1 = torch.deg2rad(angle_B.double()).unsqueeze(1)
    right_BS = torch.ceil(steps * radians_B1.cos() - 0.5).to(torch.int64)
    down_BS = torch.ceil(steps * radians_B1.sin() - 0.5).to(torch.int64)
    row_BSH = (torch.arange(height, device=x_BCHW.device) + down_BS.unsqueeze(2)).clamp_(0, height - 1) * width
    column_BSW = (torch.arange(width, device=x_BCHW.device) + right_BS.unsqueeze(2)).clamp_(0, width - 1)
    flat = x_BCHW.flatten(2)
    out = torch.zeros_like(flat)
    for step, weight in enumerate(weights):
        at = (row_BSH[:, step, :, None] + column_BSW[:, step, None, :]).flatten(1)
        out.add_(flat.gather(2, at.unsqueeze(1).expand_as(flat)), alpha=weight)
    return out.view_as(x_BCHW)
