"""Figures show what was measured: no lines over gaps, hollow single seeds, one panel for each training length."""

import sys
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from matplotlib.colors import to_hex

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tools"))

import draw_joint_training
import figure_points
from figure_points import Point, by_place, runs_of_neighbours, seed_entries

from motet._internal.files import read_json
from motet.plots import new_figure, style


def point(x: float, seeds: int = 1) -> Point:
    return Point(x=x, y=1.0, error=0.0, seeds=seeds)


def test_points_are_means_over_the_seeds_that_there_are() -> None:
    one, two = by_place([(1.0, 5.0), (0.0, 1.0), (1.0, 7.0)])
    assert (one.x, one.y, one.error, one.seeds) == (0.0, 1.0, 0.0, 1)
    assert (two.x, two.y, two.error, two.seeds) == (1.0, 6.0, pytest.approx(1.0), 2)
    assert by_place([]) == []


def test_only_neighbours_are_connected() -> None:
    points = [point(x) for x in (0, 3, 4, 5, 7)]
    assert [[each.x for each in part] for part in runs_of_neighbours(points, 1.0)] == [[0], [3, 4, 5], [7]]
    assert len(runs_of_neighbours(points, None)) == 1
    assert runs_of_neighbours([], 1.0) == []


def test_single_seeds_are_hollow_and_several_have_error_bars() -> None:
    with style():
        ax = new_figure((4.0, 3.0), (0.5, 0.5, 0.5, 0.5))[1]
        figure_points.draw(ax, [point(0), point(1, seeds=2)], 1)
    marked = [line for line in ax.lines if line.get_marker() not in ("None", "_", None)]
    faces = {line.get_xdata()[0]: to_hex(line.get_markerfacecolor()) for line in marked if len(line.get_xdata()) == 1}
    assert faces[0] == "#ffffff" != faces[1]
    assert len(ax.containers) == 1


def test_the_legend_says_what_filled_and_hollow_mean() -> None:
    def labels(*seeds: int) -> list[Any]:
        return [entry.get_label() for entry in seed_entries([point(0, seeds=each) for each in seeds])]

    assert labels(1, 2, 2) == ["mean of 2 seeds ± standard error", "one seed"]
    assert labels(3, 2) == ["mean of 2 or 3 seeds ± standard error"]
    assert labels(1) == ["one seed"]


def test_the_error_has_a_panel_for_each_number_of_epochs_and_no_line_over_a_gap() -> None:
    record = read_json(draw_joint_training.RECORD)
    with style():
        figure = draw_joint_training.error(record)
    assert [ax.get_title(loc="left") for ax in figure.axes] == ["20 epochs", "100 epochs"]
    for ax in figure.axes:
        for line in ax.lines:
            x = sorted(set(line.get_xdata()))
            if x != [0, 1]:  # of the one network's horizontal line
                assert all(later - earlier <= 1 for earlier, later in pairwise(x))


@pytest.mark.slow
def test_every_committed_figure_is_drawn_from_the_record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["draw_joint_training.py", "--out", str(tmp_path)])
    draw_joint_training.main()
    drawn = sorted(path.name for path in tmp_path.iterdir())
    assert drawn == sorted(path.name for path in draw_joint_training.FOLDER.iterdir())
