"""Risk and coverage against their definition, with all orders of equal rows."""

from itertools import pairwise, permutations

import pytest
import torch

from motet import InputError
from motet.metrics import COVERAGES, aurc, risk_coverage, selective_risk


def slow(confidence: list[float], loss: list[float]) -> list[float]:
    """The mean over all orders that go by confidence."""
    rows = range(len(loss))
    curves = [
        [sum(loss[row] for row in order[: k + 1]) / (k + 1) for k in rows]
        for order in permutations(rows)
        if all(confidence[a] >= confidence[b] for a, b in pairwise(order))
    ]
    return [sum(curve[k] for curve in curves) / len(curves) for k in rows]


@pytest.mark.parametrize("levels", [2, 3, 50])
def test_against_all_orders(levels: int) -> None:
    for _ in range(5):
        confidence, loss = torch.randint(levels, (6,)) / levels, torch.randint(2, (6,)).float()
        curve = risk_coverage(confidence, loss)
        assert curve.risk.tolist() == pytest.approx(slow(confidence.tolist(), loss.tolist()), abs=1e-12)
        assert curve.coverage.tolist() == pytest.approx([k / 6 for k in range(1, 7)])
        assert curve.area == pytest.approx(float(curve.risk.mean()))
        assert float(aurc(confidence, loss.bool())) == pytest.approx(curve.area)
        order = torch.randperm(6)
        assert float(aurc(confidence[order], loss[order])) == pytest.approx(curve.area, abs=1e-12)


def test_by_hand() -> None:
    confidence, wrong = torch.tensor([0.9, 0.6, 0.8, 0.7]), torch.tensor([False, True, False, True])
    assert risk_coverage(confidence, wrong).risk.tolist() == pytest.approx([0, 0, 1 / 3, 1 / 2])
    assert float(aurc(confidence, wrong)) == pytest.approx((1 / 3 + 1 / 2) / 4)
    assert [float(selective_risk(confidence, wrong, c)) for c in (0.25, 0.5, 0.51, 0.75, 1.0)] == pytest.approx(
        [0, 0, 1 / 3, 1 / 3, 1 / 2]
    )


def test_chance_confidence_has_the_error_as_its_area() -> None:
    wrong = torch.rand(1000) < 0.3
    assert float(aurc(torch.ones(1000), wrong)) == pytest.approx(float(wrong.double().mean()))


def test_bad_input(unchecked: None) -> None:
    good = torch.tensor([0.1, 0.2])
    for a, b in ((good[:0], good[:0]), (good, good[:1]), (good[None], good[None])):
        with pytest.raises(InputError, match="a confidence and a loss"):
            risk_coverage(a, b)
    with pytest.raises(InputError, match="NaN"):
        aurc(good, good / 0 * 0)
    for coverage in (0.0, -1.0, 1.1, float("nan")):
        with pytest.raises(InputError, match="coverage must lie"):
            selective_risk(good, good, coverage)


@pytest.mark.parametrize("rows", [1, 3, 7, 50, 100, 250, 1000])
def test_the_curve_on_its_grid_against_a_sort(rows: int) -> None:
    """Without ties: whole percentages of the rows, in whole numbers, and the errors among the first of a plain sort."""
    confidence, wrong = torch.randperm(rows) / rows, torch.rand(rows) < 0.4
    in_order = [bool(error) for _, error in sorted(zip(confidence.tolist(), wrong.tolist(), strict=True), reverse=True)]
    wanted = []
    for percent in range(1, 101):
        taken = -(-percent * rows // 100)
        wanted.append(sum(in_order[:taken]) / taken)
    assert tuple(percent / 100 for percent in range(1, 101)) == COVERAGES
    assert risk_coverage(confidence, wrong).at().tolist() == pytest.approx(wanted, abs=1e-12)
    assert risk_coverage(confidence, wrong).at(COVERAGES[::-1]).tolist() == pytest.approx(wanted[::-1], abs=1e-12)


def test_the_curve_on_its_grid_with_ties() -> None:
    confidence, wrong = torch.randint(3, (7,)) / 3, torch.randint(2, (7,)).float()
    whole = slow(confidence.tolist(), wrong.tolist())
    wanted = [whole[-(-percent * 7 // 100) - 1] for percent in range(1, 101)]
    assert risk_coverage(confidence, wrong).at().tolist() == pytest.approx(wanted, abs=1e-12)


def test_the_curve_on_its_grid_by_hand() -> None:
    """Five rows, the surest wrong, two of equal confidence of which one is wrong."""
    confidence, wrong = torch.tensor([0.5, 0.9, 0.7, 0.7, 0.6]), torch.tensor([0, 1, 0, 1, 0])
    curve = risk_coverage(confidence, wrong)
    assert curve.at([0.01, 0.2, 0.21, 0.4, 0.6, 0.8, 0.95, 1.0]).tolist() == pytest.approx(
        [1, 1, 1.5 / 2, 1.5 / 2, 2 / 3, 2 / 4, 2 / 5, 2 / 5]
    )
    assert curve.at([]).tolist() == []
    with pytest.raises(InputError, match="coverage must lie"):
        curve.at([0.5, 0.0])
