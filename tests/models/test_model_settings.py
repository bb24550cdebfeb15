from pathlib import Path

import pytest
import torch
from torch import nn

from motet.errors import InputError
from motet.models import MLP, CustomModel, ModelSettings, SmallCNN, WideResNet, model_named


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
