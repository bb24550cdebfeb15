"""The style of all figures: colours for light and dark mode, one for each method, and matplotlib's settings.

Figures are drawn in the light colours. `motet.plots.figure.svg` then replaces each colour of `LIGHT` by a CSS variable
of the same name, so that a page can show the figure in dark mode with the colours of `DARK`.
"""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib

# The colours can be distinguished with all three colour-vision deficiencies (smallest CIELAB distance among the first
# six: 20), and have a contrast of at least 3:1 with the background. The first colour is a neutral grey, because the
# first row is usually the single network.
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

TEXT = 10.5  # points, the units of an SVG figure
_MARKERS = ("o", "s", "D", "^", "v", "P", "X", "p")
_DASHES: tuple[str | tuple[float, tuple[float, ...]], ...] = ("solid", (0.0, (5.0, 1.6)), (0.0, (1.2, 1.4)))


def series_name(index: int) -> str:
    """Return the name of row `index`'s colour in `LIGHT` and `DARK`. Colours repeat after eight rows."""
    return f"series-{index % len(_LIGHT_SERIES)}"


def color(index: int) -> str:
    """Return the colour of row `index`, which is the same in every figure.

    >>> color(0) == color(8) != color(1)
    True
    """
    return LIGHT[series_name(index)]


def marker(index: int) -> str:
    """Return the marker of row `index`. The first 64 rows have different combinations of colour and marker."""
    return _MARKERS[(index + index // len(_LIGHT_SERIES)) % len(_MARKERS)]


def dashes(index: int) -> str | tuple[float, tuple[float, ...]]:
    """Return the line style of row `index`: solid for the first eight rows, then dashed, then dotted."""
    return _DASHES[index // len(_LIGHT_SERIES) % len(_DASHES)]


_SETTINGS: Any = {  # Any, because newer versions of matplotlib type every key
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
    "font.family": ["DejaVu Sans"],  # included in matplotlib, so that the layout is the same everywhere
    "font.size": TEXT,
    "grid.color": LIGHT["rule"],
    "grid.linewidth": 0.7,
    "lines.linewidth": 1.8,
    "path.simplify": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "motet",
    "text.color": LIGHT["ink"],
    "text.parse_math": False,  # a dollar sign in a label is not mathematics
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
    """Use motet's style inside this context, and restore matplotlib's settings on exit."""
    with matplotlib.rc_context(), warnings.catch_warnings():
        # The browser renders the text, so a glyph that matplotlib's font lacks does not matter.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(_SETTINGS)
        yield
