from itertools import combinations

import numpy as np
import pytest
from matplotlib.text import Text

from motet.plots.figure import new_figure, wrapped
from motet.plots.labels import label_points, spread
from motet.plots.style import DARK, LIGHT, color, dashes, marker, style


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["identical", "line", "random"])
@pytest.mark.parametrize("size", [(7.6, 4.1), (4.75, 4.6)])
def test_eight_labels_do_not_cover_each_other_or_leave_the_axes(kind, size) -> None:
    random = np.random.default_rng(0)
    x = {"identical": np.full(8, 0.5), "line": np.linspace(0.1, 0.9, 8), "random": random.uniform(0.1, 0.9, 8)}[kind]
    y = {"identical": np.full(8, 0.5), "line": np.full(8, 0.5), "random": random.uniform(0.1, 0.9, 8)}[kind]
    with style():
        figure, ax = new_figure(size, (0.6, 0.1, 0.3, 0.6))
        label_points(ax, x, y, ["Mixture ensembles\n(4 templates)", *(f"Method {index}" for index in range(7))])
        figure.draw_without_rendering()
        frame = ax.get_window_extent()
        # An annotation's own extent includes its line to the point: take that of the text alone.
        boxes = [Text.get_window_extent(text) for text in ax.texts]
    assert len(boxes) == 8
    for a, b in combinations(boxes, 2):
        assert not a.shrunk(0.98, 0.98).overlaps(b.shrunk(0.98, 0.98))
    for box in boxes:
        assert frame.x0 - 1 <= box.x0
        assert box.x1 <= frame.x1 + 1
        assert frame.y0 - 1 <= box.y0
        assert box.y1 <= frame.y1 + 1


def test_spread_keeps_distances_order_and_bounds() -> None:
    placed = spread([0.0, 0.1, 0.2, 9.0], [1.0, 2.0, 1.0, 1.0], low=0.0, high=10.0)
    assert placed == pytest.approx([0.5, 2.0, 3.5, 9.0])
    assert spread([5.0], [2.0], low=0.0, high=5.0) == [4.0]
    assert spread([], [], low=0.0, high=1.0) == []


def test_spread_without_enough_room_shares_it() -> None:
    assert spread([0.0, 0.0, 0.0, 0.0], [1.0] * 4, low=0.0, high=2.0) == pytest.approx([0.25, 0.75, 1.25, 1.75])


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("MIMO", "MIMO"),
        ("Mixture ensembles (4 templates)", "Mixture ensembles\n(4 templates)"),
        ("x" * 30, "x" * 17 + "…"),
        ("", ""),
        ("two\nlines\x00", "two lines"),
    ],
)
def test_long_names_are_wrapped(text, lines) -> None:
    assert wrapped(text) == lines


def test_rows_are_told_apart_by_colour_and_marker() -> None:
    assert len({(color(index), marker(index)) for index in range(64)}) == 64
    assert len({(color(index), str(dashes(index))) for index in range(24)}) == 24


def test_every_colour_has_a_dark_one_and_enough_contrast() -> None:
    def luminance(value: str) -> float:
        channels = np.array([int(value[at : at + 2], 16) / 255 for at in (1, 3, 5)])
        return float(np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4) @ W)

    W = np.array([0.2126, 0.7152, 0.0722])
    for palette in (LIGHT, DARK):
        surface = luminance(palette["surface"])
        for name, value in palette.items():
            bright, dim = sorted([luminance(value), surface], reverse=True)
            wanted = {"surface": 1.0, "rule": 1.0, "ink": 7.0, "muted": 4.5}.get(name, 3.0)
            assert (bright + 0.05) / (dim + 0.05) >= wanted, (name, value)
    assert LIGHT.keys() == DARK.keys()
    assert len(set(LIGHT.values())) == len(LIGHT)
