"""Counted by hand, layer by layer."""

import pytest
import torch
from torch import Tensor, nn

from motet.errors import InputError
from motet.methods import MIMO, Single
from motet.metrics import ptflops


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.inner = nn.Conv2d(4, 4, 1, bias=False)
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(self.conv(x)).relu()
        h = h + self.inner(h)
        h = nn.functional.max_pool2d(h, 2)
        return self.fc(nn.functional.adaptive_avg_pool2d(h, 1).flatten(1) + 1.0)


@pytest.mark.parametrize("rows", [1, 3])
def test_a_residual_network(rows: int) -> None:
    pixels = 36
    conv = 4 * pixels * 2 * 9 + 4 * pixels
    norm, relu = 2 * 4 * pixels, 4 * pixels
    inner, residual = 4 * 4 * pixels, 4 * pixels
    pools = 4 * pixels + 4 * 9
    expected = conv + norm + relu + inner + residual + pools + (4 * 3 + 3)
    assert ptflops(Residual(), torch.randn(rows, 2, 6, 6)) == expected


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (nn.LayerNorm(6), 12),
        (nn.LayerNorm(6, elementwise_affine=False), 6),
        (nn.BatchNorm1d(6), 12),
        (nn.BatchNorm1d(6, affine=False), 6),
        (nn.GroupNorm(2, 6), 12),
        (nn.GroupNorm(2, 6, affine=False), 6),
        (nn.ReLU(inplace=True), 6),
        (nn.GELU(), 6),
        (nn.Tanh(), 6),
        (nn.Softmax(dim=1), 0),
        (nn.Linear(6, 2, bias=False), 12),
        (nn.Linear(6, 2), 14),
        (nn.Identity(), 0),
    ],
    ids=str,
)
def test_single_layers(layer: nn.Module, expected: int) -> None:
    assert ptflops(layer, torch.randn(2, 6)) == expected


def test_inputs_of_the_members_own_pay_for_every_kernel() -> None:
    net = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
    ensemble = MIMO(members=2).wrap(net, example=torch.zeros(1, 5)).train()
    rest = 4 + 4 + (4 * 6 + 6)
    assert ptflops(ensemble, torch.zeros(2, 2, 5), distinct=True) == 2 * 5 * 4 + rest
    assert ptflops(ensemble, torch.zeros(2, 5)) == 5 * 4 + rest
    assert ensemble.training
    single = Single().wrap(net, example=torch.zeros(1, 5))
    assert ptflops(single, torch.zeros(1, 5)) == ptflops(net, torch.zeros(1, 5)) == 5 * 4 + 4 + 4 + 4 * 3 + 3
    with pytest.raises(InputError, match=r"need an ensemble.*a Sequential"):
        ptflops(net, torch.zeros(1, 2, 5), distinct=True)
    with pytest.raises(InputError, match="at least one row"):
        ptflops(net, torch.zeros(0, 5))
