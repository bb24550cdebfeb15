"""The plot of quality against cost, with one labelled point for each method."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator
from matplotlib.transforms import Bbox, BboxBase
from numpy.typing import NDArray

from motet.plots.figure import wrapped
from motet.plots.labels import label_points
from motet.plots.style import LIGHT, color, marker
from motet.plots.tables import numbers, wants_log


def plot_quality_cost(
    ax: Axes,
    labels: Sequence[str],
    cost: Sequence[float | int | None],
    score: Sequence[float | int | None],
    errors: Sequence[float | int | None] | None = None,
    *,
    cost_ranges: Sequence[tuple[float, float] | None] | None = None,
    reference: int | None = None,
    cost_label: str = "Latency (\u00d7 one network)",
    score_label: str = "Negative log-likelihood",
) -> None:
    """Plot `score` against `cost`. Lower is better for both.

    Args:
        ax: empty axes in their final position, which determines where labels fit.
        labels: the name of each method. The position in the list determines the colour and the marker.
        cost: the cost of each method. Methods without a cost (None or NaN) are left out.
        score: the score of each method. Methods without a score (None or NaN) are left out.
        errors: the standard error of each score, drawn as a vertical bar. Unknown errors are None or NaN.
        cost_ranges: the quartiles of each cost, drawn as a horizontal bar. Unknown ones are None.
        reference: the index of the reference method, which is marked with a dotted cross.
        cost_label: the label of the horizontal axis.
        score_label: the label of the vertical axis.
    """
    x, y = numbers(cost), numbers(score)
    spread = numbers(errors) if errors is not None else np.full(len(y), np.nan)
    shown: list[int] = np.flatnonzero(np.isfinite(x) & np.isfinite(y)).tolist()
    ax.set_xlabel(cost_label)
    ax.set_title(score_label)
    if not shown:
        ax.set(xticks=[], yticks=[])
        ax.text(0.5, 0.5, "no finite values", transform=ax.transAxes, ha="center", color=LIGHT["muted"])
        return
    bars = np.nan_to_num(spread, nan=0.0)
    ranges = {row: cost_ranges[row] for row in shown} if cost_ranges is not None else {}
    ends_of_ranges = [end for found in ranges.values() for end in found or ()]
    _scale(ax, np.concatenate([x[shown], ends_of_ranges]), np.concatenate([(y - bars)[shown], (y + bars)[shown]]))
    obstacles: list[BboxBase] = []
    if reference is not None and reference in shown:
        ax.axvline(x[reference], color=LIGHT["muted"], linewidth=0.8, linestyle=(0, (1, 2.5)), zorder=1)
        ax.axhline(y[reference], color=LIGHT["muted"], linewidth=0.8, linestyle=(0, (1, 2.5)), zorder=1)
        at, frame = ax.transData.transform((x[reference], y[reference])), ax.get_window_extent()
        obstacles.append(Bbox.from_extents(at[0] - 1, frame.y0, at[0] + 1, frame.y1))
        obstacles.append(Bbox.from_extents(frame.x0, at[1] - 1, frame.x1, at[1] + 1))
    for row in shown:
        if np.isfinite(spread[row]) and spread[row] > 0:
            low, high = y[row] - spread[row], y[row] + spread[row]
            ax.plot([x[row]] * 2, [low, high], color=color(row), linewidth=1.2, zorder=2, solid_capstyle="butt")
            ends = ax.transData.transform([(x[row], low), (x[row], high)])
            obstacles.append(Bbox.from_extents(ends[0, 0] - 2, ends[0, 1], ends[1, 0] + 2, ends[1, 1]))
        if found := ranges.get(row):
            ax.plot(found, [y[row]] * 2, color=color(row), linewidth=1.2, zorder=2, solid_capstyle="butt")
            ends = ax.transData.transform([(end, y[row]) for end in found])
            obstacles.append(Bbox.from_extents(ends[0, 0], ends[0, 1] - 2, ends[1, 0], ends[1, 1] + 2))
        ax.plot(
            x[row],
            y[row],
            marker(row),
            color=color(row),
            markersize=8,
            markeredgecolor=LIGHT["surface"],
            markeredgewidth=1.0,
            zorder=3,
        )
    note = ax.text(
        0.015,
        0.035,
        "↙ cheaper and better",
        transform=ax.transAxes,
        color=LIGHT["muted"],
        fontstyle="italic",
        bbox={"facecolor": LIGHT["surface"], "edgecolor": "none", "pad": 1.5},
    )
    obstacles.append(note.get_window_extent())
    label_points(ax, x[shown], y[shown], [wrapped(labels[row], 22) for row in shown], obstacles=obstacles)


def _scale(ax: Axes, x: NDArray[np.float64], y: NDArray[np.float64]) -> None:
    """Set scales and limits, with space at the sides for labels and below for the note."""
    if wants_log(x):
        ax.set_xscale("log", base=2)
        ax.xaxis.set_major_locator(LogLocator(base=2, numticks=8))
        ax.set_xlim(*np.exp(_padded(np.log(x), 0.12, 0.18)))
    else:
        ax.set_xlim(*_padded(x, 0.12, 0.18))
        ax.xaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}\u00d7"))
    if wants_log(y, 12.0):
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.set_ylim(*np.exp(_padded(np.log(y), 0.24, 0.12)))
    else:
        ax.set_ylim(*_padded(y, 0.24, 0.12))
        ax.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]))
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_minor_locator(NullLocator())
        axis.set_minor_formatter(NullFormatter())


def _padded(values: NDArray[np.float64], below: float, above: float) -> tuple[float, float]:
    low, high = float(values.min()), float(values.max())
    span = high - low
    if span < 1e-3 * max(abs(low), 1e-6):  # one point, or all points at the same position
        span = 0.5 * max(abs(low), 1.0 if low == 0 else abs(low))
        low, high = low - 0.3 * span, high + 0.3 * span
    return low - below * span, high + above * span
