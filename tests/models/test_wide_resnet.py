import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from motet.errors import InputError
from motet.methods import MIMO, Method, Multihead, Single
from motet.models import wide_resnet
from motet.models._init import he_normal_
from motet.models.wide_resnet import WideBlock


def trainable(module: nn.Module) -> int:
    return sum(value.numel() for value in module.parameters() if value.requires_grad)


def by_hand(*, depth: int, width: int, classes: int, members: int = 1, channels: int = 3) -> int:
    """Weights of a WRN, layer by layer: 3x3 convolutions without bias, a scale and a shift a norm channel."""
    total, inputs = 9 * channels * members * 16, 16
    for filters in (16 * width, 32 * width, 64 * width):
        for block in range((depth - 4) // 6):
            into = inputs if block == 0 else filters
            changes = into != filters or (block == 0 and filters != 16 * width)
            total += 2 * into + 9 * into * filters + 2 * filters + 9 * filters * filters + changes * into * filters
        inputs = filters
    return total + 2 * inputs + members * (inputs * classes + classes)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "classes", "parameters"),
    [
        (Single(), 10, 36_479_194),
        (MIMO(members=1), 10, 36_479_194),
        (MIMO(members=2), 10, 36_486_036),
        (MIMO(members=3), 10, 36_492_878),
        (MIMO(members=4), 10, 36_499_720),
        (Single(), 100, 36_536_884),
        (MIMO(members=1), 100, 36_536_884),
        (MIMO(members=3), 100, 36_665_948),
    ],
    ids=str,
)
def test_wrn_28_10_has_the_papers_parameters(method: Method, classes: int, parameters: int) -> None:
    # On the meta device: wrapped like any model, with shapes and no numbers.
    with torch.device("meta"):
        model = wide_resnet(depth=28, width=10, num_classes=classes)
        ensemble = method.wrap(model, example=torch.zeros(1, 3, 32, 32))
        assert ensemble(torch.zeros(2, 3, 32, 32)).shape == (2, method.members, classes)
    assert trainable(ensemble) == parameters
    assert by_hand(depth=28, width=10, classes=classes, members=method.members) == parameters
    statistics = sum(value.numel() for name, value in ensemble.named_buffers() if "running" in name)
    assert statistics == 17_952


@pytest.mark.parametrize("members", [1, 2])
@pytest.mark.parametrize(("depth", "width", "channels"), [(10, 1, 3), (10, 2, 1), (16, 1, 3)])
def test_really_wrapped_networks_have_the_parameters_counted_by_hand(
    depth: int, width: int, channels: int, members: int
) -> None:
    model = wide_resnet(depth=depth, width=width, num_classes=7, in_channels=channels)
    ensemble = MIMO(members=members).wrap(model, example=torch.zeros(1, channels, 8, 8))
    assert trainable(ensemble) == by_hand(depth=depth, width=width, classes=7, members=members, channels=channels)
    assert trainable(ensemble.fold().requires_grad_()) == by_hand(
        depth=depth, width=width, classes=7, channels=channels
    ) + (members - 1) * (64 * width * 7 + 7)
    multihead = Multihead(members=members).wrap(model, example=torch.zeros(1, channels, 8, 8))
    assert trainable(multihead) - trainable(model) == (members - 1) * (64 * width * 7 + 7)


def batch_norm(x: Tensor, norm: nn.BatchNorm2d) -> Tensor:
    def by_channel(values: Tensor) -> Tensor:
        return values.view(1, -1, 1, 1)

    centred = x - by_channel(norm.running_mean)
    return centred / (by_channel(norm.running_var) + 1e-5).sqrt() * by_channel(norm.weight) + by_channel(norm.bias)


def block_by_hand(x: Tensor, block: WideBlock, stride: int) -> Tensor:
    h = F.conv2d(batch_norm(x, block.norm1).clamp_min(0), block.conv1.weight, stride=stride, padding=1)
    h = F.conv2d(batch_norm(h, block.norm2).clamp_min(0), block.conv2.weight, padding=1)
    if isinstance(block.shortcut, nn.Conv2d):
        return h + F.conv2d(x, block.shortcut.weight, stride=stride)  # of the raw input
    return h + x


def disturb(model: nn.Module) -> None:
    """Statistics, scales and shifts other than the initial ones, so that leaving one out shows."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean)
            nn.init.uniform_(module.running_var, 0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.normal_(module.bias)


@pytest.mark.parametrize(("inputs", "outputs", "stride"), [(4, 4, 1), (4, 6, 1), (4, 4, 2), (4, 6, 2)])
def test_a_block_is_pre_activated_and_projects_its_raw_input(inputs: int, outputs: int, stride: int) -> None:
    block = WideBlock(inputs, outputs, stride).double().eval()
    disturb(block)
    assert isinstance(block.shortcut, nn.Conv2d) == (inputs != outputs or stride != 1)
    x = torch.randn(2, inputs, 8, 8).double()
    kept = x.clone()
    torch.testing.assert_close(block(x), block_by_hand(x, block, stride), rtol=1e-10, atol=1e-10)
    assert torch.equal(x, kept)


@pytest.mark.parametrize(("depth", "width"), [(10, 1), (16, 2)])
def test_the_network_by_hand(depth: int, width: int) -> None:
    model = wide_resnet(depth=depth, width=width, num_classes=5).double().eval()
    disturb(model)
    nn.init.normal_(model.head.bias)
    x = torch.randn(2, 3, 32, 32).double()
    h = F.conv2d(x, model.stem.weight, padding=1)
    for group, stride in ((model.group1, 1), (model.group2, 2), (model.group3, 2)):
        assert len(group) == (depth - 4) // 6
        for index, block in enumerate(group):
            h = block_by_hand(h, block, stride if index == 0 else 1)
    assert h.shape == (2, 64 * width, 8, 8)
    h = F.avg_pool2d(batch_norm(h, model.norm).clamp_min(0), 8).flatten(1)
    torch.testing.assert_close(model(x), h @ model.head.weight.T + model.head.bias, rtol=1e-8, atol=1e-10)


def test_there_are_no_biases_but_the_norms_and_the_heads() -> None:
    model = wide_resnet(depth=10, width=1, num_classes=5)
    convs = [module for module in model.modules() if isinstance(module, nn.Conv2d)]
    assert len(convs) == 9  # 7 of 3 x 3, and 2 shortcuts of 1 x 1: at width 1 the first group keeps its 16 channels
    assert all(conv.bias is None for conv in convs)
    assert not model.head.bias.any()
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    assert len(norms) == 7
    assert all((norm.eps, norm.momentum) == (1e-5, 0.1) for norm in norms)


@pytest.mark.parametrize("shape", [(64, 32, 3, 3), (500, 80)])
def test_he_normal_is_truncated_and_has_keras_variance(shape: tuple[int, ...]) -> None:
    weight = he_normal_(torch.empty(shape))
    fan_in = math.prod(shape[1:])
    wanted = math.sqrt(2 / fan_in)
    # Three standard errors of mean and deviation of n draws (a truncated normal's tails are lighter than a normal's).
    n = weight.numel()
    assert abs(weight.mean().item()) < 3 * wanted / math.sqrt(n)
    assert weight.std().item() == pytest.approx(wanted, rel=3 / math.sqrt(2 * n))
    bound = 2 * wanted / 0.87962566103423978
    assert weight.abs().max().item() <= bound
    assert weight.abs().max().item() > 0.99 * bound


def test_every_kernel_of_the_network_is_he_normal() -> None:
    model = wide_resnet(depth=10, width=4, num_classes=100)
    layers = [module for module in model.modules() if isinstance(module, nn.Conv2d | nn.Linear)]
    assert len(layers) == 11
    for layer in layers:
        wanted = math.sqrt(2 / layer.weight[0].numel())
        n = layer.weight.numel()
        assert layer.weight.std().item() == pytest.approx(wanted, rel=4 / math.sqrt(2 * n))
        assert layer.weight.abs().max().item() <= 2 * wanted / 0.87962566103423978


@pytest.mark.parametrize(
    ("depth", "nearest"), [(0, 10), (-2, 10), (4, 10), (9, 10), (11, 10), (14, 16), (18, 16), (27, 28), (29, 28)]
)
def test_a_depth_that_cannot_be_is_refused_with_one_that_can(depth: int, nearest: int) -> None:
    with pytest.raises(InputError, match=f"6 n \\+ 4 and at least 10, but got depth={depth}. Pass depth={nearest}, "):
        wide_resnet(depth=depth, width=1, num_classes=2)
    wide_resnet(depth=nearest, width=1, num_classes=2)


@pytest.mark.parametrize("width", [0, -1])
def test_a_width_below_one_is_refused(width: int) -> None:
    with pytest.raises(InputError, match=f"width={width}"):
        wide_resnet(depth=10, width=width, num_classes=2)


@pytest.mark.parametrize("size", [4, 5, 8, 31])
def test_images_of_any_size_from_four_will_do(size: int) -> None:
    model = wide_resnet(depth=10, width=1, num_classes=2, in_channels=1).eval()
    assert model(torch.randn(2, 1, size, size)).shape == (2, 2)


@pytest.mark.slow
def test_wrn_28_10_with_numbers_in_it_has_them_too() -> None:
    model = wide_resnet(depth=28, width=10, num_classes=10)
    ensemble = MIMO(members=3).wrap(model, example=torch.randn(1, 3, 4, 4))
    assert trainable(ensemble) == 36_492_878
    assert ensemble.predict(torch.randn(2, 3, 4, 4)).probs.isfinite().all()


def test_strided_convolutions_read_one_pixel_before_those_of_tensorflow() -> None:
    """The difference that the docstring states: "SAME" pads an even size on the right and at the bottom only."""
    conv = wide_resnet(depth=10, width=1, num_classes=2).group2[0].conv1
    x = torch.randn(1, 16, 8, 8)
    padded = F.pad(x, (0, 1, 0, 1))
    same = F.conv2d(padded, conv.weight, stride=2)
    assert same.shape == conv(x).shape == (1, 32, 4, 4)
    assert not torch.allclose(same, conv(x))
    one_further = padded[..., 1:, 1:]
    torch.testing.assert_close(conv(one_further)[..., 1:, 1:], same[..., 1:, 1:])
