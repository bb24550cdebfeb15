"""Torch layers with a member axis. Members are folded into the rows, member-major: ``(M B)``."""

from motet.layers._layout import Layout
from motet.layers._types import Convolution, Ordinary
from motet.layers.adapter import Adapter, mean_over_positions
from motet.layers.depth_weights import DepthWeights
from motet.layers.exits import Exits
from motet.layers.members import Members
from motet.layers.multi_head import MultiHead
from motet.layers.multi_input import ConcatenatedInput, MultiInput
from motet.layers.multiplexed import LearnedTransforms, Multiplexed, SummedTransforms
from motet.layers.template_bank import Bank, TemplateBank
from motet.layers.template_blob import Filling, ParameterBlob
from motet.layers.template_layer import TemplateLayer
from motet.layers.template_members import TemplateMembers

__all__ = [
    "Adapter",
    "Bank",
    "ConcatenatedInput",
    "Convolution",
    "DepthWeights",
    "Exits",
    "Filling",
    "Layout",
    "LearnedTransforms",
    "Members",
    "MultiHead",
    "MultiInput",
    "Multiplexed",
    "Ordinary",
    "ParameterBlob",
    "SummedTransforms",
    "TemplateBank",
    "TemplateLayer",
    "TemplateMembers",
    "mean_over_positions",
]
