"""The papers' backbones: functions that return ordinary torch modules, and the same as settings."""

from motet.models.mlp import mlp
from motet.models.settings import MLP, CustomModel, ModelSettings, SmallCNN, WideResNet, model_named
from motet.models.small_cnn import small_cnn
from motet.models.wide_resnet import wide_resnet

__all__ = [
    "MLP",
    "CustomModel",
    "ModelSettings",
    "SmallCNN",
    "WideResNet",
    "mlp",
    "model_named",
    "small_cnn",
    "wide_resnet",
]
