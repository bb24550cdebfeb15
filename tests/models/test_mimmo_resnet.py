import pytest
import torch
from torch import nn

import motet
from motet.errors import InputError
from motet.methods import DUN, MIMMO, MIMO, EarlyExit, Method
from motet.metrics import parameters, ptflops
from motet.models import MIMMOResNet, mimmo_resnet, model_named

# Millions, from the paper's tables 1 to 3 to more digits (own arithmetic); the operations as printed.
COUNTS = [
    (MIMO(members=2), "1.8081", "110.35"),
    (MIMO(members=4), "1.9115", "111.33"),
    (MIMO(members=8), "2.1185", "113.31"),
    (DUN(), "1.9903", "172.17"),
    (MIMMO(members=2), "2.0421", "172.82"),
    (MIMMO(members=4), "2.1455", "174.11"),
    (MIMMO(members=8), "2.3524", "176.70"),
    (EarlyExit(), "2.2421", "110.46"),
]


def test_the_backbone_has_the_papers_counts() -> None:
    net = mimmo_resnet(num_classes=100)
    assert f"{parameters(net) / 1e6:.4f}" == "1.7563"
    assert f"{ptflops(net, torch.zeros(1, 3, 32, 32)) / 1e6:.2f}" == "109.85"


@pytest.mark.slow
@pytest.mark.parametrize(("method", "millions", "operations"), COUNTS, ids=str)
def test_methods_have_the_papers_counts(method: Method, millions: str, operations: str) -> None:
    net = mimmo_resnet(num_classes=100)
    ensemble = method.wrap(net, example=torch.zeros(1, 3, 32, 32))
    # The weights over depths are not among the paper's parameters: at M=8 they would show in the fourth digit.
    own = ensemble.network.weights if not isinstance(method, MIMO) else nn.Identity()
    assert f"{(parameters(ensemble) - parameters(own)) / 1e6:.4f}" == millions
    assert f"{ptflops(ensemble, torch.zeros(1, method.members, 3, 32, 32), distinct=True) / 1e6:.2f}" == operations
    if not isinstance(method, MIMO):
        assert ensemble.network.points == ("stage1", "stage2", "stage3")


def test_stages_halve_the_resolution_and_start_with_a_projection() -> None:
    net = mimmo_resnet(num_classes=3, in_channels=1, planes=(2, 3), blocks=(1, 2), width=1).eval()
    x = torch.randn(2, 1, 8, 8)
    h = net.relu(net.norm(net.stem(x)))
    one = net.stage1(h)
    two = net.stage2(one)
    assert [tuple(each.shape[1:]) for each in (h, one, two)] == [(2, 8, 8), (8, 8, 8), (12, 4, 4)]
    assert [isinstance(block.shortcut, nn.Identity) for block in net.stage2] == [False, True]
    torch.testing.assert_close(net(x), net.head(two.mean((2, 3))))
    assert len(two.unique()) > 1
    assert (two >= 0).all()  # post-activation
    inputs, block = net.stage2[0](one), net.stage2[1]
    inner = block.norm1(block.conv1(inputs)).relu()
    inner = block.norm2(block.conv2(inner)).relu()
    inner = block.norm3(block.conv3(inner))
    torch.testing.assert_close(two, (inner + inputs).relu())
    assert block.conv2.stride == (1, 1)
    assert net.stage2[0].conv2.stride == (2, 2)  # v1.5


def test_it_has_a_name_and_settings() -> None:
    assert model_named("mimmo-resnet") == model_named("MIMMO_ResNet") == MIMMOResNet()
    small = MIMMOResNet(planes=(2, 2), blocks=(1, 1), width=1)
    assert small.build(input_shape=(1, 8, 8), outputs=5)(torch.zeros(2, 1, 8, 8)).shape == (2, 5)
    with pytest.raises(InputError, match="mimmo_resnet needs images"):
        small.build(input_shape=(7,), outputs=5)
    assert motet.models.mimmo_resnet is mimmo_resnet


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"planes": (4, 4), "blocks": (1,)}, "one number for each stage"),
        ({"planes": (), "blocks": ()}, "one number for each stage"),
        ({"planes": (4, 0), "blocks": (1, 1)}, "at least 1"),
        ({"blocks": (1, 0, 1, 1)}, "at least 1"),
        ({"width": 0}, "width=0"),
    ],
)
def test_sizes_that_cannot_be_are_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        mimmo_resnet(num_classes=3, **settings)
