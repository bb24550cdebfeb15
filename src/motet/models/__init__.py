"""The papers' backbones: functions that return ordinary torch modules, and the same models as settings."""

from motet.models._base import ModelSettings
from motet.models.custom import CustomModel
from motet.models.densenet import densenet_bc
from motet.models.mimmo_resnet import mimmo_resnet
from motet.models.mlp import mlp
from motet.models.settings import (
    MLP,
    VGGCNN,
    DenseNetBC,
    MIMMOResNet,
    ResNet50,
    SmallCNN,
    TimmModel,
    WideResNet,
    model_named,
)
from motet.models.small_cnn import small_cnn
from motet.models.timm_model import resnet50, timm_model
from motet.models.vgg_cnn import vgg_cnn
from motet.models.wide_resnet import wide_resnet

__all__ = [
    "MLP",
    "VGGCNN",
    "CustomModel",
    "DenseNetBC",
    "MIMMOResNet",
    "ModelSettings",
    "ResNet50",
    "SmallCNN",
    "TimmModel",
    "WideResNet",
    "densenet_bc",
    "mimmo_resnet",
    "mlp",
    "model_named",
    "resnet50",
    "small_cnn",
    "timm_model",
    "vgg_cnn",
    "wide_resnet",
]
