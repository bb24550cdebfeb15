"""Which axis holds the features, and where exits go unless the user says."""

import pytest
import torch
from torch import Tensor, nn

import motet
from motet.errors import InputError
from motet.methods import DUN, MIMMO, EarlyExit
from motet.surgery import features_at, mixing_calls, points

K = 3


def conv(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1), nn.BatchNorm2d(outputs), nn.ReLU())


class Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = conv(inputs, outputs, stride), nn.Conv2d(outputs, outputs, 3, padding=1)
        self.down = nn.Conv2d(inputs, outputs, 1, stride=stride)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.relu(self.conv2(self.conv1(x)) + self.down(x))


class ImageNetLike(nn.Module):
    """Stem with stride and max-pool, four layers: torchvision's plan."""

    def __init__(self, layers: int = 4) -> None:
        super().__init__()
        self.stem, self.pool = conv(3, 4, 2), nn.MaxPool2d(3, 2, 1)
        for i in range(layers):
            self.add_module(f"layer{i + 1}", nn.Sequential(Residual(4, 4, min(i, 1) + 1), Residual(4, 4, 1)))
        self.layers = layers
        self.fc = nn.Linear(4, K)

    def forward(self, x: Tensor) -> Tensor:
        h = self.pool(self.stem(x))
        for i in range(self.layers):
            h = self.get_submodule(f"layer{i + 1}")(h)
        return self.fc(nn.functional.adaptive_avg_pool2d(h, 1).flatten(1))


class ViT(nn.Module):
    def __init__(self, blocks: int = 6) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, 8, 4, stride=4)
        self.cls = nn.Parameter(torch.randn(1, 1, 8))
        self.blocks = nn.ModuleList(
            nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True, norm_first=True) for _ in range(blocks)
        )
        self.norm, self.head = nn.LayerNorm(8), nn.Linear(8, K)

    def forward(self, x: Tensor) -> Tensor:
        h = self.patches(x).flatten(2).transpose(1, 2)
        h = torch.cat([self.cls.expand(len(h), -1, -1), h], dim=1)
        for block in self.blocks:
            h = block(h)
        return self.head(self.norm(h)[:, 0])


class ChannelsLast(nn.Module):
    """A hierarchy over (B, H, W, F), as Swin has it."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 6, 2, stride=2)
        self.stage1 = nn.Sequential(nn.LayerNorm(6), nn.Linear(6, 6), nn.GELU())
        self.merge = nn.Linear(24, 10)
        self.stage2 = nn.Sequential(nn.LayerNorm(10), nn.Linear(10, 10), nn.GELU())
        self.head = nn.Linear(10, K)

    def forward(self, x: Tensor) -> Tensor:
        h = self.stage1(self.embed(x).permute(0, 2, 3, 1))
        b, height, width, f = h.shape
        h = h.reshape(b, height // 2, 2, width // 2, 2, f).permute(0, 1, 3, 2, 4, 5).flatten(3)
        return self.head(self.stage2(self.merge(h)).mean((1, 2)))


class ConvNeXtBlock(nn.Module):
    """Linear layers over the last axis inside, channels first outside."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.dw = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.up, self.down = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        h = self.down(nn.functional.gelu(self.up(self.dw(x).permute(0, 2, 3, 1))))
        return x + h.permute(0, 3, 1, 2)


def chain(*layers: nn.Module) -> nn.Sequential:
    return nn.Sequential(*layers)


def lenet() -> nn.Sequential:
    return chain(
        nn.Conv2d(1, 4, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(4, 6, 5), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(),
        nn.Linear(6 * 16, 12), nn.ReLU(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, K),
    )  # fmt: skip


class Residual1d(nn.Module):
    """Three layers in one block, so that the only points are behind one layer and behind all."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (nn.Linear(8, 8) for _ in range(3))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.c(self.b(self.a(x).relu()).relu())


class OneBlock(nn.Module):
    """After the first layer, paths do not meet before the last one."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.a, self.b, self.c = (nn.Linear(4, 4) for _ in range(4))
        self.out = nn.Linear(8, K)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        return self.out(torch.cat([self.a(h).relu(), self.c(self.b(h).relu())], dim=1))


MODELS: list[tuple[str, nn.Module, tuple[int, ...], tuple[str, ...]]] = [
    ("four layers after a stem", ImageNetLike(), (3, 64, 64), ("layer2", "layer3")),
    ("six", ImageNetLike(6), (3, 128, 128), ("layer3", "layer5")),
    ("wrn", motet.models.wide_resnet(depth=10, width=1, num_classes=K), (3, 32, 32), ("group2",)),
    ("small cnn, behind the pool", motet.models.small_cnn(num_classes=K), (3, 16, 16), ("5",)),
    ("small cnn, before a pool that leaves one position", motet.models.small_cnn(num_classes=K), (3, 4, 4), ("4",)),
    ("dense layers behind convolutions, before flattening", lenet(), (1, 28, 28), ("5", "8")),
    ("vit", ViT(6), (3, 16, 16), ("blocks.2", "blocks.4")),
    ("mlp", motet.models.mlp(input_shape=(4,), num_classes=K, hidden=(8,) * 7), (4,), ("8", "12")),
    ("two hidden layers", motet.models.mlp(input_shape=(4,), num_classes=K, hidden=(8, 8)), (4,), ("2",)),
    ("one hidden layer", motet.models.mlp(input_shape=(4,), num_classes=K, hidden=(8,)), (4,), ("2",)),
    ("channels last", ChannelsLast(), (3, 8, 8), ("stage1", "merge")),
    ("one resolution", chain(*(conv(2, 2) for _ in range(7)), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, K)),
     (2, 6, 6), ("3", "5")),
    ("unpadded", chain(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(),
                       nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, K)), (2, 32, 32), ("3",)),
    ("sequences", chain(nn.Conv1d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv1d(4, 6, 3, stride=2, padding=1), nn.ReLU(),
                        nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(6, K)), (2, 8), ("1",)),
    ("no point behind half of the layers", OneBlock(), (4,), ("first",)),
    ("points behind one layer and behind all",
     chain(nn.Linear(4, 8), nn.ReLU(), Residual1d(), nn.ReLU(), nn.Linear(8, K)), (4,), ("3",)),
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(("model", "shape", "expected"), [m[1:] for m in MODELS], ids=[m[0] for m in MODELS])
def test_default_exits(model: nn.Module, shape: tuple[int, ...], expected: tuple[str, ...]) -> None:
    x = torch.randn(2, *shape)
    for method in (DUN(), EarlyExit(), MIMMO(members=2)):
        ensemble = method.wrap(model, example=x[:1])
        assert ensemble.network.points == expected
    assert ensemble(x).shape == (2, 2, K)
    ensemble.loss(x, torch.zeros(2, dtype=torch.long)).backward()


def test_a_model_may_name_its_own_exits() -> None:
    net = motet.models.mlp(input_shape=(4,), num_classes=K, hidden=(8,) * 7)
    net.default_exits = ("2", "6")
    assert EarlyExit().wrap(net, example=torch.zeros(1, 4)).network.points == ("2", "6")
    assert DUN(exits=("4",)).wrap(net, example=torch.zeros(1, 4)).network.points == ("4",)
    net.default_exits = ("3x",)
    with pytest.raises(InputError, match="exits must name submodules of the model"):
        MIMMO().wrap(net, example=torch.zeros(1, 4))
    net.default_exits = 3  # something of the user's with this name
    assert EarlyExit().wrap(net, example=torch.zeros(1, 4)).network.points == ("8", "12")


def axis(model: nn.Module, example: Tensor, name: str) -> tuple[int, int] | None:
    point = next(point for point in points(model, example) if name in (point.name, *point.aliases))
    features = features_at(point, mixing_calls(model, example), rows=len(example))
    return None if features is None else (features.axis, features.width)


class Transposed(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.transpose(1, -1)


class Noted(nn.Module):
    """A layer whose kind motet does not know."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(5, 5))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight


def test_which_axis_holds_the_features() -> None:
    def told(*layers: nn.Module, shape: tuple[int, ...] = (5, 6), name: str = "0") -> tuple[int, int] | None:
        example = torch.randn(2, *shape)
        width = nn.Sequential(*layers)(example).flatten(1).shape[1]
        return axis(chain(*layers, nn.Flatten(), nn.Linear(width, K)), example, name)

    assert told(nn.Linear(6, 7)) == (-1, 7)
    assert told(nn.Conv1d(5, 7, 1)) == (1, 7)
    assert told(nn.Linear(6, 5)) == (-1, 5)  # as many features as steps
    assert told(nn.Conv1d(5, 6, 1)) == (1, 6)
    assert told(nn.Linear(6, 7), Transposed(), name="1") == (1, 7)
    assert told(nn.Linear(6, 5), Transposed(), nn.Conv1d(5, 5, 1), name="1") == (-1, 5)  # the same shape: the layer's
    assert told(nn.Linear(6, 5), nn.AvgPool1d(2), nn.Conv1d(5, 4, 1), name="1") == (1, 5)  # as the next one reads it
    assert told(Noted(), shape=(4, 5)) is None
    assert told(Noted(), nn.Linear(5, 2), shape=(4, 5)) == (-1, 5)
    assert told(nn.Conv3d(2, 3, 1), shape=(2, 3, 3, 3)) == (1, 3)
    assert told(nn.Linear(6, 7), shape=(6,)) == (-1, 7)
    assert axis(chain(*[ConvNeXtBlock(4)], nn.Flatten(), nn.Linear(4 * 30, K)), torch.randn(2, 4, 5, 6), "0") == (1, 4)


def test_exits_that_the_user_names() -> None:
    x = torch.zeros(1, 3, 64, 64)
    wrap = lambda *exits: DUN(exits=exits).wrap(ImageNetLike(), example=x).network.points  # noqa: E731
    assert wrap("layer3", "layer1.0") == ("layer1.0", "layer3")  # in the order in which they run
    assert wrap("layer2.1.relu") == ("layer2",)  # the outermost name of what is one tensor
    assert wrap() == ()
    for names, message in [
        (("layr1",), "exits must name submodules.*Did you mean 'layer1'"),
        (("layer1.0.conv1",), "must go through each point in exits.*layer1.0.conv1.*other paths bypass"),
        (("layer1", "layer1"), "must differ"),
        (("fc",), "before the output layer, but got exits with 'fc'"),
    ]:
        with pytest.raises(InputError, match=message):
            wrap(*names)
    normed = nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 4), nn.Linear(4, K))
    with pytest.raises(InputError, match=r"after the layers that read the input.*'0'"):
        MIMMO(exits=("0",)).wrap(normed, example=torch.zeros(1, 4))
    volumes = nn.Sequential(nn.Conv3d(2, 3, 1), nn.Flatten(), nn.Linear(81, K))
    ensemble = DUN(exits=("0",)).wrap(volumes, example=torch.zeros(1, 2, 3, 3, 3))
    assert ensemble.predict(torch.randn(4, 2, 3, 3, 3)).probs.shape == (4, K)
    assert DUN(exits=("1",)).wrap(volumes, example=torch.zeros(1, 2, 3, 3, 3)).network.points == ("1",)


def test_models_that_have_no_place_for_an_exit_are_refused() -> None:
    class Branches(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.two, self.out = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(8, K)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(torch.cat([self.one(x), self.two(x)], dim=1))

    x = torch.zeros(1, 4)
    for model in (Branches(), nn.Linear(4, K)):
        with pytest.raises(InputError, match=r"needs a point between.*Pass exits=\(\)"):
            DUN().wrap(model, example=x)
        assert DUN(exits=()).wrap(model, example=x)(x).shape == (1, 1, K)

    class TwoHeads(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body, self.one, self.two = nn.Linear(4, 4), nn.Linear(4, K), nn.Linear(4, K)

        def forward(self, x: Tensor) -> Tensor:
            h = self.body(x)
            return self.one(h) + self.two(h)

    with pytest.raises(InputError, match="there must be exactly one layer that makes the output"):
        DUN().wrap(TwoHeads(), example=x)
    with pytest.raises(InputError, match="one output layer, which they all use, but got 2"):
        DUN().wrap(TwoHeads(), example=x, last=("one", "two"))
    for head in (nn.Conv2d(4, K, 3), nn.Conv2d(4, K, 1, padding=1)):
        model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), head, nn.AdaptiveAvgPool2d(1), nn.Flatten())
        with pytest.raises(InputError, match="1x1 convolution without padding"):
            DUN().wrap(model, example=torch.zeros(1, 2, 8, 8))


@pytest.mark.parametrize("exits", [["0"], "0", (0,)])
@pytest.mark.parametrize("kind", [DUN, EarlyExit, MIMMO])
def test_exits_must_be_a_tuple_of_names(kind: type, exits: object, unchecked: None) -> None:

    with pytest.raises(InputError, match="tuple of the names"):
        kind(exits=exits)
