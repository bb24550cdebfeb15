"""Snow: two layers of flakes over a paler image."""

import torch
from jaxtyping import UInt8
from torch import Tensor

from motet.shifts._pixels import grey, pixels, unit
from motet.shifts._resample import separable, zoom_matrix
from motet.shifts.draws import Draws
from motet.shifts.motion import along

# Mean and standard deviation of the flakes, zoom, threshold, radius and standard deviation of the blur, weight of the
# image. For the source, see `motet.shifts.noise`.
CIFAR = (
    (0.1, 0.2, 1.0, 0.6, 8.0, 3.0, 0.95),
    (0.1, 0.2, 1.0, 0.5, 10.0, 4.0, 0.9),
    (0.15, 0.3, 1.75, 0.55, 10.0, 4.0, 0.9),
    (0.25, 0.3, 2.25, 0.6, 12.0, 6.0, 0.85),
    (0.3, 0.3, 1.25, 0.65, 14.0, 12.0, 0.8),
)
IMAGENET = (
    (0.1, 0.3, 3.0, 0.5, 10.0, 4.0, 0.8),
    (0.2, 0.3, 2.0, 0.5, 12.0, 4.0, 0.7),
    (0.55, 0.3, 4.0, 0.9, 12.0, 8.0, 0.7),
    (0.55, 0.3, 4.5, 0.85, 12.0, 8.0, 0.65),
    (0.55, 0.3, 2.5, 0.85, 12.0, 12.0, 0.55),
)

Images = UInt8[Tensor, "batch channel height width"]


def snow(  # noqa: PLR0917  (a severity's constants come by position)
    images: Images,
    draws: Draws,
    mean: float,
    std: float,
    zoom: float,
    threshold: float,
    radius: float,
    sigma: float,
    share: float,
) -> Images:
    """Whiten the image, and add a layer of flakes and the same layer turned upside down.

    Flakes are normal noise, magnified, set to 0 below `threshold`, and blurred along a line at a separate angle for
    each image, from -135 to -45 degrees. The layer is converted to bytes twice, as in the original.

    Args:
        images: images in uint8.
        draws: their random numbers.
        mean: the mean of the noise.
        std: the standard deviation of the noise.
        zoom: the magnification.
        threshold: noise below it is set to 0.
        radius: the radius of the blur in pixels.
        sigma: the standard deviation of the blur in pixels.
        share: the weight of the image.
    """
    height, width = images.shape[2:]
    layer = draws.normal(1, height, width, mean=mean, std=std)
    layer = separable(layer, zoom_matrix(height, zoom), zoom_matrix(width, zoom))
    flakes = pixels(torch.where(layer < threshold, 0.0, layer)).to(torch.float32)
    blurred = along(flakes, draws.uniform(low=-135.0, high=-45.0), radius, sigma)
    fallen = blurred.add_(0.5).floor_().div_(255)
    x = unit(images)
    pale = torch.maximum(x, grey(x) * 1.5 + 0.5)
    return pixels(x * share + pale * (1 - share) + fallen + fallen.flip(2, 3))
