"""Batch norms of the members' own against as many ordinary ones."""

import copy
import pickle
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from motet.layers import Layout, MemberBatchNorm

M = 3


@dataclass(frozen=True)
class Case:
    make: Callable[[], nn.Module]
    shape: tuple[int, ...]


CASES = {
    "1d": Case(lambda: nn.BatchNorm1d(4), (4,)),
    "1d, steps": Case(lambda: nn.BatchNorm1d(4, eps=0.1), (4, 5)),
    "2d": Case(lambda: nn.BatchNorm2d(4, momentum=0.3), (4, 3, 3)),
    "2d, all sizes M": Case(lambda: nn.BatchNorm2d(M), (M, M, M)),
    "3d": Case(lambda: nn.BatchNorm3d(4), (4, 2, 2, 2)),
    "mean over all batches": Case(lambda: nn.BatchNorm2d(4, momentum=None), (4, 3, 3)),
    "not affine": Case(lambda: nn.BatchNorm2d(4, affine=False), (4, 3, 3)),
    "no running statistics": Case(lambda: nn.BatchNorm2d(4, track_running_stats=False), (4, 3, 3)),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("shared", [True, False])
def test_it_equals_separate_batch_norms(case: Case, shared: bool) -> None:
    norm = case.make().double()
    if norm.affine:
        nn.init.normal_(norm.weight)
        nn.init.normal_(norm.bias)
    own = MemberBatchNorm(norm, M, layout=Layout() if shared else None)
    alone = [copy.deepcopy(norm) for _ in range(M)]
    if norm.affine:
        for m, each in enumerate(alone):
            for name in ("weight", "bias"):
                value = torch.randn(norm.num_features, dtype=torch.float64)
                with torch.no_grad():
                    getattr(own, name)[m] = value
                    getattr(each, name).copy_(value)
    for training in (True, True, False):
        own.train(training)
        x = 2 * torch.randn(5 if shared else 5 * M, *case.shape, dtype=torch.float64) + 1
        x.requires_grad_()
        parts = [x] * M if shared else list(x.chunk(M))
        expected = torch.cat([each.train(training)(part) for each, part in zip(alone, parts, strict=True)])
        out = own(x)
        torch.testing.assert_close(out, expected, rtol=1e-11, atol=1e-11)
        direction = torch.randn_like(out)
        grads = torch.autograd.grad(out, [x, *own.parameters()], direction)
        theirs = list(zip(*(list(each.parameters()) for each in alone), strict=True))
        wanted = torch.autograd.grad(expected, [x, *(value for values in theirs for value in values)], direction)
        torch.testing.assert_close(grads[0], wanted[0], rtol=1e-9, atol=1e-11)
        for index, grad in enumerate(grads[1:]):
            torch.testing.assert_close(grad, torch.stack(wanted[1 + index * M : 1 + (index + 1) * M]))
        for m, each in enumerate(alone):
            for name, value in own.member(m).state_dict().items():
                torch.testing.assert_close(value, each.state_dict()[name], rtol=1e-12, atol=1e-12)
            assert type(own.member(m)) is type(norm)
            assert own.member(m).training == training
            torch.testing.assert_close(copy.deepcopy(each)(parts[m]), own.member(m)(parts[m]))


def test_every_member_starts_with_the_norms_state() -> None:
    norm = nn.BatchNorm2d(4)
    norm(torch.randn(5, 4, 2, 2))
    norm.weight.requires_grad_(False)
    own = MemberBatchNorm(norm.eval(), M)
    assert not own.training
    assert {name: value.requires_grad for name, value in own.named_parameters()} == {"weight": False, "bias": True}
    for m in range(M):
        for name, value in own.member(m).state_dict().items():
            assert torch.equal(value, norm.state_dict()[name])
    assert own.is_norm
    assert own.undecayed_parameters == own.member_parameters == {"weight", "bias"}
    assert "4, members=3, eps=1e-05" in repr(own)


def test_one_value_a_member_is_not_enough_to_train_on() -> None:
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        MemberBatchNorm(nn.BatchNorm1d(4), M)(torch.randn(M, 4))


def test_half_precision_rows() -> None:
    norm = nn.BatchNorm2d(4)
    norm(5 + torch.randn(64, 4, 2, 2))
    own, x = MemberBatchNorm(norm.eval(), M), (5 + torch.randn(6, 4, 2, 2)).bfloat16()
    assert own(x).dtype == torch.bfloat16
    torch.testing.assert_close(own(x), norm(x))
    torch.testing.assert_close(own.bfloat16()(x), norm.bfloat16()(x), rtol=0.05, atol=0.05)


def test_it_survives_copies_and_state() -> None:
    own, other = MemberBatchNorm(nn.BatchNorm1d(4), M), MemberBatchNorm(nn.BatchNorm1d(4), M)
    own(torch.randn(9, 4))
    other.load_state_dict(own.state_dict())
    x = torch.randn(6, 4)
    for twin in (other, copy.deepcopy(own), pickle.loads(pickle.dumps(own))):
        torch.testing.assert_close(twin.eval()(x), own.eval()(x), rtol=0, atol=0)
