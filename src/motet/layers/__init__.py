"""Torch layers with a member axis. Members are folded into the rows, member-major: ``(M B)``."""

from motet.layers.attention import Attention
from motet.layers.base import MemberLayer
from motet.layers.branches import Branches, Tile
from motet.layers.exits.adapter import Adapter, mean_over_positions
from motet.layers.exits.depth_weights import DepthWeights
from motet.layers.exits.exit_positions import ExitPositions
from motet.layers.exits.exits import Exits
from motet.layers.exits.stepwise import exits_stepwise
from motet.layers.fast_transposed import FastTransposed
from motet.layers.fast_weights import FastWeights
from motet.layers.inputs_in_turn import InputsInTurn, ReadsInTurn
from motet.layers.layout import ActiveMember, Layout
from motet.layers.member_batch_norm import MemberBatchNorm
from motet.layers.multi_embedding import MultiEmbedding
from motet.layers.multi_head import HeadsInChannels, MultiHead
from motet.layers.multi_input import ConcatenatedInput, MultiInput
from motet.layers.multiplexed import LearnedTransforms, Multiplexed, SummedTransforms
from motet.layers.multiplexed_embedding import MultiplexedEmbedding
from motet.layers.ordinary import Convolution, Ordinary
from motet.layers.parameter_roles import ParameterRoles
from motet.layers.recurrent import RECURRENT, FastRecurrent, Recurrent
from motet.layers.sample_dropout import MASKS, Masks, SampleDropout
from motet.layers.separate_networks import SeparateNetworks
from motet.layers.stacked.layers import StackedConvolution, StackedLayer, StackedLinear
from motet.layers.stacked.norms import StackedBatchNorm, StackedGroupNorm, StackedLayerNorm, StackedPReLU
from motet.layers.stacked.stack import MAX_ENTRIES_AT_ONCE, Stack
from motet.layers.templates.bank import Bank, TemplateBank
from motet.layers.templates.blob import Filling, ParameterBlob
from motet.layers.templates.layer import TemplateLayer, TemplateMembers
from motet.layers.transposed import TRANSPOSED, Transposed
from motet.layers.wrapped import WrappedLayer

__all__ = [
    "MASKS",
    "MAX_ENTRIES_AT_ONCE",
    "RECURRENT",
    "TRANSPOSED",
    "ActiveMember",
    "Adapter",
    "Attention",
    "Bank",
    "Branches",
    "ConcatenatedInput",
    "Convolution",
    "DepthWeights",
    "ExitPositions",
    "Exits",
    "FastRecurrent",
    "FastTransposed",
    "FastWeights",
    "Filling",
    "HeadsInChannels",
    "InputsInTurn",
    "Layout",
    "LearnedTransforms",
    "Masks",
    "MemberBatchNorm",
    "MemberLayer",
    "MultiEmbedding",
    "MultiHead",
    "MultiInput",
    "Multiplexed",
    "MultiplexedEmbedding",
    "Ordinary",
    "ParameterBlob",
    "ParameterRoles",
    "ReadsInTurn",
    "Recurrent",
    "SampleDropout",
    "SeparateNetworks",
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
    "Transposed",
    "WrappedLayer",
    "exits_stepwise",
    "mean_over_positions",
]
