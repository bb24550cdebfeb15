"""Torch layers with a member axis. Members are folded into the rows, member-major: ``(M B)``."""

from motet.layers._layout import Layout
from motet.layers._types import Convolution, Ordinary
from motet.layers.depth_weights import DepthWeights
from motet.layers.exits import Exits
from motet.layers.members import Members
from motet.layers.multi_head import MultiHead
from motet.layers.multi_input import ConcatenatedInput, MultiInput
from motet.layers.multiplexed import LearnedTransforms, Multiplexed, SummedTransforms

__all__ = [
    "ConcatenatedInput",
    "Convolution",
    "DepthWeights",
    "Exits",
    "Layout",
    "LearnedTransforms",
    "Members",
    "MultiHead",
    "MultiInput",
    "Multiplexed",
    "Ordinary",
    "SummedTransforms",
]
