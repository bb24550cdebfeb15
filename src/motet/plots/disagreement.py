"""The disagreement matrix: how often each pair of members predicts different classes."""

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from motet.plots.style import LIGHT, TEXT
from motet.plots.tables import numbers

_STRONGEST = 0.62  # opacity of the largest value; text on it is readable in light and dark mode
_MOST_WITH_TEXT = 10  # matrices of more members have no numbers in their cells


def plot_disagreement(
    ax: Axes, matrix: Sequence[Sequence[float | int | None]], *, largest: float | None = None
) -> None:
    """Draw a matrix of disagreement rates as shaded cells with percentages.

    Args:
        ax: empty square axes.
        matrix: M rows of M rates between 0 and 1. Missing values are None or NaN. The diagonal is not drawn.
        largest: the rate with the darkest shade. Pass the same value for panels that are compared. If None, the largest
            rate in the matrix is used.
    """
    values = np.stack([numbers(row) for row in matrix]) if len(matrix) else np.zeros((0, 0))
    members = len(values)
    off = values[~np.eye(members, dtype=bool) & np.isfinite(values)] if members else np.zeros(0)
    top = largest if largest is not None else float(off.max(initial=0.0))
    for row in range(members):
        for column in range(members):
            value = float(values[row, column])
            if row == column or not math.isfinite(value):
                ax.text(column, row, "\u2013", ha="center", va="center", color=LIGHT["muted"])
            else:
                shade = _STRONGEST * min(1.0, max(0.0, value / top)) if top > 0 else 0.0
                _cell(ax, row, column, value, shade=shade, members=members)
    _frame(ax, members)


def _cell(ax: Axes, row: int, column: int, value: float, *, shade: float, members: int) -> None:
    """Draw a shaded square with its rate in percent. In large matrices the number is left out."""
    square = Rectangle((column - 0.47, row - 0.47), 0.94, 0.94, facecolor=LIGHT["heat"], alpha=shade, linewidth=0)
    ax.add_patch(square)
    if members <= _MOST_WITH_TEXT:
        text = f"{100 * value:.{1 if members <= 4 else 0}f}"
        ax.text(column, row, text, ha="center", va="center", fontsize=TEXT, color=LIGHT["ink"])


def _frame(ax: Axes, members: int) -> None:
    """Set the limits and number the members; hide grid lines and spines."""
    ticks = range(members) if members <= _MOST_WITH_TEXT else range(0, members, 5)
    ax.set(xlim=(-0.5, max(members, 1) - 0.5), ylim=(max(members, 1) - 0.5, -0.5), aspect="equal")
    ax.set_xticks(list(ticks), [str(tick + 1) for tick in ticks])
    ax.set_yticks(list(ticks), [str(tick + 1) for tick in ticks])
    ax.tick_params(length=0, pad=2)
    ax.xaxis.tick_top()
    ax.grid(visible=False)
    for side in ax.spines.values():
        side.set_visible(False)
