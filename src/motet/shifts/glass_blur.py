"""Glass blur: pixels are replaced by near ones, between two slight blurs."""

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor

from motet.shifts._pixels import pixels, unit
from motet.shifts._resample import gaussian
from motet.shifts.draws import Draws

# The blur's standard deviation, how far pixels move, how often. For the source, see `motet.shifts.noise`.
CIFAR = ((0.05, 1.0, 1.0), (0.25, 1.0, 1.0), (0.4, 1.0, 1.0), (0.25, 1.0, 2.0), (0.4, 1.0, 2.0))
IMAGENET = ((0.7, 1.0, 2.0), (0.9, 2.0, 1.0), (1.0, 2.0, 3.0), (1.1, 3.0, 2.0), (1.5, 4.0, 2.0))

Images = UInt8[Tensor, "batch channel height width"]


def glass_blur(images: Images, draws: Draws, sigma: float, reach: float, rounds: float) -> Images:
    """Blur, replace each pixel by a random pixel at an offset from -reach to reach - 1 along both axes, and blur again.

    The original intends to swap two pixels, but its tuple assignment acts on NumPy views and so copies. It goes from
    the last row and column to the first, and a copied value may itself have been copied before; both are reproduced.

    Args:
        images: images in uint8.
        draws: their random numbers.
        sigma: the standard deviation of the blur in pixels.
        reach: how far pixels move.
        rounds: how often.
    """
    reach_, height, width = int(reach), *images.shape[2:]
    x = pixels(gaussian(unit(images), sigma))
    for _ in range(int(rounds)):
        source_BN = _sources(draws, height, width, reach_)
        flat = x.flatten(2)
        x = flat.gather(2, source_BN.unsqueeze(1).expand(-1, flat.shape[1], -1)).view_as(x)
    return pixels(gaussian(unit(x), sigma))


def _sources(draws: Draws, height: int, width: int, reach: int) -> Int64[Tensor, "batch pixels"]:
    """Return the position from which each pixel gets its value in one round, in the flattened image."""
    dx, dy = (draws.integers(2 * reach, 2, height, width) - reach).unbind(1)
    row = torch.arange(height, device=dx.device).view(-1, 1)
    column = torch.arange(width, device=dx.device)
    # The margin keeps its values, and so do pixels onto which nothing is copied.
    moved = (row > reach) & (row <= height - reach) & (column > reach) & (column <= width - reach)
    here = row * width + column
    step = torch.where(moved, dy * width + dx, 0)
    if reach == 1:  # offsets are -1 and 0: the source has not been changed yet
        return (here + step).flatten(1)
    # If the source was changed before (it comes later in the image), the value is the one copied there. Entries below
    # `pixels` are values after the round, those above are values before it. Following all chains at once, twice as far
    # each time, ends after the logarithm of the longest.
    count = height * width
    source = (here + step).flatten(1)
    later = (step > 0) & moved.flatten()[source].view_as(step)
    pointer = torch.cat(
        (torch.where(later.flatten(1), source, source + count), (here.flatten() + count).expand_as(source)), 1
    )
    while True:
        further = pointer.gather(1, pointer)
        if torch.equal(further, pointer):
            return pointer[:, :count] - count
        pointer = further
