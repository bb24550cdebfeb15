"""MixMo against M ordinary input layers, masked one by one, one body and M heads."""

import copy
import math
from collections.abc import Callable

import pytest
import torch
from small_models import ConvNet
from torch import Generator, Tensor, nn
from torch.nn import functional as F  # noqa: N812

import motet
from motet.ensemble import Ensemble
from motet.errors import InputError
from motet.grouping.mixed import Mixed
from motet.layers import Layout, MultiInput
from motet.methods import MIMO, MixMo
from motet.types import Batch, Progress

K = 4  # classes


class SignalNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv1d(2, 6, 3, padding=1), nn.Linear(6, K)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.stem(x).tanh().mean(dim=2))


class TokenNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(3, 6), nn.Linear(6, K)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.stem(x).tanh().mean(dim=1))


class VectorNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(5, 8), nn.Linear(8, K)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.stem(x.flatten(1)).tanh())


Case = tuple[Callable[[], nn.Module], tuple[int, ...]]
IMAGES: dict[str, Case] = {
    "padded": (lambda: ConvNet(padding=1, bias=False), (2, 7, 7)),
    "smaller": (ConvNet, (2, 8, 7)),
    "larger": (lambda: ConvNet(padding=2), (2, 5, 5)),
    "stride": (lambda: ConvNet(stride=2, padding=1), (2, 8, 8)),
    "groups": (lambda: ConvNet(groups=2, padding=1), (2, 6, 6)),
    "depthwise, reflect": (lambda: ConvNet(groups=2, padding=1, padding_mode="reflect"), (2, 6, 6)),
}
OTHERS: dict[str, Case] = {"vectors": (VectorNet, (5,)), "signals": (SignalNet, (2, 6)), "tokens": (TokenNet, (3, 3))}
CASES = IMAGES | OTHERS
every_size = pytest.mark.parametrize("members", [1, 2, 3])


def wrap(case: Case, members: int, **settings: object) -> tuple[nn.Module, Ensemble]:
    model = case[0]().double()
    return model, MixMo(members=members, **settings).wrap(model, example=torch.randn(1, *case[1]).double())


class Slow(nn.Module):
    """The definition: each member's own input layer, masked row by row and pixel by pixel; the body; M heads."""

    def __init__(self, model: nn.Module, ensemble: Ensemble) -> None:
        super().__init__()
        self.members, self.body = ensemble.members, copy.deepcopy(model)
        self.inputs = nn.ModuleList(copy.deepcopy(model.stem) for _ in range(self.members))
        self.heads = nn.ModuleList(copy.deepcopy(model.head) for _ in range(self.members))
        with torch.no_grad():
            for m, layer in enumerate(self.inputs):
                layer.weight.copy_(ensemble.network.stem.layer.weight[:, m :: self.members])
                layer.bias = None
            for m, layer in enumerate(self.heads):
                layer.weight.copy_(ensemble.network.head.layer.weight[m * K : (m + 1) * K])
                layer.bias.copy_(ensemble.network.head.layer.bias[m * K : (m + 1) * K])
        self.bias = None if model.stem.bias is None else nn.Parameter(model.stem.bias.detach().clone())

    def forward(self, x_BM: Tensor, mixing: Tensor | None) -> Tensor:
        features = []
        for m, layer in enumerate(self.inputs):
            out = layer(x_BM[:, m])
            rows = []
            for b in range(len(out)):
                if mixing is None:
                    share = torch.tensor(1 / self.members, dtype=torch.float64)
                elif mixing.ndim == 2:
                    share = mixing[b, m]
                else:
                    share = slow_area(mixing[b, m], out.shape[2], out.shape[3])
                rows.append(self.members * share * out[b])
            features.append(torch.stack(rows))
        h = sum(features)
        if self.bias is not None:
            h = h + (self.bias if isinstance(self.body.stem, nn.Linear) else self.bias.view(-1, *[1] * (h.ndim - 2)))
        features_out: list[Tensor] = []
        handles = [
            self.body.stem.register_forward_hook(lambda *_: h.clone()),
            self.body.head.register_forward_pre_hook(lambda _, args: features_out.append(args[0])),
        ]
        self.body(x_BM[:, 0])
        for handle in handles:
            handle.remove()
        return torch.stack([head(features_out[0]) for head in self.heads], dim=1)


def slow_area(mask: Tensor, height: int, width: int) -> Tensor:
    """The mean of the pixels that each of ``height x width`` features stands for."""
    out = torch.zeros(height, width, dtype=mask.dtype)
    for i in range(height):
        for j in range(width):
            top, bottom = i * mask.shape[0] // height, -(-(i + 1) * mask.shape[0] // height)
            left, right = j * mask.shape[1] // width, -(-(j + 1) * mask.shape[1] // width)
            out[i, j] = mask[top:bottom, left:right].mean()
    return out


@pytest.mark.slow
@pytest.mark.parametrize(
    ("place", "cut"), [*((place, False) for place in CASES), *((place, True) for place in IMAGES)], ids=str
)
@every_size
def test_outputs_loss_and_gradients_equal_the_slow_network(place: str, members: int, cut: bool) -> None:
    case = CASES[place]
    model, ensemble = wrap(case, members, cut_probability=1.0 if cut else 0.0, batch_repetition=2)
    slow = Slow(model, ensemble).train()
    ensemble.train()
    x, y = torch.randn(4, *case[1]).double(), torch.randint(K, (4,))
    batch = ensemble.grouping.deal(x, y, members=members, generator=Generator().manual_seed(1))
    assert members == 1 or batch.mixing.ndim == (4 if cut else 2)
    expected = slow(batch.inputs, batch.mixing)
    total = torch.zeros((), dtype=torch.float64)
    for b in range(len(expected)):
        for m in range(members):
            weight = 1.0 if batch.weights_BM is None else float(batch.weights_BM[b, m])
            total = total + weight * F.cross_entropy(expected[b, m], batch.targets_BM[b, m]) / len(expected)
    loss = ensemble.loss(x, y, generator=Generator().manual_seed(1))
    torch.testing.assert_close(loss, total, rtol=1e-10, atol=1e-10)
    loss.backward()
    total.backward()
    stem, head = ensemble.network.stem.layer, ensemble.network.head.layer
    for m, (one, other) in enumerate(zip(slow.inputs, slow.heads, strict=True)):
        torch.testing.assert_close(stem.weight.grad[:, m::members], one.weight.grad, rtol=1e-10, atol=1e-10)
        block = slice(m * K, (m + 1) * K)
        torch.testing.assert_close(head.weight.grad[block], other.weight.grad, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(head.bias.grad[block], other.bias.grad, rtol=1e-10, atol=1e-10)
    if stem.bias is not None:
        torch.testing.assert_close(stem.bias.grad, slow.bias.grad, rtol=1e-10, atol=1e-10)
    for name, parameter in slow.body.named_parameters():
        if not name.startswith(("stem.", "head.")):
            grad = ensemble.network.get_parameter(name).grad
            torch.testing.assert_close(grad, parameter.grad, rtol=1e-10, atol=1e-10)
    ensemble.eval()
    slow.eval()
    for name, buffer in slow.body.named_buffers():
        torch.testing.assert_close(ensemble.network.get_buffer(name), buffer)
    torch.testing.assert_close(ensemble.forward_batch(batch), slow(batch.inputs, batch.mixing), rtol=1e-10, atol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
@every_size
@pytest.mark.parametrize("scale", [1.0, 1.5])
def test_at_test_the_input_layers_add_up(case: Case, members: int, scale: float) -> None:
    model, ensemble = wrap(case, members, test_scale=scale)
    slow = Slow(model, ensemble).eval()
    ensemble.eval()
    with torch.no_grad():
        for layer in slow.inputs:
            layer.weight.mul_(scale)
    x = torch.randn(5, *case[1]).double()
    x_BM = torch.randn(5, members, *case[1]).double()
    tiled = x.unsqueeze(1).expand(-1, members, *case[1])
    torch.testing.assert_close(ensemble(x), slow(tiled, None), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(ensemble.fold()(x), slow(tiled, None), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(ensemble.forward_distinct(x_BM), slow(x_BM, None), rtol=1e-10, atol=1e-10)
    assert type(ensemble.fold().network.stem) is type(model.stem)


def test_the_scale_is_for_test_alone() -> None:
    x, y = torch.randn(4, 2, 7, 7).double(), torch.randint(K, (4,))
    losses = []
    for scale in (1.0, 2.0):
        torch.manual_seed(1)
        _, ensemble = wrap(IMAGES["padded"], 2, test_scale=scale, alpha=0.0)
        losses.append(ensemble.loss(x, y, generator=Generator().manual_seed(1)))
    assert losses[0].item() == losses[1].item()
    assert "scale=2.0" in repr(ensemble)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
@every_size
def test_equal_shares_and_weights_are_mimo(case: Case, members: int) -> None:
    model, example = case[0]().double(), torch.randn(1, *case[1]).double()
    mixmo = MixMo(members=members, mixing="linear", alpha=0.0, weight_root=1.0, input_repetition=0.25)
    one = mixmo.wrap(model, example=example).train()
    other = MIMO(members=members, batch_repetition=4, input_repetition=0.25).wrap(model, example=example).train()
    assert one.state_dict().keys() == other.state_dict().keys()
    other.load_state_dict(one.state_dict())
    x, y = torch.randn(4, *case[1]).double(), torch.randint(K, (4,))
    losses = [each.loss(x, y, generator=Generator().manual_seed(2)) for each in (one, other)]
    torch.testing.assert_close(*losses, rtol=1e-12, atol=1e-12)
    for loss in losses:
        loss.backward()
    for mine, theirs in zip(one.parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(one.eval()(x), other.eval()(x), rtol=1e-12, atol=1e-12)


def test_a_mask_keeps_its_area_and_masks_their_sum() -> None:
    layout = Layout()
    layer = nn.Conv2d(1, 1, 1, stride=2, bias=False).double()
    kernels = torch.ones(2, 1, 1, 1, 1).double()
    multi = MultiInput(layer, kernels, layout=layout)
    batch = Mixed(cut_probability=1.0).deal(torch.ones(8, 1, 8, 8).double(), torch.arange(8), members=2)
    rows = torch.cat([torch.ones(32, 1, 8, 8), torch.zeros(32, 1, 8, 8)]).double()
    with layout.rows(distinct=True, members=None, mixing=batch.mixing):
        first, second = multi(rows), multi(rows.flip(0))
        torch.testing.assert_close(first + second, torch.full_like(first, 2.0), rtol=0, atol=1e-12)
    torch.testing.assert_close(first.mean(dim=(1, 2, 3)) / 2, batch.mixing[:, 0].mean(dim=(1, 2)), rtol=0, atol=1e-12)


def test_masks_need_a_convolution_over_images() -> None:
    layout = Layout()
    multi = MultiInput(nn.Linear(4, 3), torch.randn(2, 3, 4), layout=layout)
    with (
        layout.rows(distinct=True, members=None, mixing=torch.ones(3, 2, 4, 4)),
        pytest.raises(InputError, match=r"needs a Conv2d as the input layer, but got a Linear"),
    ):
        multi(torch.randn(6, 4))


@pytest.mark.parametrize("case", OTHERS.values(), ids=OTHERS.keys())
def test_cuts_are_for_images(case: Case) -> None:
    _, ensemble = wrap(case, 2)
    assert ensemble.grouping.cut_probability == 0
    with pytest.raises(InputError, match=r"mixing='cut' needs images .*mixing='linear', or 'auto'"):
        wrap(case, 2, mixing="cut")


class ChannelsLast(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.net = ConvNet()

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x.movedim(3, 1))


def test_auto_cuts_where_a_convolution_reads_the_images() -> None:
    for mixing, expected in (("auto", 0.5), ("cut", 0.5), ("linear", 0.0)):
        _, ensemble = wrap(IMAGES["padded"], 2, mixing=mixing)
        assert ensemble.grouping.cut_probability == expected
    flat = nn.Sequential(nn.Flatten(), nn.Linear(32, 8), nn.ReLU(), nn.Linear(8, K))
    for model, example in ((flat, torch.zeros(1, 2, 4, 4)), (ChannelsLast(), torch.zeros(1, 5, 5, 2))):
        ensemble = MixMo().wrap(model, example=example)
        assert ensemble.grouping.cut_probability == 0
        ensemble.loss(example.expand(3, -1, -1, -1), torch.arange(3)).backward()
        with pytest.raises(InputError, match="mixing='cut' needs images"):
            MixMo(mixing="cut").wrap(model, example=example)


def test_the_progress_of_training_reaches_the_schedule() -> None:
    _, ensemble = wrap(IMAGES["padded"], 2, cut_probability=1.0)
    x, y = torch.randn(4, 2, 7, 7).double(), torch.randint(K, (4,))
    seen: list[int] = []
    ensemble.network.stem.register_forward_pre_hook(lambda *_: seen.append(ensemble.layout.mixing.ndim))
    for progress in (None, Progress(epoch=1.0, epochs=12), Progress(epoch=12.0, epochs=12)):
        ensemble.loss(x, y, progress=progress)
    assert seen == [4, 4, 2]
    assert ensemble.layout.mixing is None


def test_members_are_combined_as_the_settings_say() -> None:
    x = torch.randn(3, 5)
    geometric = MixMo().wrap(VectorNet(), example=x).eval()
    mixture = MixMo(combination="mixture").wrap(VectorNet(), example=x).eval()
    torch.testing.assert_close(geometric.predict(x).probs, geometric(x).mean(dim=1).softmax(dim=1))
    torch.testing.assert_close(mixture.predict(x).probs, mixture(x).softmax(dim=2).mean(dim=1))


def test_autocast_mixes_too() -> None:
    x, y = torch.randn(4, 2, 7, 7), torch.randint(K, (4,))
    ensemble = MixMo(cut_probability=1.0).wrap(ConvNet(), example=x[:1])
    exact = ensemble.loss(x, y, generator=Generator().manual_seed(1))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = ensemble.loss(x, y, generator=Generator().manual_seed(1))
    loss.backward()
    torch.testing.assert_close(loss, exact, rtol=0.05, atol=0.05)
    half = MixMo(cut_probability=1.0).wrap(ConvNet().bfloat16(), example=x[:1].bfloat16())
    assert half.loss(x.bfloat16(), y).isfinite()


def test_frozen_input_layers_stay_frozen_and_two_of_them_are_mixed_alike() -> None:
    class TwoWays(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(2, 6, 3, padding=1, stride=2), nn.Conv2d(2, 6, 1)
            self.head = nn.Linear(6, K)

        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.a(x).relu().mean(dim=(2, 3)) + self.b(x).relu().mean(dim=(2, 3)))

    model, x, y = TwoWays(), torch.randn(4, 2, 8, 8), torch.randint(K, (4,))
    model.a.weight.requires_grad_(False)
    ensemble = MixMo(cut_probability=1.0).wrap(model, example=x[:1], first=("a", "b"))
    assert not ensemble.network.a.layer.weight.requires_grad
    ensemble.loss(x, y).backward()
    assert ensemble.network.b.layer.weight.grad.any()


def test_the_defaults_are_the_papers() -> None:
    method = MixMo()
    assert (method.members, method.batch_repetition, method.alpha, method.weight_root) == (2, 4, 2.0, 3.0)
    assert (method.cut_probability, method.combination) == (0.5, "geometric")
    assert method.grouping == Mixed()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"mixing": "cutmix"}, "mixing must be one of auto, cut, linear, but got 'cutmix'"),
        ({"combination": "mean"}, "combination must be one of mixture, geometric"),
        ({"test_scale": 0.0}, "test_scale=0"),
        ({"test_scale": math.inf}, "test_scale=inf"),
        ({"test_scale": math.nan}, "test_scale=nan"),
        ({"alpha": math.nan}, "alpha=nan"),
        ({"weight_root": 0.0}, "weight_root=0"),
        ({"cut_probability": 2.0}, "cut_probability=2"),
        ({"batch_repetition": 0}, "batch_repetition=0"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, object], message: str, unchecked: None) -> None:
    with pytest.raises(InputError, match=message):
        MixMo(**settings)


def test_a_model_needs_a_body() -> None:
    with pytest.raises(InputError, match="MixMo needs a body between"):
        MixMo().wrap(nn.Linear(4, K), example=torch.zeros(1, 4))


def test_a_trained_model_stays_trained() -> None:
    model = motet.models.wide_resnet(depth=10, width=1, num_classes=K)
    with torch.no_grad():
        model.train()(torch.randn(16, 3, 8, 8))
    x = torch.randn(5, 3, 8, 8)
    ensemble = MixMo(members=3).wrap(model.eval(), example=x[:1]).eval()
    torch.testing.assert_close(ensemble(x).mean(dim=1), model(x), rtol=1e-4, atol=1e-5)


def test_a_batch_of_ones_own_may_mix() -> None:
    _, ensemble = wrap(OTHERS["vectors"], 2)
    x_BM = torch.randn(3, 2, 5).double()
    ensemble.eval()
    first = torch.tensor([[1.0, 0.0]]).expand(3, -1)
    mixed = Batch(inputs=x_BM, targets_BM=torch.zeros(3, 2).long(), distinct=True, mixing=first)
    other = Batch(inputs=x_BM.clone(), targets_BM=torch.zeros(3, 2).long(), distinct=True, mixing=first)
    other.inputs[:, 1] = 7.0
    torch.testing.assert_close(ensemble.forward_batch(mixed), ensemble.forward_batch(other))
