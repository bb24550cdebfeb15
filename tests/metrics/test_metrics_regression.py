import math

import pytest
import torch
from sklearn.metrics import mean_squared_error
from torch import Tensor

from motet.errors import InputError
from motet.metrics import member_rmse, rmse


def slow_rmse(mean_BC: Tensor, y_BC: Tensor) -> float:
    total, count = 0.0, 0
    for means, targets in zip(mean_BC.tolist(), y_BC.tolist(), strict=True):
        for mean, target in zip(means, targets, strict=True):
            total, count = total + (mean - target) ** 2, count + 1
    return math.sqrt(total / count)


@pytest.mark.parametrize("outputs", [1, 3])
def test_rmse_agrees_with_a_loop_and_with_scikit_learn(outputs: int) -> None:
    mean_BC, y_BC = torch.randn(20, outputs), torch.randn(20, outputs)
    assert rmse(mean_BC, y_BC).item() == pytest.approx(slow_rmse(mean_BC, y_BC), rel=1e-5)
    assert rmse(mean_BC, y_BC).item() == pytest.approx(math.sqrt(mean_squared_error(y_BC, mean_BC)), rel=1e-5)


def test_one_target_may_come_without_its_axis() -> None:
    mean_BC, y_B = torch.randn(20, 1), torch.randn(20)
    assert rmse(mean_BC, y_B).equal(rmse(mean_BC, y_B.unsqueeze(1)))


def test_members_are_scored_one_by_one() -> None:
    mean_BMC, y_BC = torch.randn(20, 4, 3), torch.randn(20, 3)
    expected = [slow_rmse(mean_BMC[:, member], y_BC) for member in range(4)]
    assert member_rmse(mean_BMC, y_BC).tolist() == pytest.approx(expected, rel=1e-5)


def test_one_example_and_no_error() -> None:
    assert rmse(torch.tensor([[3.0]]), torch.tensor([1.0])).item() == 2
    assert rmse(torch.tensor([[3.0]]), torch.tensor([3.0])).item() == 0


def test_half_precision_is_summed_in_single() -> None:
    mean_BC = torch.full((1000, 1), 300.0, dtype=torch.float16)
    assert rmse(mean_BC, torch.zeros(1000)).item() == 300  # 300 squared is beyond float16


def test_bad_input() -> None:
    with pytest.raises(InputError, match="at least one row"):
        rmse(torch.zeros(0, 1), torch.zeros(0))
    with pytest.raises(InputError, match="NaN in 1 of 2 rows"):
        rmse(torch.tensor([[0.0], [math.nan]]), torch.zeros(2))
    with pytest.raises(InputError, match="targets must be finite"):
        rmse(torch.zeros(2, 1), torch.tensor([0.0, math.inf]))
    with pytest.raises(InputError, match=r"shape \(2, 3\), but got targets of shape \(2,\)"):
        rmse(torch.zeros(2, 3), torch.zeros(2))
    with pytest.raises(InputError, match=r"shape \(2, 1\) or \(2,\)"):
        rmse(torch.zeros(2, 1), torch.zeros(2, 2))


@pytest.mark.usefixtures("unchecked")
def test_bad_targets() -> None:
    with pytest.raises(InputError, match="must be floating-point"):
        rmse(torch.zeros(2, 1), torch.tensor([0, 1]))
    with pytest.raises(InputError, match=r"got targets of shape \(3,\)"):
        rmse(torch.zeros(2, 1), torch.zeros(3))
