"""Risk and coverage against their definition, with all orders of equal rows."""

from itertools import pairwise, permutations

import jaxtyping
import pytest
import torch

from motet import InputError
from motet.metrics import aurc, risk_coverage, selective_risk


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


def test_bad_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    good = torch.tensor([0.1, 0.2])
    for a, b in ((good[:0], good[:0]), (good, good[:1]), (good[None], good[None])):
        with pytest.raises(InputError, match="a confidence and a loss"):
            risk_coverage(a, b)
    with pytest.raises(InputError, match="NaN"):
        aurc(good, good / 0 * 0)
    for coverage in (0.0, -1.0, 1.1, float("nan")):
        with pytest.raises(InputError, match="coverage must lie"):
            selective_risk(good, good, coverage)
