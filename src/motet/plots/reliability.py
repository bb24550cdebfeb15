"""The reliability diagram: accuracy against confidence."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter

from motet.plots.style import LIGHT
from motet.plots.tables import numbers

_TICKS = (0.0, 0.25, 0.5, 0.75, 1.0)


def plot_reliability(ax: Axes, bins: Sequence[Mapping[str, float | int | None]], *, color: str = LIGHT["heat"]) -> None:
    """Plot accuracy against confidence for each bin, and below it the fraction of predictions in each bin.

    Each bin is a marker. A bar connects it to the diagonal; the length of the bar is the calibration error of the bin.
    The area of the marker and the width of the bar grow with the number of predictions in the bin.

    Args:
        ax: empty axes. The chart of the fractions is placed below them and needs an additional third of their height.
        bins: one mapping for each bin, with the keys ``low`` and ``high`` (edges), ``count``, ``confidence`` (mean) and
            ``accuracy``. The last two are None or NaN if the bin is empty.
        color: the colour of the method.
    """
    count = np.nan_to_num(numbers(row["count"] for row in bins), nan=0.0)
    confidence = numbers(row["confidence"] for row in bins)
    accuracy = numbers(row["accuracy"] for row in bins)
    total = count.sum()
    ax.set(xlim=(0, 1), ylim=(0, 1), xticks=_TICKS, yticks=_TICKS)
    ax.set_title("Accuracy")
    ax.set_xticklabels([])
    ax.yaxis.set_major_formatter(FuncFormatter(_percent))
    ax.plot([0, 1], [0, 1], color=LIGHT["muted"], linewidth=0.9, zorder=1)
    ax.text(0.04, 0.955, "underconfident", va="top", color=LIGHT["muted"], fontstyle="italic")
    ax.text(0.965, 0.045, "overconfident", ha="right", color=LIGHT["muted"], fontstyle="italic")
    shown = (count > 0) & np.isfinite(confidence) & np.isfinite(accuracy)
    widths = 1.0 + 5.0 * np.sqrt(count / total) if total else count
    for at, right, width in zip(confidence[shown], accuracy[shown], widths[shown], strict=True):
        ax.plot([at, at], [at, right], color=color, linewidth=width, alpha=0.4, solid_capstyle="butt", zorder=2)
    if shown.any():
        ax.scatter(
            confidence[shown],
            accuracy[shown],
            s=14 + 190 * count[shown] / total,
            color=color,
            edgecolors=LIGHT["surface"],
            linewidths=0.9,
            zorder=3,
            clip_on=False,
        )
    strip = ax.inset_axes((0.0, -0.34, 1.0, 0.26))
    low, high = numbers(row["low"] for row in bins), numbers(row["high"] for row in bins)
    share = count / total if total else count
    strip.bar(low, share, width=0.88 * (high - low), align="edge", color=color, linewidth=0)
    strip.set(xlim=(0, 1), ylim=(0, 1), xticks=_TICKS, yticks=(0.0, 1.0))
    strip.grid(visible=False)
    strip.xaxis.set_major_formatter(FuncFormatter(_percent))
    strip.yaxis.set_major_formatter(FuncFormatter(_percent))
    strip.set_xlabel("Confidence")
    strip.text(0.02, 0.93, "Share of predictions", transform=strip.transAxes, va="top", color=LIGHT["muted"])


def _percent(value: float, _: int | None = None) -> str:
    return f"{100 * value:g}%"
