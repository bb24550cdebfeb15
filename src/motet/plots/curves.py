"""Curves, such as training curves: one line for each method."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, NullLocator
from matplotlib.transforms import IdentityTransform
from numpy.typing import NDArray

from motet.plots.figure import wrapped
from motet.plots.labels import spread
from motet.plots.style import LIGHT, TEXT, color, dashes, marker
from motet.plots.tables import number, wants_log

_MARKED = 8
"""Lines through at most this many points have markers, which show where something was measured."""

History = Sequence[Mapping[str, float | int | None]]


def plot_curves(
    ax: Axes,
    labels: Sequence[str],
    histories: Sequence[Sequence[History]],
    *,
    value: str = "validation_nll",
    value_label: str = "Validation negative log-likelihood",
    at: str = "epoch",
    at_label: str = "Epoch",
    log: bool | None = None,
) -> None:
    """Draw the mean over seeds as a thick line and each seed as a thin line, with the method's name at the line's end.

    Args:
        ax: empty axes, with a free margin of `motet.plots.figure.right_margin` inches on their right for the names.
        labels: the name of each method. The position in the list determines the colour and the line style.
        histories: for each method a list of seeds; each seed is a list of epochs, and each epoch a mapping with the
            keys `at` and `value`. Missing values are None or NaN. Methods without any value are left out.
        value: the key of the values on the vertical axis.
        value_label: the title, which describes the vertical axis.
        at: the key of the values on the horizontal axis, which are integers.
        at_label: the label of the horizontal axis.
        log: whether the vertical axis is logarithmic. If None, it is logarithmic for positive values that span more
            than a factor of 8.
    """
    ends: list[tuple[int, float, float]] = []
    drawn: list[NDArray[np.float64]] = []
    for index, runs in enumerate(histories):
        curves = [curve for curve in (_curve(run, at, value) for run in runs) if len(curve)]
        if curves:
            mean = _mean(curves)
            _draw(ax, index, curves, mean)
            ends.append((index, float(mean[-1, 0]), float(mean[-1, 1])))
            drawn += [*curves, mean]
    ax.set_title(value_label)
    ax.set_xlabel(at_label)
    if not ends:
        ax.set(xticks=[], yticks=[])
        ax.text(0.5, 0.5, "no finite values", transform=ax.transAxes, ha="center", color=LIGHT["muted"])
        return
    values = np.concatenate([curve[:, 1] for curve in drawn])
    first = min(1.0, *(float(curve[0, 0]) for curve in drawn))
    longest = max(1.0, *(float(curve[-1, 0]) for curve in drawn))
    _scale(ax, values, first, longest, log=wants_log(values) if log is None else log)
    _name_ends(ax, labels, ends)


def _draw(ax: Axes, index: int, curves: Sequence[NDArray[np.float64]], mean: NDArray[np.float64]) -> None:
    """Draw the mean of a method's seeds, and each seed if there are several."""
    for curve in curves if len(curves) > 1 else []:
        ax.plot(curve[:, 0], curve[:, 1], color=color(index), linewidth=0.7, alpha=0.4, zorder=2)
    ax.plot(
        mean[:, 0],
        mean[:, 1],
        color=color(index),
        linestyle=dashes(index),
        linewidth=1.9,
        zorder=3,
        marker=marker(index) if len(mean) <= _MARKED else None,
        markersize=4.5,
    )


def _curve(run: History, at: str, value: str) -> NDArray[np.float64]:
    """Return rows of `at` and `value`, without rows in which one of the two is missing."""
    rows = [(number(row.get(at)), number(row.get(value))) for row in run]
    table = np.array(rows, dtype=np.float64).reshape(-1, 2)
    return table[np.isfinite(table).all(axis=1)]


def _mean(curves: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the mean over seeds at the epochs that all seeds have. If there are none, use all epochs."""
    by_epoch: dict[float, list[float]] = {}
    for curve in curves:
        for epoch, item in curve:
            by_epoch.setdefault(float(epoch), []).append(float(item))
    shared = [epoch for epoch, items in by_epoch.items() if len(items) == len(curves)]
    return np.array([(epoch, float(np.mean(by_epoch[epoch]))) for epoch in sorted(shared or by_epoch)])


def _scale(ax: Axes, values: NDArray[np.float64], first: float, longest: float, *, log: bool) -> None:
    ax.set_xlim(min(first, longest - 1.0), longest if longest > first else longest + 1.0)
    ax.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, steps=[1, 2, 5, 10]))
    if log:
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if values.max() < 300 * values.min() else (1.0,)))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        ax.yaxis.set_minor_locator(NullLocator())
        ax.yaxis.set_minor_formatter(NullFormatter())
    else:
        ax.yaxis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 2.5, 5, 10]))
    ax.margins(y=0.06)


def _name_ends(ax: Axes, labels: Sequence[str], ends: Sequence[tuple[int, float, float]]) -> None:
    """Write each name to the right of the axes, as close as possible to the end of its line without overlaps."""
    ax.autoscale_view(scalex=False)
    frame = ax.get_window_extent()
    unit = ax.figure.dpi / 72.0
    wanted = [float(ax.transData.transform((x, y))[1]) for _, x, y in ends]
    names = [wrapped(labels[index]) for index, _, _ in ends]
    room = [(1.2 * TEXT * (name.count("\n") + 1) + 3.0) * unit for name in names]
    placed = spread(wanted, room, frame.y0 - 12 * unit, frame.y1 + 4 * unit)
    for (index, x, y), name, height in zip(ends, names, placed, strict=True):
        offset = (frame.width / unit + 26, (height - frame.y0) / unit)
        line = {"arrowstyle": "-", "color": color(index), "linewidth": 1.0, "shrinkA": 0, "shrinkB": 0}
        ax.annotate("", xy=(x, y), xytext=offset, textcoords="axes points", arrowprops=line, annotation_clip=False)
        at = (offset[0] * unit + frame.x0, height)
        ax.plot(*at, marker(index), color=color(index), markersize=5, transform=IdentityTransform(), clip_on=False)
        ax.annotate(
            name,
            xy=(offset[0] + 7, offset[1]),
            xycoords="axes points",
            va="center",
            linespacing=1.1,
            annotation_clip=False,
        )
