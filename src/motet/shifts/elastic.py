"""Elastic transform: a random affine map, then a random smooth displacement of every pixel."""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from motet.shifts._pixels import pixels, unit
from motet.shifts._resample import gaussian
from motet.shifts.draws import Draws

# Amplitude of the displacement, its smoothness, and the affine map's jitter, as fractions of the image's shorter side.
# For the source, see `motet.shifts.noise`.
CIFAR = ((0.0, 0.0, 0.08), (0.05, 0.2, 0.07), (0.08, 0.06, 0.06), (0.1, 0.04, 0.05), (0.1, 0.03, 0.03))
_SLIP = 244 / 224  # the original uses 244 pixels for images of 224
IMAGENET = (
    (2 * _SLIP, 0.7 * _SLIP, 0.1 * _SLIP),
    (2 * _SLIP, 0.08 * _SLIP, 0.2 * _SLIP),
    (0.05 * _SLIP, 0.01 * _SLIP, 0.02 * _SLIP),
    (0.07 * _SLIP, 0.01 * _SLIP, 0.02 * _SLIP),
    (0.12 * _SLIP, 0.01 * _SLIP, 0.02 * _SLIP),
)

Images = UInt8[Tensor, "batch channel height width"]


def elastic_transform(images: Images, draws: Draws, amplitude: float, smooth: float, jitter: float) -> Images:
    """Move three points around the centre, then each pixel by a smoothed random field.

    Both steps interpolate linearly and mirror the image at its border, the first at the outer pixels, the second at
    their outer edges, as OpenCV and SciPy do in the original. As in OpenCV 3 and 4, positions in the first step are
    rounded to a 32nd of a pixel.

    Args:
        images: images in uint8.
        draws: their random numbers.
        amplitude: the amplitude of the displacement.
        smooth: the standard deviation of its smoothing.
        jitter: the largest movement of the three points.
    """
    height, width = images.shape[2:]
    side = min(height, width)
    moved = draws.uniform(3, 2, low=-jitter * side, high=jitter * side)
    y, x = torch.meshgrid(
        torch.arange(height, device=images.device, dtype=torch.float32),
        torch.arange(width, device=images.device, dtype=torch.float32),
        indexing="ij",
    )
    affine_B23 = _affine(moved, height, width).mul_(1024)[..., None, None]
    from_x, from_y = (
        # OpenCV's integers: a 1024th of a pixel for both terms, half a 32nd for rounding, and the sum cut to a 32nd.
        ((affine_B23[:, i, 0] * x[:1]).round() + (affine_B23[:, i, 1] * y[:, :1] + affine_B23[:, i, 2]).round() + 16)
        .div(32, rounding_mode="floor")
        .float()
        / 32
        for i in (0, 1)
    )
    warped = _sample(unit(images), from_x, from_y, on_pixels=True)
    if amplitude:
        field = draws.uniform(2, height, width, low=-1.0, high=1.0)
        field = gaussian(field, smooth * side, mode="reflect", truncate=3.0).mul_(amplitude * side)
        warped = _sample(warped, x + field[:, 0], y + field[:, 1], on_pixels=False)
    return pixels(warped)


def _affine(moved_B32: Float[Tensor, "batch 3 2"], height: int, width: int) -> Float[Tensor, "batch 2 3"]:
    """Return the maps from positions in the new image to those in the old one, which move the three points back."""
    centre_x, centre_y, square = width // 2, height // 2, min(height, width) // 3
    points = torch.tensor(
        [[square, square], [square, -square], [-square, -square]], dtype=torch.float64, device=moved_B32.device
    )
    points += torch.tensor([centre_x, centre_y], dtype=torch.float64, device=moved_B32.device)
    target = points + moved_B32.double()
    # Relative to the middle point the map is linear: it maps two edges of the moved triangle to those of the old one.
    edges = target[:, (0, 2)] - target[:, 1:2]
    (a, b), (c, d) = edges[:, 0].unbind(1), edges[:, 1].unbind(1)
    determinant = a * d - b * c
    inverse = torch.stack((d, -b, -c, a), dim=1).view(-1, 2, 2) / determinant.view(-1, 1, 1)
    linear = (inverse @ (points[[0, 2]] - points[1])).transpose(1, 2)
    offset = points[1].view(1, 2, 1) - linear @ target[:, 1].unsqueeze(2)
    return torch.cat((linear, offset), dim=2)


def _sample(
    x_BCHW: Float[Tensor, "batch channel height width"],
    from_x: Float[Tensor, "batch height width"],
    from_y: Float[Tensor, "batch height width"],
    *,
    on_pixels: bool,
) -> Float[Tensor, "batch channel height width"]:
    """Return the image's values at positions in pixels; mirrored at its outer pixels, or at their edges."""
    height, width = x_BCHW.shape[2:]
    if on_pixels:
        grid = torch.stack((from_x * (2 / (width - 1)) - 1, from_y * (2 / (height - 1)) - 1), dim=-1)
    else:
        grid = torch.stack(((2 * from_x + 1) / width - 1, (2 * from_y + 1) / height - 1), dim=-1)
    sampled: Tensor = F.grid_sample(x_BCHW, grid, padding_mode="reflection", align_corners=on_pixels)
    return sampled
