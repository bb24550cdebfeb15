import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from motet.models import mlp, small_cnn


@pytest.mark.parametrize(("shape", "hidden"), [((2,), (32, 128)), ((1, 4, 4), (8,)), ((3, 2), ()), ((1,), (5, 5, 5))])
def test_an_mlp_by_hand(shape: tuple[int, ...], hidden: tuple[int, ...]) -> None:
    model = mlp(input_shape=shape, num_classes=3, hidden=hidden).double()
    x = torch.randn(5, *shape).double()
    layers = [module for module in model.modules() if isinstance(module, nn.Linear)]
    assert [layer.in_features for layer in layers] == [math.prod(shape), *hidden]
    assert [layer.out_features for layer in layers] == [*hidden, 3]
    h = x.reshape(5, -1)
    for index, layer in enumerate(layers):
        h = h @ layer.weight.T + layer.bias
        h = h.clamp_min(0) if index < len(layers) - 1 else h
    torch.testing.assert_close(model(x), h)


def test_an_mlp_of_every_width() -> None:
    assert mlp(input_shape=(2,), num_classes=1)(torch.zeros(1, 2)).shape == (1, 1)


@pytest.mark.parametrize("width", [1, 2])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_small_cnn_by_hand(width: int, channels: int) -> None:
    model = small_cnn(num_classes=5, in_channels=channels, width=width).double()
    convs = [module for module in model if isinstance(module, nn.Conv2d)]
    assert [conv.out_channels for conv in convs] == [16 * width, 32 * width, 32 * width]
    for conv in convs:
        assert not conv.bias.any()
        nn.init.normal_(conv.bias)
    x = torch.randn(2, channels, 9, 8).double()
    h = x
    for index, conv in enumerate(convs):
        h = F.conv2d(h, conv.weight, conv.bias, padding=1).relu()
        h = F.max_pool2d(h, 2) if index < 2 else h
    head = model[-1]
    torch.testing.assert_close(model(x), h.mean(dim=(2, 3)) @ head.weight.T + head.bias)
    parameters = 9 * channels * 16 * width + 16 * width + 9 * 16 * width * 32 * width + 32 * width
    parameters += 9 * (32 * width) ** 2 + 32 * width + 32 * width * 5 + 5
    assert sum(value.numel() for value in model.parameters()) == parameters


def test_a_small_cnn_is_he_normal() -> None:
    layers = [module for module in small_cnn(num_classes=50, width=4) if isinstance(module, nn.Conv2d | nn.Linear)]
    assert len(layers) == 4
    for layer in layers:
        wanted = math.sqrt(2 / layer.weight[0].numel())
        relative = 4 / math.sqrt(2 * layer.weight.numel())  # four standard errors
        assert layer.weight.std().item() == pytest.approx(wanted, rel=relative)


def test_images_from_four_pixels_will_do() -> None:
    assert small_cnn(num_classes=2)(torch.zeros(1, 3, 4, 4)).shape == (1, 2)
