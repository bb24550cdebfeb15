"""Torch layers with a member axis. Members are folded into the rows, member-major: ``(M B)``."""

from motet.layers._layout import Layout
from motet.layers._types import Convolution, Ordinary
from motet.layers.adapter import Adapter, mean_over_positions
from motet.layers.depth_weights import DepthWeights
from motet.layers.exits import Exits
from motet.layers.fast_weights import FastWeights
from motet.layers.member_batch_norm import MemberBatchNorm
from motet.layers.members import Members
from motet.layers.multi_head import MultiHead
from motet.layers.multi_input import ConcatenatedInput, MultiInput
from motet.layers.multiplexed import LearnedTransforms, Multiplexed, SummedTransforms

__all__ = [
    "Adapter",
    "ConcatenatedInput",
    "Convolution",
    "DepthWeights",
    "Exits",
    "FastWeights",
    "Layout",
    "LearnedTransforms",
    "MemberBatchNorm",
    "Members",
    "MultiHead",
    "MultiInput",
    "Multiplexed",
    "Ordinary",
    "SummedTransforms",
    "mean_over_positions",
]
