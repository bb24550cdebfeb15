"""How every figure looks: one palette for light and dark, one colour a method, thin lines, upright text.

Figures are drawn in the light colours. `motet.plots.figure.svg` then turns each colour of `LIGHT` into a CSS variable
of the same name, so that a page can redraw a figure for the dark with `DARK`.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib

# Told apart with any of the three colour-vision deficiencies (smallest CIELAB distance of the first six: 20), and at
# least 3:1 against the surface. The first is a quiet grey: the first row is usually the single network.
_LIGHT_SERIES = ("#59636e", "#2563d9", "#dd6f1e", "#0a9f6b", "#7b1a8c", "#54410a", "#b01a5a", "#1d7f9e")
_DARK_SERIES = ("#a3adb8", "#5c86f0", "#ee7a48", "#35dfa0", "#dda0f5", "#f0b429", "#f2586f", "#69a8ca")

LIGHT: dict[str, str] = {
    "surface": "#ffffff",
    "ink": "#1b2026",
    "muted": "#5b6570",
    "rule": "#dfe3e7",
    "heat": "#2e6fdb",
    **{f"series-{index}": value for index, value in enumerate(_LIGHT_SERIES)},
}
DARK: dict[str, str] = {
    "surface": "#15181c",
    "ink": "#e8ebee",
    "muted": "#a0a9b3",
    "rule": "#333a42",
    "heat": "#4e8df5",
    **{f"series-{index}": value for index, value in enumerate(_DARK_SERIES)},
}

TEXT = 10.5  # points, which are the units of an SVG figure
_MARKERS = ("o", "s", "D", "^", "v", "P", "X", "p")
_DASHES: tuple[str | tuple[float, tuple[float, ...]], ...] = ("solid", (0.0, (5.0, 1.6)), (0.0, (1.2, 1.4)))


def series_name(index: int) -> str:
    """Name of the colour of row `index` in `LIGHT` and `DARK`; after eight rows the colours start again."""
    return f"series-{index % len(_LIGHT_SERIES)}"


def color(index: int) -> str:
    """Colour of row `index`, the same in every figure.

    >>> color(0) == color(8) != color(1)
    True
    """
    return LIGHT[series_name(index)]


def marker(index: int) -> str:
    """Marker of row `index`. Colour and marker together are different for the first 64 rows."""
    return _MARKERS[(index + index // len(_LIGHT_SERIES)) % len(_MARKERS)]


def dashes(index: int) -> str | tuple[float, tuple[float, ...]]:
    """Line style of row `index`: solid for the first eight rows, then dashed, then dotted."""
    return _DASHES[index // len(_LIGHT_SERIES) % len(_DASHES)]


_SETTINGS: Any = {  # Any: newer matplotlib types every key
    "axes.axisbelow": True,
    "axes.edgecolor": LIGHT["muted"],
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.labelcolor": LIGHT["ink"],
    "axes.labelpad": 5.0,
    "axes.labelsize": TEXT,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlecolor": LIGHT["ink"],
    "axes.titlelocation": "left",
    "axes.titlepad": 10.0,
    "axes.titlesize": TEXT,
    "axes.titleweight": "normal",
    "axes.unicode_minus": True,
    "figure.dpi": 72.0,
    "figure.facecolor": "none",
    "font.family": ["DejaVu Sans"],  # ships with matplotlib, so the layout is the same everywhere
    "font.size": TEXT,
    "grid.color": LIGHT["rule"],
    "grid.linewidth": 0.7,
    "lines.linewidth": 1.8,
    "path.simplify": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "motet",
    "text.color": LIGHT["ink"],
    "text.parse_math": False,  # a dollar sign in somebody's label is a dollar sign
    "text.usetex": False,
    "xtick.color": LIGHT["muted"],
    "xtick.labelcolor": LIGHT["muted"],
    "xtick.labelsize": TEXT,
    "xtick.major.size": 3.0,
    "xtick.minor.size": 0.0,
    "ytick.color": LIGHT["muted"],
    "ytick.labelcolor": LIGHT["muted"],
    "ytick.labelsize": TEXT,
    "ytick.major.size": 0.0,
    "ytick.minor.size": 0.0,
}


@contextmanager
def style() -> Iterator[None]:
    """Draw in the house style inside this context; matplotlib's settings are what they were after it."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        # The browser has fonts for every script; matplotlib, which only lays the text out, need not.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        yield
