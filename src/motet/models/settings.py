"""Models as settings, which an experiment records and from which a module is built."""

import re
from dataclasses import dataclass, replace
from typing import final

from torch import nn

from motet.errors import InputError
from motet.models._base import ModelSettings, image_channels, scaled_width
from motet.models.custom import CustomModel
from motet.models.densenet import densenet_bc
from motet.models.mimmo_resnet import mimmo_resnet
from motet.models.mlp import mlp
from motet.models.small_cnn import small_cnn
from motet.models.timm_model import resnet50, timm_model
from motet.models.timm_names import suggestion
from motet.models.vgg_cnn import vgg_cnn
from motet.models.wide_resnet import wide_resnet


@final
@dataclass(frozen=True, kw_only=True)
class MLP(ModelSettings):
    """Settings of `motet.models.mlp`, which documents them."""

    hidden: tuple[int, ...] = (128, 128)

    def build(self, *, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        """For inputs of any shape."""
        if not self.hidden or min(self.hidden) < 1:
            raise InputError(
                "hidden layers must have at least one unit", got=f"{self.hidden}", fix="Pass widths of at least 1"
            )
        return mlp(input_shape=input_shape, num_classes=outputs, hidden=self.hidden)

    def scaled(self, factor: float) -> "MLP":
        """With `factor` times the units in every hidden layer."""
        return replace(self, hidden=tuple(scaled_width("hidden", width, factor) for width in self.hidden))


@final
@dataclass(frozen=True, kw_only=True)
class SmallCNN(ModelSettings):
    """Settings of `motet.models.small_cnn`, which documents them."""

    width: int = 1

    def build(self, *, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        """For images ``(channels, H, W)`` of at least 4x4 pixels."""
        if self.width < 1:
            raise InputError("width must be at least 1", got=f"width={self.width}", fix="Pass width=1 or more")
        return small_cnn(num_classes=outputs, in_channels=image_channels(input_shape, "small_cnn"), width=self.width)

    def scaled(self, factor: float) -> "SmallCNN":
        """With `factor` times the width."""
        return replace(self, width=scaled_width("width", self.width, factor))


@final
@dataclass(frozen=True, kw_only=True)
class WideResNet(ModelSettings):
    """Settings of `motet.models.wide_resnet`, which documents them."""

    depth: int = 28
    width: int = 10

    def build(self, *, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        """For images ``(channels, H, W)`` of at least 4x4 pixels."""
        channels = image_channels(input_shape, "wide_resnet")
        return wide_resnet(depth=self.depth, width=self.width, num_classes=outputs, in_channels=channels)

    def scaled(self, factor: float) -> "WideResNet":
        """With `factor` times the width: WRN-28-10 by 0.5 is WRN-28-5."""
        return replace(self, width=scaled_width("width", self.width, factor))


@final
@dataclass(frozen=True, kw_only=True)
class MIMMOResNet(ModelSettings):
    """Settings of `motet.models.mimmo_resnet`, which documents them."""

    planes: tuple[int, ...] = (16, 32, 64, 128)
    blocks: tuple[int, ...] = (1, 2, 3, 1)
    width: int = 2

    def build(self, *, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        """For images ``(channels, H, W)`` of at least 4x4 pixels."""
        channels = image_channels(input_shape, "mimmo_resnet")
        return mimmo_resnet(
            num_classes=outputs, in_channels=channels, planes=self.planes, blocks=self.blocks, width=self.width
        )

    def scaled(self, factor: float) -> "MIMMOResNet":
        """With `factor` times the filters of every stage."""
        return replace(self, planes=tuple(scaled_width("planes", planes, factor) for planes in self.planes))


@final
@dataclass(frozen=True, kw_only=True)
class VGGCNN(ModelSettings):
    """Settings of `motet.models.vgg_cnn`, which documents them."""

    width: float = 1.0

    def build(self, *, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        """For images ``(channels, H, W)`` of at least 21x21 pixels."""
        channels = image_channels(input_shape, "vgg_cnn", at_least=21)
        return vgg_cnn(num_classes=outputs, in_channels=channels, width=self.width)

    def scaled(self, factor: float) -> "VGGCNN":
        """With `factor` times the filters."""
        first = round(32 * self.width)
        return replace(self, width=scaled_width("filters", first, factor) / 32)


@final
@dataclass(frozen=True, kw_only=True)
class DenseNetBC(ModelSettings):
    """Settings of `motet.models.densenet_bc`, which documents them."""

    depth: int = 100
    growth: int = 12

    def build(self, *, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        """For images ``(channels, H, W)`` of at least 4x4 pixels."""
        channels = image_channels(input_shape, "densenet_bc")
        return densenet_bc(depth=self.depth, growth=self.growth, num_classes=outputs, in_channels=channels)

    def scaled(self, factor: float) -> "DenseNetBC":
        """With `factor` times the growth rate."""
        return replace(self, growth=scaled_width("growth", self.growth, factor))


@final
@dataclass(frozen=True, kw_only=True)
class ResNet50(ModelSettings):
    """Settings of `motet.models.resnet50`, which documents them. Needs timm."""

    width: float = 1.0

    def build(self, *, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        """For images ``(channels, H, W)`` of at least 4x4 pixels."""
        channels = image_channels(input_shape, "resnet50")
        return resnet50(num_classes=outputs, in_channels=channels, width=self.width)

    def scaled(self, factor: float) -> "ResNet50":
        """With `factor` times the filters."""
        return replace(self, width=scaled_width("filters", round(64 * self.width), factor) / 64)


@final
@dataclass(frozen=True, kw_only=True)
class TimmModel(ModelSettings):
    """Settings of `motet.models.timm_model`, which documents them. Needs timm."""

    name: str

    def build(self, *, input_shape: tuple[int, ...], outputs: int) -> nn.Module:
        """For images ``(channels, H, W)``, of the sizes that the model takes."""
        channels = image_channels(input_shape, self.name, at_least=1)
        size = (input_shape[1], input_shape[2])
        return timm_model(self.name, num_classes=outputs, in_channels=channels, image_size=size)


def model_named(name: str) -> ModelSettings:
    """Return the settings of the model called `name`.

    mlp, small_cnn, vgg_cnn, resnet50, wrn-DEPTH-WIDTH, densenet-bc-DEPTH-GROWTH, mimmo-resnet, timm:NAME, or the user's
    ``file.py:function``.

    Raises:
        InputError: if there is no such model.

    >>> model_named("wrn-16-4")
    WideResNet(depth=16, width=4)
    """
    if name.startswith("timm:"):
        return TimmModel(name=name.removeprefix("timm:"))
    if ":" in name:
        return CustomModel(function=name)
    folded = name.lower().replace("_", "-")
    if match := re.fullmatch(r"(?:wrn|wide-resnet)-(\d+)-(\d+)", folded):
        return WideResNet(depth=int(match[1]), width=int(match[2]))
    if match := re.fullmatch(r"densenet-bc-(\d+)-(\d+)", folded):
        return DenseNetBC(depth=int(match[1]), growth=int(match[2]))
    known: dict[str, ModelSettings] = {
        "mlp": MLP(),
        "small-cnn": SmallCNN(),
        "vgg-cnn": VGGCNN(),
        "resnet50": ResNet50(),
        "resnet-50": ResNet50(),
        "wide-resnet": WideResNet(),
        "densenet-bc": DenseNetBC(),
        "mimmo-resnet": MIMMOResNet(),
    }
    if folded not in known:
        names = ["mlp", "small_cnn", "vgg_cnn", "wrn-28-10", "wide_resnet", "densenet-bc-100-12", "resnet50"]
        names.append("mimmo-resnet")
        raise InputError(
            "the model must be one of motet's, timm:NAME or module:function",
            got=repr(name),
            fix=suggestion(name, names),
        )
    return known[folded]
