"""The papers' backbones: functions that return ordinary torch modules, and the same as settings."""

from motet.models.mimmo_resnet import mimmo_resnet
from motet.models.mlp import mlp
from motet.models.settings import MLP, CustomModel, MIMMOResNet, ModelSettings, SmallCNN, WideResNet, model_named
from motet.models.small_cnn import small_cnn
from motet.models.wide_resnet import wide_resnet

__all__ = [
    "MLP",
    "CustomModel",
    "MIMMOResNet",
    "ModelSettings",
    "SmallCNN",
    "WideResNet",
    "mimmo_resnet",
    "mlp",
    "model_named",
    "small_cnn",
    "wide_resnet",
]
