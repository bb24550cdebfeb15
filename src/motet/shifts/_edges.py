"""Image processing for spatter: edges, distances to them, histogram equalisation.

All on integers, in batches, in float32, which represents them exactly.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from motet.shifts._resample import pad_mirrored

_TANGENT = 13573 / 32768  # in units of 22.5 degrees, as rounded by OpenCV
# OpenCV's lengths of a step to a neighbour, diagonally and as a knight in chess: 1, 1.4 and 2.1969. Builds of OpenCV
# round them differently; the wheels on the package index act as if they were exact.
ONE, _DIAGONAL, _KNIGHT = 10_000, 14_000, 21_969


def canny(x_BHW: Float[Tensor, "batch height width"], low: float, high: float) -> Bool[Tensor, "batch height width"]:
    """Canny's edges as in OpenCV: Sobel gradients, magnitudes as sums of absolute values, thinned and linked.

    Args:
        x_BHW: integers from 0 to 255.
        low: gradients above it belong to an edge if they are connected with one above `high`.
        high: gradients above it are edges.
    """
    p = F.pad(x_BHW.unsqueeze(1), (1, 1, 1, 1), mode="replicate").squeeze(1)
    across = p[:, :, 2:] - p[:, :, :-2]
    gx = across[:, :-2] + 2 * across[:, 1:-1] + across[:, 2:]
    down = p[:, 2:] - p[:, :-2]
    gy = down[:, :, :-2] + 2 * down[:, :, 1:-1] + down[:, :, 2:]
    size = gx.abs() + gy.abs()
    around = F.pad(size, (1, 1, 1, 1))
    height, width = size.shape[1:]

    def near(dy: int, dx: int) -> Tensor:
        return around[:, 1 + dy : 1 + dy + height, 1 + dx : 1 + dx + width]

    ax, ay = gx.abs(), gy.abs()
    flat, steep = ay < ax * _TANGENT, ay > ax * (_TANGENT + 2)
    rising = (gx < 0) ^ (gy < 0)
    thin = torch.where(
        flat,
        (size > near(0, -1)) & (size >= near(0, 1)),
        torch.where(
            steep,
            (size > near(-1, 0)) & (size >= near(1, 0)),
            torch.where(
                rising,
                (size > near(-1, 1)) & (size > near(1, -1)),
                (size > near(-1, -1)) & (size > near(1, 1)),
            ),
        ),
    )
    candidate = thin & (size > low)
    edge = candidate & (size > high)
    while True:
        grown = _widened(_widened(edge, 1), 2) & candidate
        if torch.equal(grown, edge):
            return edge
        edge = grown


def _widened(edge_BHW: Bool[Tensor, "batch height width"], axis: int) -> Bool[Tensor, "batch height width"]:
    """Widen the edges by one pixel to both sides along `axis`."""
    size = edge_BHW.shape[axis]
    wide = edge_BHW.clone()
    wide.narrow(axis, 1, size - 1).logical_or_(edge_BHW.narrow(axis, 0, size - 1))
    wide.narrow(axis, 0, size - 1).logical_or_(edge_BHW.narrow(axis, 1, size - 1))
    return wide


def distance(edge_BHW: Bool[Tensor, "batch height width"], most: int) -> Float[Tensor, "batch height width"]:
    """Return each pixel's distance to the nearest edge pixel in units of 1 / `ONE`, at most `most` pixels.

    This is OpenCV's ``distanceTransform`` with a mask of 5 pixels: the length of the shortest path of steps to a
    neighbour (1), diagonally (1.4) and as a knight in chess (2.1969). It is within 2 % of the Euclidean distance.
    """
    height, width = edge_BHW.shape[1:]
    # Along columns first, from the last edge above and the first below; then along rows: the distance is the minimum
    # over the columns, because a path to a nearer edge of a column is never longer.
    row = torch.arange(height, device=edge_BHW.device, dtype=torch.float32).view(-1, 1)
    above = row - torch.where(edge_BHW, row, -float(most)).cummax(dim=1).values
    mirrored_row = torch.where(edge_BHW, height - 1 - row, -float(most)).flip(1)
    below = (row - mirrored_row.cummax(dim=1).values).flip(1)
    down = torch.minimum(above, below).clamp_(max=most).to(torch.int64)
    lengths = torch.tensor([[_path(across, along) for along in range(most + 1)] for across in range(most)])
    lengths = lengths.to(down.device, torch.float32)
    least = lengths[0][down]
    for step in range(1, min(most, width)):
        reached = lengths[step][down]
        least[:, :, step:] = torch.minimum(least[:, :, step:], reached[:, :, :-step])
        least[:, :, :-step] = torch.minimum(least[:, :, :-step], reached[:, :, step:])
    return least.clamp_(max=most * ONE)


def _path(across: int, along: int) -> int:
    """Return the length of the shortest path to a pixel that is so many columns and rows away."""
    short, long = sorted((across, along))
    if long >= 2 * short:
        return short * _KNIGHT + (long - 2 * short) * ONE
    return (long - short) * _KNIGHT + (2 * short - long) * _DIAGONAL


def sum_of_nine(x_BHW: Float[Tensor, "batch height width"]) -> Float[Tensor, "batch height width"]:
    """Return the sum over 3x3 pixels; the image is mirrored at its border."""
    p = pad_mirrored(x_BHW, 1)
    across = p[:, :, :-2] + p[:, :, 1:-1] + p[:, :, 2:]
    return across[:, :-2] + across[:, 1:-1] + across[:, 2:]


def equalised(x_BHW: Float[Tensor, "batch height width"]) -> Float[Tensor, "batch height width"]:
    """Histogram equalisation as in OpenCV: the lowest value becomes 0, the highest 255; a constant image does
    not change.
    """
    level = x_BHW.flatten(1).to(torch.int64)
    histogram = torch.zeros(len(x_BHW), 256, device=x_BHW.device).scatter_add_(
        1, level, torch.ones_like(x_BHW).flatten(1)
    )
    present = histogram > 0
    lowest = present.to(torch.uint8).argmax(dim=1, keepdim=True)
    at_lowest = histogram.gather(1, lowest)
    above = level.shape[1] - at_lowest
    table = ((histogram.cumsum(1) - at_lowest) * (255 / above.clamp_min(1))).round_().clamp_(min=0)
    table = torch.where(above > 0, table, torch.arange(256.0, device=x_BHW.device))
    return table.gather(1, level).view_as(x_BHW)
