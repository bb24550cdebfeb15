import copy
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from motet.layers import MultiHead


@dataclass(frozen=True)
class Case:
    make: Callable[[], nn.Module]
    shape: tuple[int, ...]


CASES = {
    "linear": Case(lambda: nn.Linear(4, 3), (4,)),
    "linear without bias": Case(lambda: nn.Linear(4, 3, bias=False), (4,)),
    "one output": Case(lambda: nn.Linear(4, 1), (4,)),
    "linear over steps": Case(lambda: nn.Linear(4, 3), (5, 4)),
    "conv1d": Case(lambda: nn.Conv1d(4, 3, 3, stride=2), (4, 9)),
    "conv2d 1x1": Case(lambda: nn.Conv2d(4, 3, 1), (4, 5, 5)),
    "conv2d circular": Case(lambda: nn.Conv2d(4, 3, 3, padding=1, padding_mode="circular", bias=False), (4, 5, 5)),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("members", [1, 2, 3])
@pytest.mark.parametrize("rows", [1, 4])
def test_outputs_and_gradients_equal_a_loop_over_heads(case: Case, members: int, rows: int) -> None:
    layer = case.make().double()
    heads = [copy.deepcopy(layer) for _ in range(members)]
    for head in heads:
        for value in head.parameters():
            nn.init.normal_(value)
    biases = None if layer.bias is None else torch.stack([head.bias for head in heads])
    multi = MultiHead(layer, torch.stack([head.weight for head in heads]), biases)
    h = torch.randn(rows, *case.shape, dtype=torch.float64)
    expected = torch.cat([head(h) for head in heads])  # member-major rows
    out = multi(h)
    torch.testing.assert_close(out, expected, rtol=1e-12, atol=1e-12)
    direction = torch.randn_like(out)
    out.backward(direction)
    expected.backward(direction)
    weights = torch.cat([head.weight.grad for head in heads])
    torch.testing.assert_close(multi.layer.weight.grad, weights, rtol=1e-12, atol=1e-12)
    if biases is not None:
        torch.testing.assert_close(multi.layer.bias.grad, torch.cat([head.bias.grad for head in heads]))


def test_the_outputs_of_a_member_are_one_block() -> None:
    # Output k of member m has index m K + k.
    weights, biases = torch.randn(3, 2, 4), torch.randn(3, 2)
    multi = MultiHead(nn.Linear(4, 2), weights, biases)
    assert multi.layer.out_features == 6
    for member in range(3):
        for k in range(2):
            assert torch.equal(multi.layer.weight[member * 2 + k], weights[member, k])
            assert torch.equal(multi.layer.bias[member * 2 + k], biases[member, k])


@pytest.mark.parametrize("frozen", [("weight",), ("bias",), ("weight", "bias"), ()])
def test_frozen_weights_and_biases_stay_frozen(frozen: tuple[str, ...]) -> None:
    layer = nn.Linear(4, 2)
    for name in frozen:
        getattr(layer, name).requires_grad_(False)
    multi = MultiHead(layer, torch.zeros(3, 2, 4), torch.zeros(3, 2))
    assert {name for name, value in multi.layer.named_parameters() if not value.requires_grad} == set(frozen)


def test_it_shows_its_members_and_leaves_the_layer_alone() -> None:
    layer = nn.Linear(4, 2)
    before = layer.weight.clone()
    multi = MultiHead(layer, torch.zeros(3, 2, 4), torch.zeros(3, 2))
    assert "members=3" in repr(multi)
    assert torch.equal(layer.weight, before)
    assert layer.bias.any()
