"""Place labels near points or lines, without overlaps."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.transforms import Bbox, BboxBase
from numpy.typing import NDArray

from motet.plots.style import LIGHT

_RADII = (9.0, 17.0, 28.0, 41.0, 56.0, 73.0)  # distances between a point and its label, in typographic points
_ANGLES = (0, 180, 35, -35, 145, -145, 90, -90)  # in order of preference: to the side, then above and below


def label_points(
    ax: Axes,
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    labels: Sequence[str],
    *,
    obstacles: Sequence[BboxBase] = (),
) -> None:
    """Write each label near its point, with as little overlap with points, obstacles and other labels as possible.

    The limits of the axes and their position in the figure must be final. A label that is not next to its point is
    connected to it by a thin line.

    Args:
        ax: the axes.
        x: horizontal positions of the points, finite, in data coordinates.
        y: vertical positions of the points, finite, in data coordinates.
        labels: the label of each point.
        obstacles: boxes that labels should not cover, in display coordinates.
    """
    if len(labels) == 0:
        return
    unit = ax.figure.dpi / 72.0
    points = ax.transData.transform(np.column_stack([x, y]))
    taken: list[BboxBase] = [*obstacles, *(_square(px, py, 5.0 * unit) for px, py in points)]
    frame = ax.get_window_extent()
    for index in _crowded_first(points):
        px, py = points[index]
        text = ax.annotate(labels[index], (0, 0), annotation_clip=False)
        size = text.get_window_extent()
        text.remove()
        best = min(
            (
                (_cost(box, taken, frame) + 0.15 * radius * unit * size.height + rank * 0.02, radius, box)
                for radius in _RADII
                for rank, box in enumerate(_candidates(px, py, size.width, size.height, radius * unit))
            ),
            key=lambda candidate: candidate[0],
        )
        _, radius, box = best
        taken.append(box)
        ax.annotate(
            labels[index],
            xy=(float(x[index]), float(y[index])),
            xytext=(((box.x0 + box.x1) / 2 - px) / unit, ((box.y0 + box.y1) / 2 - py) / unit),
            textcoords="offset points",
            ha="center",
            va="center",
            annotation_clip=False,
            zorder=5,
            linespacing=1.1,
            arrowprops=None
            if radius == _RADII[0]
            else {"arrowstyle": "-", "color": LIGHT["muted"], "linewidth": 0.6, "shrinkA": 1, "shrinkB": 5},
        )


def spread(positions: Sequence[float], gaps: Sequence[float], low: float, high: float) -> list[float]:
    """Return positions without overlaps, moved as little as possible from the preferred positions.

    If there is not enough space between the limits, items overlap evenly.

    Args:
        positions: the preferred positions.
        gaps: the space that each item needs, centred on its position.
        low: the lower limit.
        high: the upper limit.

    >>> spread([0.0, 0.0], [1.0, 1.0], low=-5.0, high=5.0)
    [-0.5, 0.5]
    """
    if not positions:
        return []
    squeeze = min(1.0, (high - low) / sum(gaps))
    order = sorted(range(len(positions)), key=lambda index: positions[index])
    # Blocks of adjacent items, each at the mean of its items' preferred positions (pool adjacent violators).
    blocks: list[tuple[list[int], float, float]] = []  # indices of the items, centre, size
    for index in order:
        block = ([index], positions[index], gaps[index] * squeeze)
        while True:
            block = (block[0], _clamp(block[1], low + block[2] / 2, high - block[2] / 2), block[2])
            if not blocks or blocks[-1][1] + blocks[-1][2] / 2 <= block[1] - block[2] / 2 + 1e-9:
                break
            before = blocks.pop()
            members = before[0] + block[0]
            block = (members, math.fsum(positions[i] for i in members) / len(members), before[2] + block[2])
        blocks.append(block)
    placed = [0.0] * len(positions)
    for members, centre, size in blocks:
        edge = centre - size / 2
        for index in members:
            placed[index] = edge + gaps[index] * squeeze / 2
            edge += gaps[index] * squeeze
    return placed


def _clamp(value: float, low: float, high: float) -> float:
    return max(low, min(high, value))


def _crowded_first(points: NDArray[np.float64]) -> list[int]:
    """Return the indices of the points, starting with the points that have the most neighbours."""
    distances = np.hypot(*(points[:, None] - points[None]).transpose(2, 0, 1))
    near = (distances < 60).sum(axis=1)
    return sorted(range(len(points)), key=lambda index: -int(near[index]))


def _square(x: float, y: float, half: float) -> Bbox:
    return Bbox.from_extents(x - half, y - half, x + half, y + half)


def _candidates(px: float, py: float, width: float, height: float, radius: float) -> list[Bbox]:
    """Return boxes at the distance `radius` from a point, in order of preference."""
    boxes = []
    for angle in _ANGLES:
        dx, dy = math.cos(math.radians(angle)), math.sin(math.radians(angle))
        # The nearest edge of the label, not its centre, is at the distance `radius`. Labels directly above and below a
        # point are centred.
        cx = px + dx * radius + (0.0 if abs(dx) < 1e-6 else math.copysign(width / 2, dx))
        cy = py + dy * radius + (0.0 if abs(dy) < 1e-6 else math.copysign(height / 2, dy))
        boxes.append(Bbox.from_bounds(cx - width / 2, cy - height / 2, width, height))
    return boxes


def _cost(box: Bbox, taken: Sequence[BboxBase], frame: BboxBase) -> float:
    """Return a weighted sum of the areas of `box` that are outside the axes or overlap with other boxes."""
    outside = float(box.width * box.height) - _overlap(box, frame)
    return 8.0 * outside + 4.0 * math.fsum(_overlap(box, other) for other in taken)


def _overlap(a: BboxBase, b: BboxBase) -> float:
    width = min(a.x1, b.x1) - max(a.x0, b.x0)
    height = min(a.y1, b.y1) - max(a.y0, b.y0)
    return float(max(0.0, width) * max(0.0, height))
