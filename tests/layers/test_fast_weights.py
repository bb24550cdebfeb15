"""Fast weights against a loop over members, each an ordinary layer with its weight written out."""

import copy
import pickle
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from motet.layers import FastWeights, Layout

M = 3


@dataclass(frozen=True)
class Case:
    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    rows: int = 2


CASES = {
    "linear": Case(lambda: nn.Linear(4, 5), (4,)),
    "linear without bias": Case(lambda: nn.Linear(4, 5, bias=False), (4,)),
    "one output": Case(lambda: nn.Linear(4, 1), (4,)),
    "one row": Case(lambda: nn.Linear(4, 5), (4,), rows=1),
    "tokens, T = B": Case(lambda: nn.Linear(4, 5), (2, 4)),
    "tokens, T = M": Case(lambda: nn.Linear(4, 5), (M, 4)),
    "tokens, T = B = M = features": Case(lambda: nn.Linear(M, M), (M, M), rows=M),
    "patches": Case(lambda: nn.Linear(4, 5), (2, 3, 4)),
    "conv1d": Case(lambda: nn.Conv1d(4, 6, 3, stride=2), (4, 9)),
    "conv1d grouped": Case(lambda: nn.Conv1d(4, 6, 3, groups=2, padding=1), (4, 5)),
    "conv2d": Case(lambda: nn.Conv2d(4, 6, 3, padding=1), (4, 5, 5)),
    "conv2d, square in every way": Case(lambda: nn.Conv2d(M, M, 3, padding=1, bias=False), (M, M, M), rows=M),
    "conv2d grouped": Case(lambda: nn.Conv2d(4, 6, 3, groups=2, bias=False), (4, 5, 5)),
    "conv2d depthwise": Case(lambda: nn.Conv2d(4, 8, 3, groups=4, dilation=2), (4, 6, 6)),
    "conv2d circular": Case(lambda: nn.Conv2d(4, 6, 3, padding=1, padding_mode="circular"), (4, 5, 5)),
    "conv2d same": Case(lambda: nn.Conv2d(4, 6, (3, 1), padding="same", padding_mode="reflect"), (4, 5, 5)),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


def fast(layer: nn.Module, rank: int = 1, layout: Layout | None = None, lr_scale: float = 1.0) -> FastWeights:
    inputs = layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels
    outputs = len(layer.weight)
    biases = None if layer.bias is None else torch.randn(M, outputs)
    fast_in, fast_out = torch.randn(M, rank, inputs), torch.randn(M, rank, outputs)
    return FastWeights(layer, fast_in, fast_out, biases, layout=layout, lr_scale=lr_scale)


def written_out(weight: Tensor, gamma: Tensor, alpha: Tensor, groups: int) -> Tensor:
    """W * sum_r gamma_r alpha_r^T, entry by entry."""
    rows = []
    for o in range(len(weight)):
        group = o // (len(weight) // groups)
        taps = []
        for i in range(weight.shape[1]):
            scale = sum(gamma[r, o] * alpha[r, group * weight.shape[1] + i] for r in range(len(gamma)))
            taps.append(weight[o, i] * scale)
        rows.append(torch.stack(taps))
    return torch.stack(rows)


def by_loop(layer: nn.Module, slow: Tensor, own: FastWeights, parts: list[Tensor]) -> Tensor:
    outputs = []
    for m, part in enumerate(parts):
        weight = written_out(slow, own.fast_out[m], own.fast_in[m], getattr(layer, "groups", 1))
        values = {"weight": weight} | ({} if own.biases is None else {"bias": own.biases[m]})
        outputs.append(torch.func.functional_call(layer, values, part))
    return torch.cat(outputs)


@pytest.mark.slow
@every_case
@pytest.mark.parametrize("rank", [1, 3])
@pytest.mark.parametrize("shared", [True, False])
def test_outputs_and_gradients_equal_a_loop_over_members(case: Case, rank: int, shared: bool) -> None:
    layer = case.make().double()
    layout = Layout() if shared else None
    own = fast(copy.deepcopy(layer), rank, layout)
    if shared:
        x = torch.randn(case.rows, *case.shape, dtype=torch.float64, requires_grad=True)
        parts = [x] * M
    else:
        x = torch.randn(M * case.rows, *case.shape, dtype=torch.float64, requires_grad=True)
        parts = list(x.chunk(M))
    expected = by_loop(layer, own.slow.weight, own, parts)
    leaves = [x, *own.parameters()]
    direction = torch.randn_like(expected)
    wanted = torch.autograd.grad(expected, leaves, direction)
    out = own(x)
    torch.testing.assert_close(out, expected, rtol=1e-11, atol=1e-11)
    for found, want in zip(torch.autograd.grad(out, leaves, direction), wanted, strict=True):
        torch.testing.assert_close(found, want, rtol=1e-11, atol=1e-11)
    with torch.no_grad():  # where weights may be written out
        torch.testing.assert_close(own(x), expected, rtol=1e-11, atol=1e-11)
        for m, part in enumerate(parts):
            alone = own.member(m)
            assert type(alone) is type(layer)
            torch.testing.assert_close(alone(part), expected.chunk(M)[m], rtol=1e-11, atol=1e-11)


def test_without_gradients_many_rows_take_the_weights_written_out_and_few_do_not() -> None:
    own = fast(nn.Conv2d(4, 6, 3, padding=1).double())
    for size, cheaper in ((2, False), (8, True)):
        x = torch.randn(M * 2, 4, size, size, dtype=torch.float64)
        with torch.no_grad():
            assert own._writing_out_is_cheaper(x.unflatten(0, (M, -1))) == cheaper
            torch.testing.assert_close(own(x), own(x.requires_grad_()), rtol=1e-11, atol=1e-11)
        assert not own._writing_out_is_cheaper(x.unflatten(0, (M, -1)))
        torch.testing.assert_close(own(x), torch.cat([own.member(m)(part) for m, part in enumerate(x.chunk(M))]))


def test_a_layout_says_whether_rows_are_shared() -> None:
    layout = Layout()
    own = fast(nn.Linear(4, 5).double(), layout=layout)
    x = torch.randn(6, 4, dtype=torch.float64)
    shared = own(x)
    assert shared.shape == (18, 5)
    with layout.distinct_rows():
        torch.testing.assert_close(own(torch.cat([x] * M)), shared, rtol=1e-12, atol=1e-12)
        assert own(x).shape == (6, 5)


def test_the_slow_weight_is_the_layers_own_parameter() -> None:
    layer = nn.Linear(4, 5)
    own = fast(layer)
    assert own.slow.weight is layer.weight
    assert {name for name, _ in own.named_parameters()} == {"slow.weight", "fast_in", "fast_out", "biases"}
    assert layer.bias is not None
    assert own.biases.shape == (M, 5)


@pytest.mark.parametrize("frozen", [("weight",), ("bias",), ("weight", "bias")])
def test_frozen_weights_and_biases_stay_frozen(frozen: tuple[str, ...]) -> None:
    layer = nn.Linear(4, 5)
    for name in frozen:
        getattr(layer, name).requires_grad_(False)
    trained = {name: value.requires_grad for name, value in fast(layer).named_parameters()}
    weight, bias = "weight" not in frozen, "bias" not in frozen
    assert trained == {"slow.weight": weight, "fast_in": weight, "fast_out": weight, "biases": bias}


def test_it_declares_what_is_special_about_its_parameters() -> None:
    own = fast(nn.Conv1d(4, 5, 3), lr_scale=0.25)
    assert own.undecayed_parameters == {"fast_in", "fast_out"}
    assert own.member_parameters == {"fast_in", "fast_out", "biases"}
    assert own.parameter_lr_scales == {"fast_in": 0.25, "fast_out": 0.25, "biases": 0.25}
    assert "members=3, rank=1" in repr(own)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_types_follow_the_layer_and_the_rows(dtype: torch.dtype) -> None:
    own = fast(nn.Linear(4, 5).to(dtype))
    assert {value.dtype for value in own.parameters()} == {dtype}
    assert own(torch.randn(6, 4, dtype=dtype)).dtype == dtype
    assert own.member(0).weight.dtype == dtype
    single = fast(nn.Conv2d(4, 5, 1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert single(torch.randn(6, 4, 2, 2)).dtype == torch.bfloat16  # as an ordinary layer


def test_it_survives_copies_and_state() -> None:
    own, x = fast(nn.Conv2d(4, 6, 3)), torch.randn(6, 4, 5, 5)
    other = fast(nn.Conv2d(4, 6, 3))
    other.load_state_dict(own.state_dict())
    for twin in (other, copy.deepcopy(own), pickle.loads(pickle.dumps(own))):
        torch.testing.assert_close(twin(x), own(x), rtol=0, atol=0)
