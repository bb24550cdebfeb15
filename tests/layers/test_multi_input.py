"""Against a loop over members with ordinary torch layers, in double precision."""

import copy
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from motet.layers import Layout, MultiInput


@dataclass(frozen=True)
class Case:
    make: Callable[[], nn.Module]
    shape: tuple[int, ...]


CASES = {
    "linear": Case(lambda: nn.Linear(4, 6), (4,)),
    "linear without bias": Case(lambda: nn.Linear(4, 6, bias=False), (4,)),
    "linear of one feature": Case(lambda: nn.Linear(1, 1), (1,)),
    "linear over steps": Case(lambda: nn.Linear(4, 6), (5, 4)),
    "linear over two axes": Case(lambda: nn.Linear(4, 6), (2, 5, 4)),
    "conv1d": Case(lambda: nn.Conv1d(3, 6, 3), (3, 8)),
    "conv1d strided, dilated, padded": Case(lambda: nn.Conv1d(3, 6, 3, stride=2, dilation=2, padding=3), (3, 9)),
    "conv1d groups": Case(lambda: nn.Conv1d(6, 9, 3, groups=3), (6, 8)),
    "conv2d": Case(lambda: nn.Conv2d(3, 5, 3, padding=1), (3, 6, 7)),
    "conv2d 1x1": Case(lambda: nn.Conv2d(3, 5, 1), (3, 4, 4)),
    "conv2d without bias": Case(lambda: nn.Conv2d(3, 5, 3, bias=False), (3, 6, 6)),
    "conv2d stride": Case(lambda: nn.Conv2d(3, 5, (3, 2), stride=(2, 1), padding=(1, 0)), (3, 6, 7)),
    "conv2d dilation": Case(lambda: nn.Conv2d(3, 5, 3, dilation=2), (3, 7, 7)),
    "conv2d same": Case(lambda: nn.Conv2d(3, 5, 3, padding="same", dilation=(1, 2)), (3, 7, 7)),
    "conv2d valid": Case(lambda: nn.Conv2d(3, 5, 3, padding="valid"), (3, 7, 7)),
    "conv2d reflect": Case(lambda: nn.Conv2d(3, 5, 3, padding=(2, 1), padding_mode="reflect"), (3, 6, 6)),
    "conv2d circular": Case(lambda: nn.Conv2d(3, 5, 3, padding=1, padding_mode="circular"), (3, 6, 6)),
    "conv2d replicate same": Case(lambda: nn.Conv2d(3, 5, 3, padding="same", padding_mode="replicate"), (3, 6, 6)),
    "conv2d groups": Case(lambda: nn.Conv2d(4, 6, 3, groups=2, padding=1), (4, 5, 5)),
    "conv2d depthwise": Case(lambda: nn.Conv2d(4, 8, 3, groups=4, bias=False), (4, 5, 5)),
}

every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
every_size = pytest.mark.parametrize("members", [1, 2, 3])


def build(case: Case, members: int) -> tuple[nn.Module, Tensor, MultiInput, Layout]:
    layer, layout = case.make().double(), Layout()
    kernels = torch.randn(members, *layer.weight.shape, dtype=torch.float64)
    return layer, kernels, MultiInput(layer, kernels, layout=layout), layout


def slow(layer: nn.Module, kernels: Tensor, bias: Tensor | None, x_MB: Tensor) -> Tensor:
    """The sum over members of ordinary layers, each with that member's kernel, plus one bias."""
    total: Tensor | None = None
    for kernel, x in zip(kernels, x_MB, strict=True):
        ordinary = copy.deepcopy(layer)
        del ordinary.weight, ordinary.bias
        ordinary.weight, ordinary.bias = kernel, None
        out = ordinary(x)
        total = out if total is None else total + out
    assert total is not None
    if bias is None:
        return total
    return total + (bias if isinstance(layer, nn.Linear) else bias.view(-1, *[1] * (total.ndim - 2)))


@every_case
@every_size
@pytest.mark.parametrize("rows", [1, 3])
def test_outputs_and_gradients_equal_a_loop_over_members(case: Case, members: int, rows: int) -> None:
    layer, kernels, multi, layout = build(case, members)
    x_MB = torch.randn(members, rows, *case.shape, dtype=torch.float64)
    leaves = [kernels.clone().requires_grad_(), x_MB.clone().requires_grad_()]
    bias = None if layer.bias is None else layer.bias.detach().clone().requires_grad_()
    expected = slow(layer, leaves[0], bias, leaves[1])

    rows_in = x_MB.flatten(0, 1).requires_grad_()
    with layout.distinct_rows():
        out = multi(rows_in)
    torch.testing.assert_close(out, expected, rtol=1e-10, atol=1e-10)

    direction = torch.randn_like(out)
    grads = torch.autograd.grad(expected, [*leaves, *([] if bias is None else [bias])], direction)
    out.backward(direction)
    # The gradient has the layout of the weight; read it as the members' kernels are read.
    as_kernels = copy.deepcopy(multi)
    as_kernels.layer.weight.data = multi.layer.weight.grad
    torch.testing.assert_close(as_kernels.kernels, grads[0], rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(rows_in.grad, grads[1].flatten(0, 1), rtol=1e-10, atol=1e-10)
    if bias is not None:
        torch.testing.assert_close(multi.layer.bias.grad, grads[2], rtol=1e-10, atol=1e-10)


@every_case
@every_size
def test_one_shared_input_equals_the_tiled_one(case: Case, members: int) -> None:
    _, _, multi, layout = build(case, members)
    x = torch.randn(3, *case.shape, dtype=torch.float64)
    shared_x, tiled_x = x.clone().requires_grad_(), x.clone().requires_grad_()
    shared = multi(shared_x)
    with layout.distinct_rows():
        tiled = multi(tiled_x.repeat(members, *[1] * len(case.shape)))
    torch.testing.assert_close(shared, tiled, rtol=1e-10, atol=1e-10)
    direction = torch.randn_like(shared)
    for out, leaf in [(shared, shared_x), (tiled, tiled_x)]:
        out.backward(direction, inputs=[leaf, *multi.parameters()])
        leaf.kept = [leaf.grad, *(value.grad for value in multi.parameters())]
        multi.zero_grad()
    for one, other in zip(shared_x.kept, tiled_x.kept, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


@every_case
@every_size
def test_folded_is_an_ordinary_layer_that_computes_the_same(case: Case, members: int) -> None:
    layer, _, multi, _ = build(case, members)
    x = torch.randn(3, *case.shape, dtype=torch.float64)
    folded = multi.folded()
    assert type(folded) is type(layer)
    assert folded.extra_repr() == layer.extra_repr()
    assert folded.weight.shape == layer.weight.shape
    torch.testing.assert_close(folded(x), multi(x), rtol=1e-10, atol=1e-10)


@every_case
@every_size
def test_kernels_are_a_view_of_the_weight(case: Case, members: int) -> None:
    _, kernels, multi, _ = build(case, members)
    assert torch.equal(multi.kernels, kernels)
    with torch.no_grad():
        multi.kernels[-1].fill_(7.0)
    expected = kernels.clone()
    expected[-1] = 7.0
    assert torch.equal(multi.kernels, expected)
    assert multi.layer.weight.numel() == kernels.numel()


def test_members_are_interleaved_within_each_channel() -> None:
    # Channel c of member m has index c M + m.
    for layer in (nn.Linear(3, 5), nn.Conv2d(3, 5, 3)):
        kernels = torch.randn(4, *layer.weight.shape)
        multi = MultiInput(layer, kernels, layout=Layout())
        assert multi.layer.weight.shape[1] == 12
        for member in range(4):
            for channel in range(3):
                assert torch.equal(multi.layer.weight[:, channel * 4 + member], kernels[member, :, channel])


def test_the_replaced_layer_is_not_changed() -> None:
    layer = nn.Conv2d(3, 5, 3)
    weight, bias = layer.weight.clone(), layer.bias.clone()
    multi = MultiInput(layer, torch.zeros(2, 5, 3, 3, 3), layout=Layout())
    with torch.no_grad():
        multi.layer.bias.zero_()
    assert torch.equal(layer.weight, weight)
    assert torch.equal(layer.bias, bias)


@pytest.mark.parametrize("frozen", [("weight",), ("bias",), ("weight", "bias"), ()])
def test_frozen_weights_and_biases_stay_frozen(frozen: tuple[str, ...]) -> None:
    layer = nn.Linear(3, 5)
    for name in frozen:
        getattr(layer, name).requires_grad_(False)
    multi = MultiInput(layer, torch.zeros(2, 5, 3), layout=Layout())
    assert {name for name, value in multi.layer.named_parameters() if not value.requires_grad} == set(frozen)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_type_and_device_are_the_layers(dtype: torch.dtype) -> None:
    for device in ("cpu", "meta"):
        layer = nn.Conv1d(2, 4, 3, dtype=dtype, device=device)
        multi = MultiInput(layer, torch.zeros(2, 4, 2, 3, dtype=dtype, device=device), layout=Layout())
        for value in (*multi.parameters(), *multi.folded().parameters()):
            assert value.dtype == dtype
            assert value.device.type == device


def test_a_subclass_of_another_signature_becomes_an_ordinary_layer() -> None:
    class Stem(nn.Conv2d):
        def __init__(self, channels: int) -> None:
            super().__init__(channels, 4, 3, padding=1)

    multi = MultiInput(Stem(2), torch.zeros(3, 4, 2, 3, 3), layout=Layout())
    assert type(multi.layer) is type(multi.folded()) is nn.Conv2d


def test_it_shows_its_members() -> None:
    assert "members=3" in repr(MultiInput(nn.Linear(2, 2), torch.zeros(3, 2, 2), layout=Layout()))
