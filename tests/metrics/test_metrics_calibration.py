import math
from fractions import Fraction

import pytest
import torch
from torch import Tensor

from motet.errors import InputError
from motet.metrics import ece, reliability


def two_classes(confidence_B: Tensor) -> Tensor:
    return torch.stack([confidence_B, 1 - confidence_B], dim=-1)


def confident(confidence: float, dtype: torch.dtype = torch.float32) -> Tensor:
    """One row whose largest probability is exactly `confidence`, spread thinly over the other classes."""
    others = 99
    probs_BC = torch.full((1, others + 1), (1 - confidence) / others, dtype=dtype)
    probs_BC[0, 0] = confidence
    return probs_BC


def slow_bins(probs_BC: Tensor, y_B: Tensor, bins: int) -> list[tuple[int, float, float]]:
    """Count, mean confidence and accuracy of every bin, row by row; the last bin takes what is left."""
    held: list[list[tuple[float, float]]] = [[] for _ in range(bins)]
    for probs, y in zip(probs_BC.tolist(), y_B.tolist(), strict=True):
        confidence = max(probs)
        for b in range(bins):
            if b == bins - 1 or confidence < (b + 1) / bins:
                held[b].append((confidence, float(probs.index(confidence) == y)))
                break
    mean = lambda values: sum(values) / len(values) if values else math.nan  # noqa: E731
    return [(len(rows), mean([c for c, _ in rows]), mean([a for _, a in rows])) for rows in held]


@pytest.mark.parametrize("bins", [1, 2, 10, 15])
def test_bins_agree_with_a_loop(bins: int, logits_BMC: Tensor, y_B: Tensor) -> None:
    probs_BC = logits_BMC.softmax(-1).mean(1)
    diagram = reliability(probs_BC, y_B, bins)
    expected = slow_bins(probs_BC, y_B, bins)
    assert diagram.count.tolist() == [count for count, _, _ in expected]
    for b, (_, confidence, accuracy) in enumerate(expected):
        assert diagram.confidence[b].item() == pytest.approx(confidence, nan_ok=True)
        assert diagram.accuracy[b].item() == pytest.approx(accuracy, nan_ok=True)
    gaps = [count / 40 * abs(accuracy - confidence) for count, confidence, accuracy in expected if count]
    assert ece(probs_BC, y_B, bins).item() == pytest.approx(sum(gaps), abs=1e-6)


def test_edges_share_the_interval_evenly() -> None:
    diagram = reliability(torch.tensor([[0.7, 0.3]]), torch.tensor([0]), bins=4)
    assert diagram.low.tolist() == [0, 0.25, 0.5, 0.75]
    assert diagram.high.tolist() == [0.25, 0.5, 0.75, 1]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("k", range(1, 15))
def test_a_confidence_on_an_edge_belongs_to_the_bin_above(k: int, dtype: torch.dtype) -> None:
    edge = torch.tensor(float(Fraction(k, 15)), dtype=torch.float64).to(dtype)
    below = torch.nextafter(edge.float(), torch.tensor(0.0)) if dtype == torch.float32 else edge - edge / 128
    y_B = torch.tensor([0])
    assert reliability(confident(edge.item(), dtype), y_B).count.nonzero().item() == k
    assert reliability(confident(below.item(), dtype), y_B).count.nonzero().item() == k - 1


def test_full_confidence_belongs_to_the_last_bin() -> None:
    diagram = reliability(torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]]), torch.tensor([0, 0, 0]))
    assert diagram.count.tolist() == [0] * 14 + [3]
    assert diagram.confidence[-1].item() == 1
    assert diagram.accuracy[-1].item() == pytest.approx(2 / 3)


def test_a_rounding_error_above_1_stays_in_the_last_bin() -> None:
    above = torch.nextafter(torch.tensor(1.0), torch.tensor(2.0))
    assert reliability(two_classes(above[None]), torch.tensor([0])).count[-1].item() == 1


def test_empty_bins_hold_nan_and_weigh_nothing() -> None:
    probs_BC = two_classes(torch.tensor([0.55, 0.55, 0.95, 0.95]))
    diagram = reliability(probs_BC, torch.tensor([0, 1, 0, 1]), bins=10)
    assert diagram.count.tolist() == [0, 0, 0, 0, 0, 2, 0, 0, 0, 2]
    empty = diagram.count == 0
    assert diagram.confidence.isnan().equal(empty)
    assert diagram.accuracy.isnan().equal(empty)
    assert ece(probs_BC, torch.tensor([0, 1, 0, 1]), bins=10).item() == pytest.approx(0.5 * 0.05 + 0.5 * 0.45)


def test_gaps_within_a_bin_cancel_but_not_between_bins() -> None:
    probs_BC = two_classes(torch.tensor([0.75, 0.75, 0.75, 0.75]))
    assert ece(probs_BC, torch.tensor([0, 0, 0, 1])).item() == pytest.approx(0, abs=1e-7)
    assert ece(two_classes(torch.tensor([0.6, 0.9])), torch.tensor([1, 0])).item() == pytest.approx(0.35)


def test_one_class_and_one_example_are_calibrated() -> None:
    assert ece(torch.ones(1, 1), torch.tensor([0])).item() == 0


def test_results_keep_the_precision_of_the_probabilities() -> None:
    for dtype, wide in [(torch.float64, torch.float64), (torch.float32, torch.float32), (torch.float16, torch.float32)]:
        diagram = reliability(confident(0.5, dtype), torch.tensor([0]))
        assert {diagram.low.dtype, diagram.high.dtype, diagram.confidence.dtype, diagram.accuracy.dtype} == {wide}
        assert diagram.count.dtype == torch.int64


@pytest.mark.parametrize("metric", [reliability, ece])
def test_bad_input(metric) -> None:
    one = torch.tensor([0])
    with pytest.raises(InputError, match="at least 1 bin, but got bins=0"):
        metric(torch.tensor([[0.5, 0.5]]), one, bins=0)
    with pytest.raises(InputError, match="at least one row"):
        metric(torch.zeros(0, 2), torch.zeros(0, dtype=torch.long))
    with pytest.raises(InputError, match="NaN in 1 of 1 rows"):
        metric(torch.tensor([[0.5, math.nan]]), one)
    with pytest.raises(InputError, match="not logits"):
        metric(torch.tensor([[3.0, -3.0]]), one)
    with pytest.raises(InputError, match=r"lie in 0\.\.1"):
        metric(torch.tensor([[0.5, 0.5]]), one + 2)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("metric", [reliability, ece])
def test_labels_of_another_shape(metric) -> None:
    with pytest.raises(InputError, match="2 rows need class labels"):
        metric(torch.full((2, 2), 0.5), torch.tensor([0]))
