"""DenseNet-BC for small images (Huang et al. 2017, https://arxiv.org/abs/1608.06993), as in the joint training paper.

The variant of Amos and Kolter (2017), on which the paper builds: a 3x3 stem of ``2 growth`` filters without a norm,
three dense blocks of ``(depth - 4) / 6`` bottleneck layers, and transitions between them that halve the channels.
"""

import math
from collections.abc import Iterator
from typing import final

import torch
from torch import Tensor, nn

from motet.errors import InputError


@final
class DenseLayer(nn.Module):
    """norm-ReLU-conv 1x1 to ``4 growth`` channels, norm-ReLU-conv 3x3 to `growth`, concatenated to the input."""

    def __init__(self, inputs: int, growth: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, 4 * growth, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(4 * growth)
        self.conv2 = nn.Conv2d(4 * growth, growth, 3, padding=1, bias=False)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, inputs, H, W)`` to ``(B, inputs + growth, H, W)``."""
        h = self.conv1(self.relu(self.norm1(x)))
        return torch.cat([x, self.conv2(self.relu(self.norm2(h)))], dim=1)


def densenet_bc(*, depth: int, growth: int, num_classes: int, in_channels: int = 3) -> nn.Module:
    """DenseNet-BC-depth-growth, compression 0.5.

    Convolutions are initialised with N(0, 2 / (k^2 C_out)); the head's bias with zero and its weight by torch. The
    paper's ensembles on CIFAR-100 (table 4) are 4 of 100-12, 8 of 82-8 and 16 of 64-6: 3,200,128, 2,132,448 and
    1,685,056 parameters.

    Args:
        depth: 6 n + 4 layers, at least 10.
        growth: the number of channels that a layer adds, k.
        num_classes: number of classes, or of targets in regression.
        in_channels: channels of the input, ``(B, in_channels, H, W)`` with H and W at least 4.

    Raises:
        InputError: if the depth is not 6 n + 4 or the growth rate is below 1.

    >>> densenet_bc(depth=10, growth=4, num_classes=10)(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """
    if depth < 10 or (depth - 4) % 6:
        raise InputError(
            "the depth of a DenseNet-BC must be 6 n + 4 and at least 10",
            got=f"depth={depth}",
            fix=f"Pass depth={max(10, 6 * round((depth - 4) / 6) + 4)}, for example",
        )
    if growth < 1:
        raise InputError("the growth rate of a DenseNet-BC must be at least 1", got=f"growth={growth}", fix="Pass 12")
    network = nn.Sequential(*_layers((depth - 4) // 6, growth, num_classes, in_channels))
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            fan_out = module.out_channels * module.kernel_size[0] ** 2
            nn.init.normal_(module.weight, std=math.sqrt(2 / fan_out))
        elif isinstance(module, nn.Linear):
            nn.init.zeros_(module.bias)
    return network


def _layers(layers: int, growth: int, num_classes: int, in_channels: int) -> Iterator[nn.Module]:
    channels = 2 * growth
    yield nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
    for block in range(3):
        yield nn.Sequential(*(DenseLayer(channels + index * growth, growth) for index in range(layers)))
        channels += layers * growth
        yield from (nn.BatchNorm2d(channels), nn.ReLU(inplace=True))
        if block < 2:
            yield from (nn.Conv2d(channels, channels // 2, 1, bias=False), nn.AvgPool2d(2))
            channels //= 2
    yield from (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, num_classes))
