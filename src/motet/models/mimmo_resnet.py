"""The residual network of MIMMO's experiments (appendix B), as determined by the parameter counts in its tables."""

from collections.abc import Sequence
from typing import final

from torch import Tensor, nn

from motet.errors import InputError

_EXPANSION = 4


@final
class Bottleneck(nn.Module):
    """1x1, 3x3 with the stride (ResNet v1.5), 1x1 convolution, each with batch norm; plus the input; then ReLU.

    Args:
        inputs: number of input channels.
        planes: a quarter of the number of output channels.
        width: multiplies the planes inside.
        stride: the stride of the 3x3 convolution.
        project: whether the input goes through a 1x1 convolution and batch norm before it is added.
    """

    def __init__(self, inputs: int, planes: int, *, width: int, stride: int, project: bool) -> None:
        super().__init__()
        inner, outputs = width * planes, _EXPANSION * planes
        self.conv1 = nn.Conv2d(inputs, inner, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride=stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, outputs, 1, bias=False)
        self.norm3 = nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut: nn.Module = nn.Identity()
        if project:
            convolution = nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)
            self.shortcut = nn.Sequential(convolution, nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """``(B, inputs, H, W)`` to ``(B, 4 planes, H / stride, W / stride)``."""
        h = self.relu(self.norm1(self.conv1(x)))
        h = self.relu(self.norm2(self.conv2(h)))
        out: Tensor = self.relu(self.norm3(self.conv3(h)) + self.shortcut(x))
        return out


@final
class MIMMOResNet(nn.Module):
    """See `mimmo_resnet`.

    Args:
        planes, blocks, width, num_classes, in_channels: see `mimmo_resnet`.
    """

    def __init__(
        self, *, planes: Sequence[int], blocks: Sequence[int], width: int, num_classes: int, in_channels: int
    ) -> None:
        super().__init__()
        channels = planes[0]
        self.stem = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.stages = len(planes)
        self.default_exits = tuple(f"stage{stage}" for stage in range(1, self.stages))  # see `motet.methods.EarlyExit`
        for stage, (plane, count) in enumerate(zip(planes, blocks, strict=True), start=1):
            parts = []
            for block in range(count):
                stride = 2 if stage > 1 and block == 0 else 1
                parts.append(Bottleneck(channels, plane, width=width, stride=stride, project=block == 0))
                channels = _EXPANSION * plane
            self.add_module(f"stage{stage}", nn.Sequential(*parts))
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.head = nn.Linear(channels, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        """``(B, in_channels, H, W)`` to ``(B, num_classes)``."""
        h = self.relu(self.norm(self.stem(x)))
        for stage in range(1, self.stages + 1):
            h = self.get_submodule(f"stage{stage}")(h)
        logits: Tensor = self.head(self.pool(h).flatten(1))
        return logits


def mimmo_resnet(
    *,
    num_classes: int,
    in_channels: int = 3,
    planes: Sequence[int] = (16, 32, 64, 128),
    blocks: Sequence[int] = (1, 2, 3, 1),
    width: int = 2,
) -> nn.Module:
    """A post-activation bottleneck ResNet (v1.5) with a 3x3 stem and no max-pool.

    The paper calls it a "WideResNet with (1, 2, 3, 1) layers, (16, 32, 64, 128) channels, expansion 4, base width 32,
    multiplier 2". The last two numbers mean twice as many channels inside each block: with that, and with
    post-activation blocks and a projection in the first block of every stage, it has the paper's 1.7563 million
    parameters for 100 classes. Torch's default initialisation. Its stages are called ``stage1``, ``stage2``, ...; its
    default exits are the paper's, after all stages but the last. The first of them predicts much worse than the rest.

    Args:
        num_classes: number of classes, or of targets in regression.
        in_channels: channels of the input, ``(B, in_channels, H, W)``.
        planes: a quarter of each stage's channels; the stem has ``planes[0]``. Doubled in figure 6.
        blocks: each stage's number of blocks; (2, 4, 6, 2) in figure 6.
        width: multiplies the planes inside a block.

    Raises:
        InputError: for no stage, different numbers of planes and blocks, and numbers below 1.

    >>> net = mimmo_resnet(num_classes=100)
    >>> sum(parameter.numel() for parameter in net.parameters())
    1756340
    """
    if len(planes) != len(blocks) or not planes:
        raise InputError(
            "planes and blocks must have one number for each stage",
            got=f"planes={tuple(planes)} and blocks={tuple(blocks)}",
            fix="Pass equally many of both",
        )
    if min(*planes, *blocks, width) < 1:
        raise InputError(
            "planes, blocks and width must be at least 1",
            got=f"planes={tuple(planes)}, blocks={tuple(blocks)}, width={width}",
            fix="Pass 1 or more",
        )
    return MIMMOResNet(planes=planes, blocks=blocks, width=width, num_classes=num_classes, in_channels=in_channels)
