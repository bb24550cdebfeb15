"""Torch layers with a member axis. Members are folded into the rows, member-major: ``(M B)``."""

from motet.layers._layout import Layout
from motet.layers._types import Convolution, Ordinary
from motet.layers.adapter import Adapter, mean_over_positions
from motet.layers.around import Around
from motet.layers.branches import Branches, Tile
from motet.layers.depth_weights import DepthWeights
from motet.layers.exits import Exits
from motet.layers.exits_in_turn import exits_in_turn
from motet.layers.fast_weights import FastWeights
from motet.layers.member_batch_norm import MemberBatchNorm
from motet.layers.members import Members
from motet.layers.multi_head import MultiHead
from motet.layers.multi_input import ConcatenatedInput, MultiInput
from motet.layers.multiplexed import LearnedTransforms, Multiplexed, SummedTransforms
from motet.layers.sample_dropout import MASKS, Masks, SampleDropout
from motet.layers.stack import TOGETHER_AT_MOST, Stack
from motet.layers.stacked import StackedConvolution, StackedLayer, StackedLinear, Turn
from motet.layers.stacked_norms import StackedBatchNorm, StackedGroupNorm, StackedLayerNorm, StackedPReLU
from motet.layers.template_bank import Bank, TemplateBank
from motet.layers.template_blob import Filling, ParameterBlob
from motet.layers.template_layer import TemplateLayer
from motet.layers.template_members import TemplateMembers

__all__ = [
    "MASKS",
    "TOGETHER_AT_MOST",
    "Adapter",
    "Around",
    "Bank",
    "Branches",
    "ConcatenatedInput",
    "Convolution",
    "DepthWeights",
    "Exits",
    "FastWeights",
    "Filling",
    "Layout",
    "LearnedTransforms",
    "Masks",
    "MemberBatchNorm",
    "Members",
    "MultiHead",
    "MultiInput",
    "Multiplexed",
    "Ordinary",
    "ParameterBlob",
    "SampleDropout",
    "Stack",
    "StackedBatchNorm",
    "StackedConvolution",
    "StackedGroupNorm",
    "StackedLayer",
    "StackedLayerNorm",
    "StackedLinear",
    "StackedPReLU",
    "SummedTransforms",
    "TemplateBank",
    "TemplateLayer",
    "TemplateMembers",
    "Tile",
    "Turn",
    "exits_in_turn",
    "mean_over_positions",
]
