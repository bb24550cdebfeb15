from pathlib import Path

import pytest
import torch
from torch import nn

from motet.errors import InputError
from motet.models import (
    MLP,
    VGGCNN,
    CustomModel,
    DenseNetBC,
    ModelSettings,
    ResNet50,
    SmallCNN,
    TimmModel,
    WideResNet,
    model_named,
)


@pytest.mark.parametrize(
    ("name", "settings"),
    [
        ("mlp", MLP()),
        ("MLP", MLP()),
        ("small_cnn", SmallCNN()),
        ("small-cnn", SmallCNN()),
        ("wide_resnet", WideResNet(depth=28, width=10)),
        ("wrn-16-4", WideResNet(depth=16, width=4)),
        ("WRN_28_10", WideResNet(depth=28, width=10)),
        ("wide-resnet-10-1", WideResNet(depth=10, width=1)),
        ("vgg-cnn", VGGCNN()),
        ("VGG_CNN", VGGCNN()),
        ("densenet-bc-82-8", DenseNetBC(depth=82, growth=8)),
        ("densenet_bc", DenseNetBC(depth=100, growth=12)),
        ("resnet50", ResNet50()),
        ("ResNet-50", ResNet50()),
        ("timm:resnet18.a1_in1k", TimmModel(name="resnet18.a1_in1k")),
        ("timm.models:resnet18", CustomModel(function="timm.models:resnet18")),
        ("nets.py:make", CustomModel(function="nets.py:make")),
        ("my.nets:make", CustomModel(function="my.nets:make")),
    ],
)
def test_models_have_names(name: str, settings: ModelSettings) -> None:
    assert model_named(name) == settings


@pytest.mark.parametrize(("name", "hint"), [("mpl", "'mlp'"), ("smallcnn", "'small_cnn'"), ("wrn-28", "'wrn-28-10'")])
def test_a_name_that_is_none_gets_a_suggestion(name: str, hint: str) -> None:
    with pytest.raises(InputError, match=f"but got {name!r}. Did you mean {hint}"):
        model_named(name)


@pytest.mark.parametrize("settings", [MLP(hidden=(4,)), SmallCNN(), WideResNet(depth=10, width=1)], ids=str)
@pytest.mark.parametrize("outputs", [1, 5])
@pytest.mark.parametrize("channels", [1, 3])
def test_settings_build_a_new_module_for_the_data(settings: ModelSettings, outputs: int, channels: int) -> None:
    one, other = (settings.build(input_shape=(channels, 6, 4), outputs=outputs).eval() for _ in range(2))
    assert one(torch.zeros(2, channels, 6, 4)).shape == (2, outputs)
    assert one is not other
    assert not torch.equal(next(one.parameters()), next(other.parameters()))


def test_an_mlp_takes_inputs_of_any_shape() -> None:
    assert MLP().build(input_shape=(7,), outputs=2)(torch.zeros(1, 7)).shape == (1, 2)


@pytest.mark.parametrize("settings", [SmallCNN(), WideResNet(depth=10, width=1)], ids=str)
@pytest.mark.parametrize("shape", [(7,), (8, 8), (1, 3, 8), (1, 8, 3), (1, 1, 8, 8)])
def test_image_models_need_images(settings: ModelSettings, shape: tuple[int, ...]) -> None:
    with pytest.raises(InputError, match=r"at least 4x4, but got inputs of shape.*mlp"):
        settings.build(input_shape=shape, outputs=2)


@pytest.mark.parametrize(
    "settings", [MLP(hidden=()), MLP(hidden=(0,)), SmallCNN(width=0), WideResNet(depth=11)], ids=str
)
def test_settings_that_cannot_be_are_refused(settings: ModelSettings) -> None:
    with pytest.raises(InputError, match="must"):
        settings.build(input_shape=(1, 8, 8), outputs=2)


@pytest.mark.slow
@pytest.mark.parametrize("settings", [VGGCNN(width=0.25), ResNet50(width=0.0625), TimmModel(name="resnet10t")], ids=str)
def test_models_of_larger_images(settings: ModelSettings) -> None:
    assert settings.build(input_shape=(1, 24, 32), outputs=3).eval()(torch.zeros(2, 1, 24, 32)).shape == (2, 3)
    with pytest.raises(InputError, match="needs images of shape"):
        settings.build(input_shape=(7,), outputs=2)


def test_vgg_cnn_needs_21_pixels() -> None:
    with pytest.raises(InputError, match=r"at least 21x21, but got inputs of shape \(1, 8, 8\)"):
        VGGCNN().build(input_shape=(1, 8, 8), outputs=2)
    assert VGGCNN(width=0.25).build(input_shape=(1, 21, 21), outputs=2)(torch.zeros(1, 1, 21, 21)).shape == (1, 2)


@pytest.mark.parametrize(
    ("settings", "factor", "scaled"),
    [
        (MLP(hidden=(128, 64)), 0.5, MLP(hidden=(64, 32))),
        (MLP(hidden=(3,)), 0.333, MLP(hidden=(1,))),
        (SmallCNN(width=2), 0.5, SmallCNN(width=1)),
        (WideResNet(depth=28, width=10), 0.5, WideResNet(depth=28, width=5)),
        (WideResNet(depth=28, width=10), 1.5, WideResNet(depth=28, width=15)),
        (DenseNetBC(depth=100, growth=12), 0.25, DenseNetBC(depth=100, growth=3)),
        (VGGCNN(), 0.25, VGGCNN(width=0.25)),
        (VGGCNN(width=0.5), 3.0, VGGCNN(width=1.5)),
        (ResNet50(), 2.0, ResNet50(width=2.0)),
    ],
    ids=str,
)
def test_models_have_thinner_and_wider_ones(settings: ModelSettings, factor: float, scaled: ModelSettings) -> None:
    assert settings.scaled(factor) == scaled
    assert settings.scaled(1.0) == settings


@pytest.mark.parametrize(
    ("settings", "factor", "part"),
    [
        (MLP(hidden=(128, 3)), 0.5, r"hidden an integer, but got hidden=3 times 0.5, which is 1.5"),
        (SmallCNN(width=1), 0.5, r"width=1 times 0.5, which is 0.5. Pass 1 for width=1"),
        (WideResNet(width=10), 0.25, r"width=10 times 0.25, which is 2.5. Pass 0.2 for width=2"),
        (WideResNet(width=10), 0.01, r"Pass 0.1 for width=1"),
        (
            TimmModel(name="resnet18"),
            0.5,
            r"must have a width .* but got TimmModel\(name='resnet18'\), which has no width",
        ),
    ],
    ids=str,
)
def test_widths_that_would_not_be_whole_are_refused(settings: ModelSettings, factor: float, part: str) -> None:
    with pytest.raises(InputError, match=part):
        settings.scaled(factor)


MODELS = """
from torch import nn

def everything(num_classes, in_channels, input_shape):
    return nn.Sequential(nn.Flatten(), nn.Linear(in_channels * 4, num_classes))

def some(num_classes, width=3):
    return nn.Sequential(nn.Flatten(), nn.Linear(8, width), nn.Linear(width, num_classes))

def whatever(**offered):
    assert sorted(offered) == ["num_classes"]  # what torchvision and timm pass on; in_channels would reach the model
    return nn.Sequential(nn.Flatten(), nn.Linear(8, offered["num_classes"]))

class Net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.fc = nn.Linear(8, num_classes)

    def forward(self, x):
        return self.fc(x.flatten(1))

def fractional(num_classes, width=1.0):
    return nn.Sequential(nn.Flatten(), nn.Linear(8, round(4 * width)), nn.Linear(round(4 * width), num_classes))

def required(num_classes, width):
    pass

def demanding(num_classes, depth, growth):
    pass

def absent_minded(num_classes):
    self = None
"""


@pytest.fixture(name="file")
def _file(tmp_path: Path) -> Path:
    (tmp_path / "nets.py").write_text(MODELS)
    return tmp_path / "nets.py"


@pytest.mark.parametrize("function", ["everything", "some", "whatever", "Net"])
def test_a_function_of_the_users_gets_what_it_takes(file: Path, function: str) -> None:
    settings = CustomModel(function=f"{file}:{function}")
    model = settings.build(input_shape=(2, 2, 2), outputs=5)
    assert isinstance(model, nn.Module)
    assert model(torch.zeros(3, 2, 2, 2)).shape == (3, 5)


def test_a_function_that_needs_more_or_returns_nothing_is_refused(file: Path) -> None:
    with pytest.raises(InputError, match=r"num_classes, in_channels, input_shape.*also needs depth, growth.*defaults"):
        CustomModel(function=f"{file}:demanding").build(input_shape=(2, 2, 2), outputs=5)
    with pytest.raises(InputError, match=r"must return a torch.nn.Module, but got a NoneType"):
        CustomModel(function=f"{file}:absent_minded").build(input_shape=(2, 2, 2), outputs=5)


@pytest.mark.parametrize(("function", "width", "units"), [("some", 6, 6), ("fractional", 2.0, 8)])
def test_a_function_with_a_width_has_thinner_and_wider_models(
    file: Path, function: str, width: float, units: int
) -> None:
    settings = CustomModel(function=f"{file}:{function}").scaled(2.0)
    assert settings == CustomModel(function=f"{file}:{function}", width=width)
    assert settings.scaled(0.5).width == width / 2
    assert settings.build(input_shape=(2, 2, 2), outputs=5)[1].out_features == units


@pytest.mark.parametrize("function", ["everything", "whatever", "required"])
def test_a_function_without_a_width_has_none(file: Path, function: str) -> None:
    with pytest.raises(InputError, match=r"must have an argument width, with a number as default.*def net"):
        CustomModel(function=f"{file}:{function}").scaled(2.0)


def test_a_functions_width_stays_whole(file: Path) -> None:
    with pytest.raises(InputError, match=r"width=3 times 0.5, which is 1.5"):
        CustomModel(function=f"{file}:some").scaled(0.5)
