import copy

import pytest
import torch
from torch import nn

from motet.surgery import (
    fresh_copy,
    fresh_stack,
    head_stack,
    looks_trained,
    member_stack,
    permuted_init_like,
    split_kernel,
)


@pytest.mark.parametrize("shape", [(50,), (8, 9), (4, 3, 3, 3), (1,), (), (0, 3)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_fresh_entries_are_the_same_in_another_order(shape: tuple[int, ...], dtype: torch.dtype) -> None:
    tensor = torch.randn(shape).to(dtype)
    fresh = permuted_init_like(tensor)
    assert fresh.shape == tensor.shape
    assert fresh.dtype == dtype
    assert torch.equal(fresh.flatten().sort().values, tensor.flatten().sort().values)
    assert fresh.numel() < 9 or not torch.equal(fresh, tensor)
    assert not torch.equal(permuted_init_like(tensor), fresh) or fresh.numel() < 9


def test_constants_stay_and_the_original_too() -> None:
    assert torch.equal(permuted_init_like(torch.ones(5)), torch.ones(5))
    tensor = torch.randn(20)
    before = tensor.clone()
    permuted_init_like(tensor).zero_()
    assert torch.equal(tensor, before)


def test_any_memory_layout_will_do() -> None:
    tensor = torch.randn(4, 3, 5, 5).to(memory_format=torch.channels_last)
    for odd in (tensor, tensor.transpose(0, 1), tensor.expand(2, 4, 3, 5, 5)):
        assert torch.equal(permuted_init_like(odd).flatten().sort().values, odd.flatten().sort().values)


@pytest.mark.parametrize("members", [1, 2, 4])
def test_a_stack_begins_with_the_tensor_itself(members: int) -> None:
    parameter = nn.Parameter(torch.randn(6, 5))
    stack = fresh_stack(parameter, members)
    assert stack.shape == (members, 6, 5)
    assert not stack.requires_grad
    assert torch.equal(stack[0], parameter)
    for one in range(members):
        for other in range(one):
            assert not torch.equal(stack[one], stack[other])


class Bare(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.scale = nn.Parameter(torch.tensor(2.0))
        self.linear, self.norm = nn.Linear(8, 8), nn.BatchNorm1d(8)
        self.frozen = nn.Parameter(torch.randn(8), requires_grad=False)
        self.tied = self.linear.weight
        self.register_buffer("noise", torch.randn(8))


def test_a_fresh_copy_draws_every_trainable_parameter_anew() -> None:
    model = Bare()
    before = copy.deepcopy(model.state_dict())
    twin = fresh_copy(model)
    for name in ("token", "linear.weight", "linear.bias"):
        assert not torch.equal(twin.get_parameter(name), model.get_parameter(name)), name
    for name in ("scale", "frozen", "norm.weight", "norm.bias"):
        assert torch.equal(twin.get_parameter(name), model.get_parameter(name)), name
    assert twin.tied is twin.linear.weight
    assert torch.equal(twin.noise, model.noise)
    theirs = {id(value) for value in (*model.parameters(), *model.buffers())}
    assert not any(id(value) in theirs for value in (*twin.parameters(), *twin.buffers()))
    assert [value.requires_grad for value in twin.parameters()] == [value.requires_grad for value in model.parameters()]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.parametrize("kind", [nn.Embedding, nn.EmbeddingBag])
def test_the_padding_row_stays_the_padding_row(kind: type[nn.Embedding | nn.EmbeddingBag]) -> None:
    # It never gets a gradient, so zeros scattered over other rows, or other rows' entries in it, would stay for ever.
    for model in (kind(6, 5, padding_idx=2), nn.Sequential(kind(6, 5, padding_idx=2))):
        twin = fresh_copy(model)
        (before,), (after,) = model.parameters(), twin.parameters()
        assert not after[2].any()
        others = [0, 1, 3, 4, 5]
        assert (after[others] != 0).all()
        assert torch.equal(after[others].flatten().sort().values, before[others].flatten().sort().values)
        assert not torch.equal(after, before)
    frozen = kind(6, 5, padding_idx=2).requires_grad_(False)
    assert torch.equal(fresh_copy(frozen).weight, frozen.weight)


@pytest.mark.parametrize("members", [1, 2, 4])
def test_kernels_add_up_to_the_layers_weight(members: int) -> None:
    weight = torch.randn(6, 5, 3, 3, dtype=torch.float64)
    kernels = split_kernel(weight, members)
    assert kernels.shape == (members, 6, 5, 3, 3)
    torch.testing.assert_close(kernels.sum(dim=0), weight, rtol=1e-12, atol=1e-12)


def test_kernels_are_as_independent_draws_of_one_layer_over_all_inputs() -> None:
    # One layer over M inputs has M times the fan-in, so He's deviation falls by the root of M.
    members = 4
    weight = nn.init.kaiming_normal_(torch.empty(64, 400))
    kernels = split_kernel(weight, members)
    # The standard error of the deviation of n normal numbers is 1 / sqrt(2 n) of it; five of them.
    tolerance = 5 / (2 * weight.numel()) ** 0.5
    for kernel in kernels:
        assert (kernel.std() / weight.std()).item() == pytest.approx(members**-0.5, rel=2 * tolerance)
    correlations = torch.corrcoef(kernels.flatten(1)) - torch.eye(members)
    assert correlations.abs().max() < 5 / weight.numel() ** 0.5


@pytest.mark.parametrize("members", [1, 2, 5])
def test_a_kept_stack_is_near_the_tensor_and_its_mean_is_it(members: int) -> None:
    tensor = torch.randn(30, 40, dtype=torch.float64)
    stack = member_stack(tensor, members, "keep")
    torch.testing.assert_close(stack.mean(dim=0), tensor, rtol=1e-12, atol=1e-12)
    away = (stack - tensor).std() / tensor.std()
    expected = 0.1 * ((members - 1) / members) ** 0.5
    assert away.item() == pytest.approx(expected, rel=0.1, abs=1e-12)
    assert torch.equal(member_stack(torch.zeros(3), members, "keep"), torch.zeros(members, 3))
    assert torch.equal(member_stack(tensor, members, "fresh")[0], tensor)


def test_a_trained_model_shows_in_its_norms() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Linear(8, 8), nn.LayerNorm(8), nn.GroupNorm(2, 8))
    nn.init.zeros_(model[1].weight)  # a common start of the last norm in a residual branch
    assert not looks_trained(model)
    assert not looks_trained(nn.Linear(4, 4))
    assert not looks_trained(nn.Sequential(nn.BatchNorm1d(4, affine=False), nn.LayerNorm(4, elementwise_affine=False)))
    model.train()(torch.randn(6, 4))
    assert looks_trained(model)
    layer_norm = nn.LayerNorm(4)
    with torch.no_grad():
        layer_norm.weight[2] = 1.5
    assert looks_trained(nn.Sequential(layer_norm))


@pytest.mark.parametrize("init", ["fresh", "keep"])
def test_heads_that_start_from_zeros_start_apart(init: str) -> None:
    weight = torch.zeros(3, 100)
    stack = head_stack(weight, 4, init)
    assert stack.shape == (4, 3, 100)
    torch.testing.assert_close(stack.mean(dim=0), weight)
    assert 0.003 < stack.std() < 0.01  # a tenth of 1 / sqrt(3 fan_in) is 0.0058
    assert all((stack[one] != stack[other]).any() for one in range(4) for other in range(one))
    assert torch.equal(head_stack(weight, 1, init), weight[None])
    ordinary = torch.randn(3, 5)
    torch.manual_seed(1)
    heads = head_stack(ordinary, 4, init)
    torch.manual_seed(1)
    assert torch.equal(heads, member_stack(ordinary, 4, init))
