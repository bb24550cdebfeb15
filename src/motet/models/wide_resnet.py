"""Wide residual networks, as in the MIMO and BatchEnsemble papers.

Zagoruyko and Komodakis (2016, https://arxiv.org/abs/1605.07146) in the variant of uncertainty-baselines
[wide_resnet.py]: pre-activation blocks (norm, ReLU, convolution, twice), no dropout, no bias in convolutions, a stem
without norm, the stride in the first 3x3 of a block, and a 1x1 projection of the *raw* block input if the shape
changes.
"""

from collections.abc import Sequence
from typing import final

from torch import Tensor, nn

from motet.errors import InputError
from motet.models._init import he_normal_


@final
class WideBlock(nn.Module):
    """norm-ReLU-conv(stride)-norm-ReLU-conv, plus the input or its projection.

    Args:
        inputs: number of input channels.
        outputs: number of output channels.
        stride: the stride of the first convolution.
    """

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(inputs)
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.relu = nn.ReLU(inplace=True)
        changes = stride != 1 or inputs != outputs
        self.shortcut = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False) if changes else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """``(B, inputs, H, W)`` to ``(B, outputs, H / stride, W / stride)``."""
        h = self.conv1(self.relu(self.norm1(x)))
        h = self.conv2(self.relu(self.norm2(h)))
        out: Tensor = h + self.shortcut(x)
        return out


@final
class WideResNet(nn.Module):
    """A wide ResNet, see `wide_resnet`.

    Args:
        blocks: number of blocks in each group.
        widths: numbers of channels of the groups.
        num_classes: number of classes, or of targets in regression.
        in_channels: channels of the input.
    """

    def __init__(self, *, blocks: int, widths: Sequence[int], num_classes: int, in_channels: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(in_channels, 16, 3, padding=1, bias=False)
        inputs, groups = 16, []
        for width, stride in zip(widths, (1, 2, 2), strict=True):
            group = [WideBlock(inputs, width, stride), *(WideBlock(width, width, 1) for _ in range(blocks - 1))]
            groups.append(nn.Sequential(*group))
            inputs = width
        self.group1, self.group2, self.group3 = groups
        self.norm = nn.BatchNorm2d(inputs)
        self.relu = nn.ReLU(inplace=True)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(inputs, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                he_normal_(module.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, in_channels, H, W)`` to ``(B, num_classes)``."""
        h = self.group3(self.group2(self.group1(self.stem(x))))
        logits: Tensor = self.head(self.pool(self.relu(self.norm(h))).flatten(1))
        return logits


def wide_resnet(*, depth: int, width: int, num_classes: int, in_channels: int = 3) -> nn.Module:
    """WRN-depth-width: a 3x3 stem of 16 filters and three groups of ``(depth - 4) / 6`` blocks.

    **Difference from the reference:** the two strided 3x3 convolutions pad one pixel on each side, as usual in torch.
    TensorFlow's padding ``"SAME"``, in the reference, pads images of even size only on the right and at the bottom, so
    its filters read one pixel further to the right and further down. Weights of one do not fit the other exactly. Sizes
    and numbers of parameters are the same. (MixMo's authors also pad right and bottom, in torch.)

    Args:
        depth: 6 n + 4 layers, at least 10; 28 in the papers.
        width: multiplies the groups' 16, 32 and 64 filters; 10 in the papers.
        num_classes: number of classes, or of targets in regression.
        in_channels: channels of the input, ``(B, in_channels, H, W)``.

    Raises:
        InputError: if the depth is not 6 n + 4 or the width is below 1.

    >>> net = wide_resnet(depth=10, width=1, num_classes=10)
    >>> net(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 10])
    """
    if depth < 10 or (depth - 4) % 6:
        raise InputError(
            "the depth of a wide ResNet must be 6 n + 4 and at least 10",
            got=f"depth={depth}",
            fix=f"Pass depth={max(10, 6 * round((depth - 4) / 6) + 4)}, for example",
        )
    if width < 1:
        raise InputError("the width of a wide ResNet must be at least 1", got=f"width={width}", fix="Pass width=1")
    widths = [16 * width, 32 * width, 64 * width]
    return WideResNet(blocks=(depth - 4) // 6, widths=widths, num_classes=num_classes, in_channels=in_channels)
