import pytest
import torch
from torch import Tensor, nn

from motet.errors import InputError
from motet.metrics import flops, latency_ratios, parameters


class Attention(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.scaled_dot_product_attention(x, x, x)


class Vector(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight


class AlwaysDropout(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(x, training=True)


class Raises(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise RuntimeError("a user's bug")


class Fused(nn.Module):
    """Keeps a second state in step with its mode, as layers do that fold weights for inference."""

    def __init__(self) -> None:
        super().__init__()
        self.folded = False

    def train(self, mode: bool = True) -> "Fused":
        self.folded = not mode
        return super().train(mode)

    def forward(self, x: Tensor) -> Tensor:
        assert self.folded
        return x


def partly_frozen() -> nn.Module:
    net = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Sequential(nn.Dropout(0.5), nn.Linear(6, 2)))
    net[1].eval()
    net[2].train()
    return net


def test_parameters_are_the_trainable_ones() -> None:
    net = nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Linear(5, 2))
    assert parameters(net) == (15 + 5) + (5 + 5) + (10 + 2)
    net[0].requires_grad_(False)
    assert parameters(net) == 22
    assert parameters(nn.Sequential(net[2], net[2])) == 12
    assert parameters(nn.Sequential()) == 0


@pytest.mark.parametrize("rows", [1, 2, 7])
def test_flops_are_per_row(rows: int) -> None:
    assert flops(nn.Linear(3, 5), torch.zeros(rows, 3)) == 30


@pytest.mark.parametrize("rows", [1, 3])
def test_flops_of_a_convolution(rows: int) -> None:
    conv = nn.Conv2d(4, 6, kernel_size=3, stride=2, padding=1, groups=2)
    # 4x4 positions, 6 channels out, each from 2 channels (4 in 2 groups) in a 3x3 window; 2 per multiply-add.
    assert flops(conv, torch.zeros(rows, 4, 8, 8)) == 4 * 4 * 6 * 2 * 3 * 3 * 2


def test_flops_of_a_matrix_times_a_vector() -> None:
    assert flops(Vector(), torch.zeros(4, 3)) == 6


@pytest.mark.parametrize("rows", [1, 2])
def test_flops_of_attention(rows: int) -> None:
    # Two products of 5x5 scores with 8 channels, in each of 4 heads.
    assert flops(Attention(), torch.zeros(rows, 4, 5, 8)) == 2 * (2 * 5 * 5 * 8) * 4


def test_flops_of_an_encoder_layer_that_torch_would_fuse() -> None:
    layer = nn.TransformerEncoderLayer(16, 4, dim_feedforward=32, batch_first=True)
    tokens, width, hidden = 5, 16, 32
    projections = 4 * 2 * tokens * width * width
    attention = 2 * 2 * tokens * tokens * width
    feedforward = 2 * 2 * tokens * width * hidden
    assert flops(layer, torch.zeros(2, tokens, width)) == projections + attention + feedforward
    assert torch.backends.mha.get_fastpath_enabled()


def test_element_wise_work_counts_as_none() -> None:
    assert flops(nn.ReLU(), torch.zeros(2, 3)) == 0


@pytest.mark.parametrize("measure", ["flops", "latency"])
def test_measuring_leaves_no_trace(measure: str) -> None:
    net, example = partly_frozen(), torch.randn(3, 4)
    flags = [part.training for part in net.modules()]
    assert flags == [True, True, False, True, True, True]
    state = {name: value.clone() for name, value in net.state_dict().items()}
    _measure(measure, nn.Sequential(net, AlwaysDropout()), example)
    assert [part.training for part in net.modules()] == flags
    for name, value in net.state_dict().items():
        assert value.equal(state[name]), name
    assert all(parameter.grad is None for parameter in net.parameters())


@pytest.mark.parametrize("measure", ["flops", "latency"])
def test_measuring_draws_no_random_numbers(measure: str) -> None:
    before = torch.get_rng_state()
    _measure(measure, AlwaysDropout(), torch.zeros(2, 3))
    assert torch.get_rng_state().equal(before)


@pytest.mark.parametrize("measure", ["flops", "latency"])
def test_flags_come_back_after_an_error(measure: str) -> None:
    net = nn.Sequential(partly_frozen(), Raises())
    flags = [part.training for part in net.modules()]
    with pytest.raises(RuntimeError, match="a user's bug"):
        _measure(measure, net, torch.randn(3, 4))
    assert [part.training for part in net.modules()] == flags
    assert torch.backends.mha.get_fastpath_enabled()


@pytest.mark.parametrize("measure", ["flops", "latency"])
def test_modules_with_a_mode_of_their_own_come_back(measure: str) -> None:
    net = Fused()
    _measure(measure, net, torch.zeros(2, 3))
    assert net.training
    assert not net.folded


@pytest.mark.parametrize("measure", ["flops", "latency"])
@pytest.mark.parametrize("example", [torch.zeros(0, 3), torch.tensor(1.0)])
@pytest.mark.usefixtures("unchecked")
def test_an_example_needs_rows(measure: str, example: Tensor) -> None:
    with pytest.raises(InputError, match="a batch with at least one row"):
        _measure(measure, nn.Linear(3, 5), example)


def _measure(measure: str, net: nn.Module, example: Tensor) -> None:
    if measure == "flops":
        flops(net, example)
    else:
        latency_ratios({"one": net, "two": net}, example, baseline="one", rounds=2, min_seconds=1e-6)
