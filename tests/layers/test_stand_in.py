"""What a model reads of a layer that was replaced."""

import copy
import pickle

import pytest
import torch
from torch import nn

from motet.layers import ConcatenatedInput, FastWeights, Layout, MultiHead, MultiInput, Tile, WrappedLayer

READ = ["in_features", "out_features", "in_channels", "out_channels", "kernel_size", "stride", "padding", "dilation"]
READ += ["groups", "padding_mode"]
LAYERS = {
    "linear": nn.Linear(4, 6),
    "linear without bias": nn.Linear(4, 6, bias=False),
    "conv1d": nn.Conv1d(4, 6, 3, stride=2, padding=1, padding_mode="circular"),
    "conv2d": nn.Conv2d(4, 6, (3, 5), dilation=2),
}


def stand_ins(layer: nn.Module) -> list[nn.Module]:
    weights = torch.stack([layer.weight, 3 * layer.weight]).detach()
    biases = None if layer.bias is None else torch.stack([layer.bias, 3 * layer.bias]).detach()
    return [
        MultiInput(layer, weights / 4, layout=Layout()),
        MultiInput(layer, weights / 8, layout=Layout(), scale=2.0),
        ConcatenatedInput(layer, weights / 4),
        MultiHead(layer, weights / 2, None if biases is None else biases / 2),
        WrappedLayer(layer, pre=nn.Identity(), post=nn.Identity()),
    ]


@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS.keys())
def test_it_says_what_one_ordinary_layer_would(layer: nn.Module) -> None:
    for stand_in in stand_ins(layer):
        for twin in (stand_in, copy.deepcopy(stand_in), pickle.loads(pickle.dumps(stand_in))):
            for name in READ:
                assert hasattr(twin, name) == hasattr(layer, name)
                assert getattr(twin, name, None) == getattr(layer, name, None), name
            torch.testing.assert_close(twin.weight, layer.weight)
            assert twin.weight.requires_grad
            assert (twin.bias is None) == (layer.bias is None)
            if layer.bias is not None:
                torch.testing.assert_close(twin.bias, layer.bias)
        assert {name for name, _ in stand_in.named_parameters()} <= {
            "layer.weight",
            "layer.bias",
            "inner.weight",
            "inner.bias",
        }
        with pytest.raises(AttributeError, match=f"'{type(stand_in).__name__}' object has no attribute 'strides'"):
            _ = stand_in.strides


def test_what_an_ordinary_layer_has_not_is_missing() -> None:
    for stand_in in stand_ins(nn.Linear(4, 6)):
        with pytest.raises(AttributeError, match="no attribute 'stride'"):
            _ = stand_in.stride


def test_fast_weights_say_what_their_slow_layer_says() -> None:
    layer = nn.Conv2d(4, 6, 3, stride=2)
    biases = torch.stack([layer.bias, 3 * layer.bias]).detach()
    fast = FastWeights(layer, torch.ones(2, 1, 4), torch.ones(2, 1, 6), biases)
    assert fast.weight is layer.weight
    assert fast.stride == (2, 2)
    torch.testing.assert_close(fast.bias, 2 * layer.bias)


def test_what_stands_around_a_layer_runs_before_and_behind_it() -> None:
    layer, x = nn.Linear(4, 3), torch.randn(2, 4)
    torch.testing.assert_close(WrappedLayer(layer, pre=nn.Tanh(), post=nn.ReLU())(x), layer(x.tanh()).relu())
    assert WrappedLayer(layer)(x).equal(layer(x))
    attention = nn.MultiheadAttention(4, 2)
    doubled = WrappedLayer(attention, pre=nn.ReLU())(x, x, x, need_weights=False)
    torch.testing.assert_close(doubled[0], attention(x.relu(), x, x, need_weights=False)[0])
    tile = Tile(3, layout=Layout())
    assert WrappedLayer(layer, post=tile).member(1) is layer
    one = WrappedLayer(layer, pre=nn.Tanh(), post=tile).member(0)
    assert one.weight is layer.weight
    assert not hasattr(one, "member")
    torch.testing.assert_close(one(x), layer(x.tanh()))
