"""Lines of figures that show what was measured: gaps where nothing was, hollow markers for single seeds, error bars."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import mean, stdev
from typing import Any

from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from motet.plots.style import LIGHT, color, marker


@dataclass(frozen=True, kw_only=True)
class Point:
    """The mean over seeds at one place of the horizontal axis, and its standard error: 0 for one seed."""

    x: float
    y: float
    error: float
    seeds: int


def by_place(values: Iterable[tuple[float, float]]) -> list[Point]:
    """One point for each place, from the values of all seeds there."""
    found: dict[float, list[float]] = defaultdict(list)
    for x, y in values:
        found[x].append(y)
    return [
        Point(
            x=x, y=mean(ys), seeds=len(ys), error=stdev(ys) / len(ys) ** 0.5 if len(ys) > 1 else 0.0
        )
        for x, ys in sorted(found.items())
    ]  # fmt: skip


def of_rows(rows: Iterable[Mapping[str, Any]], key: str, places: Mapping[float, float]) -> list[Point]:
    """Points over lambda: the rows' values of `key`, at the place of each row's lambda."""
    return by_place((places[row["lam"]], row[key]) for row in rows)


def runs_of_neighbours(points: Sequence[Point], step: float | None) -> list[list[Point]]:
    """The points in runs that a line may connect: neighbours are at most `step` apart; None connects all."""
    parts: list[list[Point]] = []
    for point in points:
        if parts and (step is None or point.x - parts[-1][-1].x <= step):
            parts[-1].append(point)
        else:
            parts.append([point])
    return parts


def draw(ax: Axes, points: Sequence[Point], index: int, *, step: float | None = 1.0) -> None:
    """Draw points, filled for several seeds and hollow for one, and lines between neighbours. `step`: see above."""
    for part in runs_of_neighbours(points, step):
        ax.plot([each.x for each in part], [each.y for each in part], color=color(index), zorder=2)
    for point in points:
        if point.seeds > 1:
            ax.errorbar(point.x, point.y, yerr=point.error, color=color(index), linewidth=1.3, capsize=2.5, zorder=3)
        ax.plot(point.x, point.y, clip_on=False, zorder=4, **_face(index, hollow=point.seeds == 1))


def seed_entries(points: Iterable[Point]) -> list[Artist]:
    """What the legend says about the seeds: one entry for each kind of marker that there is."""
    counts = sorted({point.seeds for point in points})
    several = [str(count) for count in counts if count > 1]
    entries: list[Artist] = []
    if several:
        label = f"mean of {' or '.join(several)} seeds ± standard error"
        entries.append(Line2D([], [], linestyle="none", label=label, **_face(None, hollow=False)))
    if 1 in counts:
        entries.append(Line2D([], [], linestyle="none", label="one seed", **_face(None, hollow=True)))
    return entries


def line_entry(name: str, index: int) -> Artist:
    """What the legend says about a line: its colour and the shape of its markers."""
    return Line2D([], [], label=name, color=color(index), **_face(index, hollow=False, own_color=False))


def _face(index: int | None, *, hollow: bool, own_color: bool = True) -> dict[str, Any]:
    paint = LIGHT["muted"] if index is None else color(index)
    face = {
        "marker": "o" if index is None else marker(index),
        "markersize": 5.5,
        "markeredgecolor": paint,
        "markeredgewidth": 1.3,
        "markerfacecolor": LIGHT["surface"] if hollow else paint,
    }
    return face | ({"color": paint} if own_color else {})
