"""The coverage plot: whether central 90 % intervals contain 90 % of the targets."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from motet.plots.style import LIGHT
from motet.plots.tables import numbers

_TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)


def plot_coverage(ax: Axes, levels: Sequence[Mapping[str, float | int | None]], *, color: str = LIGHT["heat"]) -> None:
    """Plot the fraction of targets inside central intervals against the level of the intervals.

    Args:
        ax: empty axes.
        levels: one mapping for each level, with the keys ``level`` and ``coverage``. None and NaN are missing values.
        color: the colour of the method.
    """
    at, share = numbers(row["level"] for row in levels), numbers(row["coverage"] for row in levels)
    shown = np.isfinite(at) & np.isfinite(share)
    ax.set(xlim=(0, 1), ylim=(0, 1), xticks=_TICKS, yticks=_TICKS)
    ax.set_title("Targets inside the interval")
    ax.set_xlabel("Level of the interval")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_formatter(FuncFormatter(_percent))
    ax.plot([0, 1], [0, 1], color=LIGHT["muted"], linewidth=0.9, zorder=1)
    ax.text(0.04, 0.955, "too wide", va="top", color=LIGHT["muted"], fontstyle="italic")
    ax.text(0.965, 0.045, "too narrow", ha="right", color=LIGHT["muted"], fontstyle="italic")
    if not shown.any():
        return
    ends = np.array([0.0, *at[shown], 1.0]), np.array([0.0, *share[shown], 1.0])
    ax.fill_between(ends[0], ends[0], ends[1], color=color, alpha=0.22, linewidth=0, zorder=2)
    ax.plot(at[shown], share[shown], color=color, linewidth=1.9, zorder=3, marker="o", markersize=3.5, clip_on=False)


def _percent(value: float, _: int | None = None) -> str:
    return f"{100 * value:g}%"
