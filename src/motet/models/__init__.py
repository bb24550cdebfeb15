"""The papers' backbones: functions that return ordinary torch modules."""

from motet.models.mlp import mlp
from motet.models.small_cnn import small_cnn
from motet.models.wide_resnet import wide_resnet

__all__ = ["mlp", "small_cnn", "wide_resnet"]
