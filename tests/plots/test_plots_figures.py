import math
from collections.abc import Iterator
from xml.etree import ElementTree

import pytest

from motet.plots import new_figure, plot_curves, plot_disagreement, plot_quality_cost, plot_reliability, style, svg

EIGHT = [f"Method {index}" for index in range(8)]


@pytest.fixture
def axes() -> Iterator:
    with style():
        yield new_figure((4.6, 3.2), (0.6, 1.4, 0.4, 0.6))[1]


def texts(ax) -> list[str]:
    root = ElementTree.fromstring(svg(ax.figure, label="a figure", prefix="t"))
    return [element.text or "" for element in root.iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("labels", "table", "shown"),
    [
        (["Single"], ([1.0], [0.1], [None]), ["Single"]),
        (["Single"], ([1], [0], [0.0]), ["Single"]),
        (["a", "b"], ([1.0, None], [0.1, 0.2]), ["a"]),
        (["a", "b"], ([math.nan, 1.0], [0.1, math.inf]), []),
        (["a", "b", "c"], ([1.0, 2.0, 3.0], [-0.1, -0.2, -0.3], [0.01, math.nan, 0.02]), ["a", "b", "c"]),
        (["a", "b"], ([1.0, 64.0], [0.01, 8.0], [0.001, 9.0]), ["a", "b"]),
        (EIGHT, ([1.0] * 8, [0.1] * 8, [0.01] * 8), EIGHT),
        ([], ([], [], []), []),
    ],
)
def test_quality_cost_names_every_method_with_both_numbers(axes, labels, table, shown) -> None:
    plot_quality_cost(axes, labels, *table, reference=0)
    drawn = texts(axes)
    assert [label for label in labels if label in drawn] == shown
    assert ("no finite values" in drawn) == (not shown)


def test_the_note_says_which_corner_is_good(axes) -> None:
    plot_quality_cost(axes, ["a", "b"], [1.0, 2.0], [0.2, 0.1])
    assert "↙ cheaper and better" in texts(axes)


def bins(counts: list[int]) -> list[dict[str, float | int | None]]:
    width = 1 / max(len(counts), 1)
    return [
        {
            "low": index * width,
            "high": (index + 1) * width,
            "count": count,
            "confidence": (index + 0.5) * width if count else None,
            "accuracy": index * width if count else None,
        }
        for index, count in enumerate(counts)
    ]


@pytest.mark.slow
@pytest.mark.parametrize("counts", [[0] * 15, [0] * 14 + [7], [3] * 15, [5], []])
def test_reliability_draws_a_marker_for_every_bin_with_predictions(axes, counts) -> None:
    plot_reliability(axes, bins(counts))
    assert {"Accuracy", "Confidence", "Share of predictions"} <= set(texts(axes))
    markers = sum(len(collection.get_offsets()) for collection in axes.collections)
    assert markers == sum(count > 0 for count in counts)


def test_reliability_markers_grow_with_their_counts(axes) -> None:
    plot_reliability(axes, bins([1, 10, 100]))
    small, middle, large = axes.collections[0].get_sizes()
    assert small < middle < large
    assert large - middle == pytest.approx(10 * (middle - small))


def test_reliability_leaves_out_bins_with_nan(axes) -> None:
    table = bins([2, 2])
    table[0]["accuracy"] = math.nan
    plot_reliability(axes, table)
    assert len(axes.collections[0].get_offsets()) == 1


def test_disagreement_annotates_percent_and_leaves_the_diagonal(axes) -> None:
    plot_disagreement(axes, [[0, 0.031, None], [0.031, 0, 0.2], [None, 0.2, 0]], largest=0.4)
    drawn = texts(axes)
    assert drawn.count("3.1") == drawn.count("20.0") == 2
    assert drawn.count("\u2013") == 5
    assert sorted(patch.get_alpha() for patch in axes.patches)[-1] == pytest.approx(0.31)


@pytest.mark.slow
@pytest.mark.parametrize("members", [0, 1, 2, 8, 16])
def test_disagreement_of_any_number_of_members(axes, members) -> None:
    plot_disagreement(axes, [[0.0] * members for _ in range(members)])
    texts(axes)
    assert len(axes.patches) == members * (members - 1)


def history(values: list[float | None]) -> list[dict[str, float | int | None]]:
    return [{"epoch": epoch + 1, "validation_nll": value} for epoch, value in enumerate(values)]


@pytest.mark.parametrize(
    ("histories", "shown"),
    [
        ([[history([0.5])]], ["Method 0"]),
        ([[history([0.5, 0.4]), history([0.6, 0.5])]], ["Method 0"]),
        ([[history([1.0, None, math.nan])], [history([None])], [[]], []], ["Method 0"]),
        ([[history([math.inf])]], []),
        ([[history([2.0, 1.0, 0.1])] * 2] * 8, EIGHT),
        ([[history([-1.0, -2.0])]], ["Method 0"]),
        ([], []),
    ],
)
def test_curves_name_every_method_with_a_value(axes, histories, shown) -> None:
    plot_curves(axes, EIGHT, histories)
    drawn = texts(axes)
    assert [label for label in EIGHT if label in drawn] == shown
    assert ("no finite values" in drawn) == (not shown)


def test_curves_show_the_mean_over_the_epochs_that_all_seeds_have(axes) -> None:
    plot_curves(axes, ["a"], [[history([1.0, 0.8, 0.6]), history([0.6, 0.4])]])
    first, second, mean = axes.lines[:3]
    assert list(first.get_ydata()) == [1.0, 0.8, 0.6]
    assert list(second.get_ydata()) == [0.6, 0.4]
    assert list(mean.get_ydata()) == pytest.approx([0.8, 0.6])


@pytest.mark.parametrize(("values", "scale"), [([3.0, 0.1], "log"), ([0.5, 0.4], "linear"), ([3.0, -0.1], "linear")])
def test_curves_are_logarithmic_where_the_range_warrants_it(axes, values, scale) -> None:
    plot_curves(axes, ["a"], [[history(values)]])
    assert axes.get_yscale() == scale


def test_quality_cost_has_a_bar_for_each_range_of_the_cost_and_room_for_it(axes) -> None:
    plot_quality_cost(axes, ["a", "b"], [1.0, 2.0], [0.2, 0.1], cost_ranges=[None, (1.5, 3.0)])
    drawn = [line.get_xydata().tolist() for line in axes.lines]
    assert drawn.count([[1.5, 0.1], [3.0, 0.1]]) == 1
    assert len(drawn) == 3  # and two points
    assert axes.get_xlim()[1] > 3.0
