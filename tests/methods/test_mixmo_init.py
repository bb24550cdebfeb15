"""The initial scale of MixMo's input layers, and of the features after mixing."""

import copy
import math

import pytest
import torch
from torch import nn

from motet.methods import MIMO, MixMo

K = 4  # classes


def test_each_input_layer_starts_as_an_ordinary_layer() -> None:
    """Its fan-in is that of one input [mixmo-pytorch, networks]; that of MIMO's one layer is M times as large."""
    members = 4
    model = nn.Sequential(nn.Conv2d(8, 32, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, K))
    example = torch.zeros(1, 8, 3, 3)
    kernels = MixMo(members=members).wrap(model, example=example).network[0].kernels
    for m in range(members):
        torch.testing.assert_close(kernels[m].std(), model[0].weight.std())  # the same values in another order
    correlations = torch.corrcoef(kernels.flatten(1)) - torch.eye(members)
    assert correlations.abs().max() < 5 / math.sqrt(kernels[0].numel())
    made = MixMo(members=members).wrap(lambda: nn.Sequential(*copy.deepcopy(model)), example=example)
    torch.testing.assert_close(made.network[0].kernels[1].std(), model[0].weight.std())
    of_mimo = MIMO(members=members).wrap(model, example=example).network[0].kernels
    assert float((kernels.std() / of_mimo.std()).detach()) == pytest.approx(members**0.5, rel=0.05)
    # A model that is continued keeps its function.
    kept = MixMo(members=members).wrap(model, example=example, init="keep").network[0].kernels
    torch.testing.assert_close(kept.sum(dim=0), model[0].weight)


@pytest.mark.parametrize("ratios", [(0.5, 0.5), (0.9, 0.1), (0.2, 0.8)])
def test_mixed_features_have_the_scale_of_the_authors_code(ratios: tuple[float, float]) -> None:
    """h = M sum_m lambda_m e_m(x_m) with ordinary e_m: for independent features of variance v, M^2 v sum lambda^2."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(400, 300, bias=False), nn.ReLU(), nn.Linear(300, K))
    ensemble = MixMo(members=2, mixing="linear").wrap(net, example=torch.zeros(1, 400))
    stem = ensemble.network[0]
    x = torch.randn(64, 400)
    v = float(net[0](x).var().detach())
    assert float(stem(x).var().detach()) == pytest.approx(2 * v, rel=0.1)  # at test: the sum of two ordinary layers
    other = torch.randn(64, 400)
    weights = torch.tensor(ratios).expand(64, 2)
    with torch.no_grad(), ensemble.layout.rows(distinct=True, members=None, mixing=weights):
        mixed = stem(torch.cat([x, other]))
    authors = 2 * (ratios[0] * x @ stem.kernels[0].T + ratios[1] * other @ stem.kernels[1].T)
    torch.testing.assert_close(mixed, authors, rtol=1e-4, atol=1e-5)
    assert float(mixed.var()) == pytest.approx(4 * v * sum(ratio**2 for ratio in ratios), rel=0.1)
