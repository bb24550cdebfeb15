import pytest
import torch
from torch import Tensor, nn

from motet.layers import Layout, SeparateNetworks


@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("rows", [1, 4])
def test_each_network_gets_its_own_rows_or_the_shared_ones(members: int, rows: int) -> None:
    layout = Layout()
    networks = [nn.Linear(2, 3) for _ in range(members)]
    side_by_side = SeparateNetworks(networks, layout=layout)
    x_MB = torch.randn(members, rows, 2)
    with layout.distinct_rows():
        own = side_by_side(x_MB.flatten(0, 1))
    assert torch.equal(own, torch.cat([network(x) for network, x in zip(networks, x_MB, strict=True)]))
    assert torch.equal(side_by_side(x_MB[0]), torch.cat([network(x_MB[0]) for network in networks]))


def test_inputs_may_be_indices() -> None:
    layout = Layout()
    networks = [nn.Sequential(nn.Embedding(5, 2), nn.Flatten()) for _ in range(2)]
    x = torch.randint(5, (4, 3))
    assert SeparateNetworks(networks, layout=layout)(x).shape == (8, 6)


class Sums(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.sum(dim=1, keepdim=True)


def test_rows_that_do_not_go_round_are_an_error() -> None:
    layout = Layout()
    with layout.distinct_rows(), pytest.raises(ValueError, match="zip"):
        SeparateNetworks([Sums(), Sums(), Sums()], layout=layout)(torch.zeros(1, 2))
