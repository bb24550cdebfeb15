import math

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss
from torch import Tensor

from motet.errors import InputError
from motet.metrics import accuracy, brier, member_accuracy, member_nll, nll

ON_PROBS = [accuracy, brier]
ON_LOGITS = [nll, member_accuracy, member_nll]


def softmax(logits: list[float]) -> list[float]:
    largest = max(logits)
    weights = [math.exp(logit - largest) for logit in logits]
    return [weight / sum(weights) for weight in weights]


def mixture(logits_BMC: Tensor) -> np.ndarray:
    members = [[softmax(member) for member in row] for row in logits_BMC.double().tolist()]
    return np.array(members).mean(axis=1)


def slow_brier(probs_BC: np.ndarray, y_B: list[int]) -> float:
    total = 0.0
    for probs, y in zip(probs_BC, y_B, strict=True):
        for label, prob in enumerate(probs):
            total += (prob - (1.0 if label == y else 0.0)) ** 2
    return total / len(y_B)


def test_accuracy_agrees_with_scikit_learn(logits_BMC: Tensor, y_B: Tensor) -> None:
    probs_BC = logits_BMC.softmax(-1).mean(1)
    expected = accuracy_score(y_B.numpy(), probs_BC.numpy().argmax(axis=1))
    assert accuracy(probs_BC, y_B).item() == pytest.approx(expected)


def test_nll_is_the_log_loss_of_the_mean_probabilities(logits_BMC: Tensor, y_B: Tensor) -> None:
    expected = log_loss(y_B.numpy(), mixture(logits_BMC), labels=range(5))
    assert nll(logits_BMC, y_B).item() == pytest.approx(expected, rel=1e-5)


def test_brier_agrees_with_a_loop(logits_BMC: Tensor, y_B: Tensor) -> None:
    probs_BC = logits_BMC.softmax(-1).mean(1)
    assert brier(probs_BC, y_B).item() == pytest.approx(slow_brier(mixture(logits_BMC), y_B.tolist()), rel=1e-5)


def test_members_are_scored_one_by_one(logits_BMC: Tensor, y_B: Tensor) -> None:
    accuracies, nlls = member_accuracy(logits_BMC, y_B), member_nll(logits_BMC, y_B)
    assert accuracies.shape == nlls.shape == (4,)
    for member in range(4):
        alone = logits_BMC[:, member]
        assert accuracies[member].item() == pytest.approx(accuracy_score(y_B.numpy(), alone.numpy().argmax(axis=1)))
        expected = log_loss(y_B.numpy(), mixture(alone.unsqueeze(1)), labels=range(5))
        assert nlls[member].item() == pytest.approx(expected, rel=1e-5)


def test_the_mixture_is_never_worse_than_its_members_on_average(logits_BMC: Tensor, y_B: Tensor) -> None:
    assert nll(logits_BMC, y_B) <= member_nll(logits_BMC, y_B).mean()


def test_one_member_and_identical_members_have_the_nll_of_one(logits_BMC: Tensor, y_B: Tensor) -> None:
    one = logits_BMC[:, :1]
    torch.testing.assert_close(nll(one, y_B), member_nll(one, y_B)[0])
    torch.testing.assert_close(nll(one.expand(-1, 3, -1), y_B), nll(one, y_B))


def test_extreme_logits_have_an_exact_nll() -> None:
    logits_BMC = torch.tensor([[[1e4, 0.0], [1e4, 0.0]]])
    assert nll(logits_BMC, torch.tensor([1])).item() == 1e4
    assert nll(logits_BMC, torch.tensor([0])).item() == 0
    assert member_nll(logits_BMC, torch.tensor([1])).tolist() == [1e4, 1e4]
    # One member sure of the truth and one sure of its opposite: half the probability is left, so log 2.
    split_BMC = torch.tensor([[[1e4, 0.0], [0.0, 1e4]]])
    assert nll(split_BMC, torch.tensor([1])).item() == pytest.approx(math.log(2))


def test_one_class_is_always_right() -> None:
    logits_BMC, y_B = torch.randn(3, 2, 1), torch.zeros(3, dtype=torch.long)
    assert nll(logits_BMC, y_B).item() == 0
    assert brier(logits_BMC.softmax(-1).mean(1), y_B).item() == 0
    assert member_accuracy(logits_BMC, y_B).tolist() == [1, 1]


def test_one_example() -> None:
    probs_BC = torch.tensor([[0.2, 0.5, 0.3]])
    assert accuracy(probs_BC, torch.tensor([1])).item() == 1
    assert accuracy(probs_BC, torch.tensor([2])).item() == 0
    assert brier(probs_BC, torch.tensor([0])).item() == pytest.approx(0.64 + 0.25 + 0.09)


def test_brier_lies_between_0_and_2() -> None:
    probs_BC = torch.tensor([[1.0, 0.0]])
    assert brier(probs_BC, torch.tensor([0])).item() == 0
    assert brier(probs_BC, torch.tensor([1])).item() == 2


def test_a_class_may_be_ruled_out() -> None:
    logits_BMC = torch.tensor([[[0.0, -torch.inf], [0.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]])
    assert member_nll(logits_BMC, torch.tensor([1, 1])).tolist() == [math.inf, pytest.approx(math.log(2))]
    assert nll(logits_BMC[:1], torch.tensor([1])).item() == pytest.approx(math.log(4))
    assert nll(logits_BMC[:1, :1], torch.tensor([1])).item() == math.inf


@pytest.mark.parametrize("dtype", [torch.int8, torch.uint8, torch.int32])
def test_labels_of_any_integer_type(dtype: torch.dtype, logits_BMC: Tensor, y_B: Tensor) -> None:
    probs_BC = logits_BMC.softmax(-1).mean(1)
    for metric in ON_LOGITS:
        torch.testing.assert_close(metric(logits_BMC, y_B.to(dtype)), metric(logits_BMC, y_B))
    for metric in ON_PROBS:
        torch.testing.assert_close(metric(probs_BC, y_B.to(dtype)), metric(probs_BC, y_B))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_summed_in_single(dtype: torch.dtype, logits_BMC: Tensor, y_B: Tensor) -> None:
    half_BMC = logits_BMC.to(dtype)
    torch.testing.assert_close(nll(half_BMC, y_B), nll(half_BMC.float(), y_B))
    probs_BC = half_BMC.softmax(-1).mean(1)
    torch.testing.assert_close(brier(probs_BC, y_B), brier(probs_BC.float(), y_B))


@pytest.mark.parametrize("metric", ON_LOGITS)
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_broken_logits_are_counted(metric, value: float, logits_BMC: Tensor, y_B: Tensor) -> None:
    logits_BMC[3, 0, 2] = logits_BMC[3, 1, 1] = logits_BMC[8, 1, 0] = value
    with pytest.raises(InputError, match="in 2 of 40 rows"):
        metric(logits_BMC, y_B)


@pytest.mark.parametrize("metric", ON_LOGITS)
def test_a_row_needs_a_class_that_is_possible(metric, logits_BMC: Tensor, y_B: Tensor) -> None:
    logits_BMC[5, 2] = -torch.inf
    with pytest.raises(InputError, match="in 1 of 40 rows"):
        metric(logits_BMC, y_B)


@pytest.mark.parametrize("metric", ON_PROBS)
def test_nan_probabilities_are_counted(metric) -> None:
    with pytest.raises(InputError, match="NaN in 1 of 2 rows"):
        metric(torch.tensor([[0.5, 0.5], [0.5, math.nan]]), torch.tensor([0, 0]))


@pytest.mark.parametrize("metric", ON_LOGITS)
@pytest.mark.parametrize("shape", [(0, 2, 3), (2, 0, 3), (2, 2, 0)])
def test_empty_logits(metric, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match="at least one row, one member and one output"):
        metric(torch.zeros(shape), torch.zeros(shape[0], dtype=torch.long))


@pytest.mark.parametrize("metric", ON_PROBS)
def test_zero_rows(metric) -> None:
    with pytest.raises(InputError, match="at least one row"):
        metric(torch.zeros(0, 3), torch.zeros(0, dtype=torch.long))


def test_logits_are_not_probabilities() -> None:
    with pytest.raises(InputError, match="sum to 1"):
        brier(torch.tensor([[2.0, -1.0]]), torch.tensor([0]))
    with pytest.raises(InputError, match=r"differs from 1 by 0\.5"):
        brier(torch.tensor([[0.2, 0.3]]), torch.tensor([0]))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("metric", ON_PROBS + ON_LOGITS)
@pytest.mark.parametrize("shape", [(39,), (1,), (40, 1), (40, 4), ()])
def test_labels_of_another_shape(metric, shape: tuple[int, ...], logits_BMC: Tensor) -> None:
    outputs = logits_BMC if metric in ON_LOGITS else logits_BMC.softmax(-1).mean(1)
    with pytest.raises(InputError, match=r"40 rows need class labels of shape \(40,\)"):
        metric(outputs, torch.zeros(shape, dtype=torch.long))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("metric", ON_PROBS + ON_LOGITS)
def test_labels_that_are_no_classes(metric, logits_BMC: Tensor, y_B: Tensor) -> None:
    outputs = logits_BMC if metric in ON_LOGITS else logits_BMC.softmax(-1).mean(1)
    with pytest.raises(InputError, match=r"must lie in 0\.\.4"):
        metric(outputs, y_B + 5)
    with pytest.raises(InputError, match="must be integers"):
        metric(outputs, y_B.float())
