"""The other papers' networks: their parameters to the digit, and what they compute, by hand."""

import math
import sys
import types

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from motet.errors import InputError
from motet.methods import MIMO, DeepEnsemble, Method, Single
from motet.models import densenet_bc, resnet50, timm_model, vgg_cnn
from motet.models.densenet import DenseLayer


def trainable(module: nn.Module) -> int:
    return sum(value.numel() for value in module.parameters())


# -- vgg_cnn (joint training, table 3) ----------------------------------------------------------------------------


def test_the_vgg_cnn_has_the_papers_parameters() -> None:
    with torch.device("meta"):
        model = vgg_cnn(num_classes=10)
        ensemble = DeepEnsemble(members=10).wrap(model, example=torch.zeros(1, 3, 32, 32))
    assert trainable(model) == 279_050
    assert trainable(ensemble) == 2_790_500


def test_the_vgg_cnn_has_the_papers_shapes() -> None:
    x, sizes = torch.zeros(1, 3, 32, 32), []
    for layer in vgg_cnn(num_classes=10):
        if isinstance(layer, nn.Conv2d | nn.AdaptiveAvgPool2d):
            sizes.append(tuple(x.shape[1:]))
        x = layer(x)
    assert sizes == [(3, 32, 32), (32, 30, 30), (64, 14, 14), (64, 12, 12), (128, 5, 5), (128, 3, 3)]
    assert x.shape == (1, 10)


@pytest.mark.parametrize(("width", "size"), [(1.0, 32), (0.25, 21), (2.0, 24)])
def test_the_vgg_cnn_by_hand(width: float, size: int) -> None:
    model = vgg_cnn(num_classes=3, in_channels=2, width=width).double()
    x = torch.randn(2, 2, size, size).double()
    h = x
    convs = [module for module in model if isinstance(module, nn.Conv2d)]
    assert [conv.out_channels for conv in convs] == [width * filters for filters in (32, 64, 64, 128, 128)]
    for conv, stride in zip(convs, (1, 2, 1, 2, 1), strict=True):
        h = F.conv2d(h, conv.weight, conv.bias, stride=stride).clamp_min(0)
    torch.testing.assert_close(model(x), h.mean(dim=(2, 3)) @ model[-1].weight.T + model[-1].bias)


def test_the_vgg_cnn_is_uniform_in_one_over_the_root_of_the_fan_in() -> None:
    layers = [module for module in vgg_cnn(num_classes=100) if isinstance(module, nn.Conv2d | nn.Linear)]
    assert len(layers) == 6
    for layer in layers:
        bound = 1 / math.sqrt(layer.weight[0].numel())
        for values in (layer.weight, layer.bias):
            assert 0.8 * bound < values.abs().max() <= bound
        assert layer.weight.std().item() == pytest.approx(bound / math.sqrt(3), rel=0.1)


@pytest.mark.parametrize("width", [0.0, -1.0, 0.3, 0.01])
def test_a_vgg_cnn_of_broken_filters_is_refused(width: float) -> None:
    with pytest.raises(InputError, match=f"width={width}"):
        vgg_cnn(num_classes=2, width=width)


# -- densenet_bc (joint training, table 4) ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("depth", "growth", "members", "parameters"),
    [(100, 12, 4, 3_200_128), (82, 8, 8, 2_132_448), (64, 6, 16, 1_685_056)],
)
def test_densenets_have_the_papers_parameters(depth: int, growth: int, members: int, parameters: int) -> None:
    with torch.device("meta"):
        model = densenet_bc(depth=depth, growth=growth, num_classes=100)
    assert members * trainable(model) == parameters


@pytest.mark.slow
def test_an_ensemble_of_densenets_has_them_too() -> None:
    with torch.device("meta"):
        model = densenet_bc(depth=64, growth=6, num_classes=100)
        ensemble = DeepEnsemble(members=2).wrap(model, example=torch.zeros(1, 3, 8, 8))
    assert 8 * trainable(ensemble) == 1_685_056


def test_a_dense_layer_by_hand() -> None:
    layer = DenseLayer(3, 2).double().eval()
    x = torch.randn(2, 3, 5, 5).double()
    kept = x.clone()
    for norm in (layer.norm1, layer.norm2):
        nn.init.uniform_(norm.weight, 0.5, 2)
        nn.init.normal_(norm.bias)

    def norm_relu(h: torch.Tensor, norm: nn.BatchNorm2d) -> torch.Tensor:
        scale = (norm.weight / (norm.running_var + 1e-5).sqrt()).view(1, -1, 1, 1)
        return ((h - norm.running_mean.view(1, -1, 1, 1)) * scale + norm.bias.view(1, -1, 1, 1)).clamp_min(0)

    assert layer.conv1.out_channels == 8
    h = F.conv2d(norm_relu(x, layer.norm1), layer.conv1.weight)
    h = F.conv2d(norm_relu(h, layer.norm2), layer.conv2.weight, padding=1)
    torch.testing.assert_close(layer(x), torch.cat([x, h], dim=1))
    assert torch.equal(x, kept)


def test_densenets_grow_and_halve() -> None:
    shapes = []
    model = densenet_bc(depth=16, growth=4, num_classes=5)
    x = torch.zeros(1, 3, 32, 32)
    for layer in model:
        x = layer(x)
        if isinstance(layer, nn.Sequential | nn.AvgPool2d):
            shapes.append(tuple(x.shape[1:]))
    assert shapes == [(16, 32, 32), (8, 16, 16), (16, 16, 16), (8, 8, 8), (16, 8, 8)]
    assert x.shape == (1, 5)


def test_densenets_start_as_in_the_paper() -> None:
    model = densenet_bc(depth=16, growth=24, num_classes=5)
    convs = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(convs) == 1 + 2 * 2 * 3 + 2
    assert norms
    for conv in convs:
        wanted = math.sqrt(2 / (conv.out_channels * conv.kernel_size[0] ** 2))
        assert conv.bias is None
        assert conv.weight.std().item() == pytest.approx(wanted, rel=4 / math.sqrt(2 * conv.weight.numel()))
    for norm in norms:
        assert (norm.weight == 1).all()
        assert not norm.bias.any()
    assert not model[-1].bias.any()


@pytest.mark.parametrize(("depth", "nearest"), [(0, 10), (9, 10), (99, 100), (101, 100)])
def test_a_densenet_depth_that_cannot_be_is_refused(depth: int, nearest: int) -> None:
    with pytest.raises(InputError, match=f"got depth={depth}. Pass depth={nearest}, "):
        densenet_bc(depth=depth, growth=4, num_classes=2)


def test_a_growth_rate_below_one_is_refused() -> None:
    with pytest.raises(InputError, match="growth=0"):
        densenet_bc(depth=10, growth=0, num_classes=2)


# -- resnet50 and timm --------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "width", "parameters"),
    [(Single(), 1.0, 25_557_032), (MIMO(members=2), 1.0, 27_615_440), (MIMO(members=2), 2.0, 102_059_984)],
    ids=str,
)
def test_resnet_50_has_the_papers_parameters(method: Method, width: float, parameters: int) -> None:
    """The paper gives 102.1M at width 2, where ours keeps a stem of 64 filters."""
    with torch.device("meta"):
        model = resnet50(num_classes=1000, width=width)
        assert trainable(method.wrap(model, example=torch.zeros(1, 3, 64, 64))) == parameters


@pytest.mark.slow
def test_resnet_50_is_version_one_and_a_half_and_starts_as_in_the_paper() -> None:
    model = resnet50(num_classes=40, width=0.25)
    first = model.layer2[0]
    assert (first.conv1.stride, first.conv2.stride, first.conv3.stride) == ((1, 1), (2, 2), (1, 1))
    convs = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(convs) == len(norms) == 52  # at this width the first group's shortcut needs no projection
    for conv in convs:
        wanted = math.sqrt(2 / conv.weight[0].numel())
        assert conv.weight.std().item() == pytest.approx(wanted, rel=4 / math.sqrt(2 * conv.weight.numel()))
    for norm in norms:
        assert (norm.weight == 1).all()
    assert model.fc.weight.std().item() == pytest.approx(0.01, rel=0.03)
    assert not model.fc.bias.any()


@pytest.mark.parametrize("width", [0.0, 0.01, 1.001])
def test_a_resnet_50_of_broken_filters_is_refused(width: float) -> None:
    with pytest.raises(InputError, match=f"width={width}"):
        resnet50(num_classes=2, width=width)


@pytest.mark.parametrize(("name", "size"), [("resnet10t", (32, 32)), ("vit_tiny_patch16_224", (32, 48))])
@pytest.mark.slow
def test_timm_builds_for_the_datas_channels_classes_and_size(name: str, size: tuple[int, int]) -> None:
    model = timm_model(name, num_classes=3, in_channels=2, image_size=size).eval()
    assert model(torch.zeros(2, 2, *size)).shape == (2, 3)


@pytest.mark.parametrize("name", ["resnet19", "hf-hub:timm/resnet18", ""])
def test_a_model_that_timm_has_not_is_refused(name: str) -> None:
    with pytest.raises(InputError, match=r"must be one of timm's, but got"):
        timm_model(name, num_classes=3, image_size=(32, 32))
    if name == "resnet19":
        with pytest.raises(InputError, match="Similar: resnet18"):
            timm_model(name, num_classes=3, image_size=(32, 32))


def test_what_timm_cannot_build_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    def create_model(*_: object, **__: object) -> None:
        raise AssertionError("the image is too small")

    monkeypatch.setattr(timm, "create_model", create_model)
    with pytest.raises(
        InputError, match=r"build vit_tiny_patch16_224 for 3 channels and images of \(8, 8\).*Assert.*too small"
    ):
        timm_model("vit_tiny_patch16_224", num_classes=3, image_size=(8, 8))


def test_without_timm_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(InputError, match="pip install timm"):
        resnet50(num_classes=2)
    with pytest.raises(InputError, match="pip install timm"):
        timm_model("resnet18", num_classes=2, image_size=(8, 8))


def test_with_a_timm_that_does_not_load_the_error_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def find_spec(self, name: str, *_: object) -> types.ModuleType | None:
            if name == "timm":
                raise RuntimeError("operator torchvision::nms does not exist")
            return None

    monkeypatch.delitem(sys.modules, "timm", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    with pytest.raises(
        InputError, match=r"RuntimeError: operator torchvision::nms.*builds of torch and torchvision that match"
    ):
        resnet50(num_classes=2)
