import math

import pytest
import torch

from motet.errors import InputError
from motet.likelihoods import Categorical, Gaussian
from motet.objectives import Independent


def slow_sum(outputs_BMC: torch.Tensor, targets_BM: torch.Tensor) -> float:
    total = 0.0
    for row, members in enumerate(outputs_BMC.tolist()):
        for member, logits in enumerate(members):
            label = int(targets_BM[row, member])
            total += math.log(sum(math.exp(logit) for logit in logits)) - logits[label]
    return total / len(outputs_BMC)


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("rows", [1, 7])
def test_independent_agrees_with_a_loop(members: int, rows: int) -> None:
    outputs_BMC, targets_BM = torch.randn(rows, members, 4).double(), torch.randint(4, (rows, members))
    summed = Independent(reduction="sum")(outputs_BMC, targets_BM, Categorical())
    mean = Independent(reduction="mean")(outputs_BMC, targets_BM, Categorical())
    assert summed.shape == mean.shape == ()
    assert summed.item() == pytest.approx(slow_sum(outputs_BMC, targets_BM), rel=1e-12)
    assert mean.item() == pytest.approx(slow_sum(outputs_BMC, targets_BM) / members, rel=1e-12)


def test_under_sum_each_member_has_the_gradient_it_would_have_alone() -> None:
    outputs_BMC, targets_BM = torch.randn(5, 3, 4).double().requires_grad_(), torch.randint(4, (5, 3))
    (grads,) = torch.autograd.grad(Independent()(outputs_BMC, targets_BM, Categorical()), outputs_BMC)
    for member in range(3):
        alone = outputs_BMC.detach()[:, [member]].requires_grad_()
        loss = Independent()(alone, targets_BM[:, [member]], Categorical())
        torch.testing.assert_close(torch.autograd.grad(loss, alone)[0], grads[:, [member]])
    (means,) = torch.autograd.grad(Independent(reduction="mean")(outputs_BMC, targets_BM, Categorical()), outputs_BMC)
    torch.testing.assert_close(3 * means, grads)


def test_real_targets_may_come_with_or_without_their_axis() -> None:
    outputs_BMC, targets_BM = torch.randn(5, 3, 1).double(), torch.randn(5, 3).double()
    expected = ((outputs_BMC[..., 0] - targets_BM) ** 2 / 2 + math.log(2 * math.pi) / 2).sum() / 5
    for targets in (targets_BM, targets_BM.unsqueeze(-1)):
        torch.testing.assert_close(Independent()(outputs_BMC, targets, Gaussian()), expected)


def test_sum_is_the_default_and_another_reduction_is_refused(unchecked: None) -> None:
    assert Independent() == Independent(reduction="sum")
    with pytest.raises(InputError, match="'sum' or 'mean', but got 'none'"):
        Independent(reduction="none")  # type: ignore[arg-type]
