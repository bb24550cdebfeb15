"""The convolutional network of the joint training paper (Webb et al., section 4.2, table 3)."""

from torch import nn

from motet.errors import InputError


def vgg_cnn(*, num_classes: int, in_channels: int = 3, width: float = 1.0) -> nn.Module:
    """Five 3x3 convolutions in the style of VGG, each with a bias and a ReLU, then global average pooling and a head.

    Filters 32, 64, 64, 128, 128; strides 1, 2, 1, 2, 1; no padding and no normalisation. 279,050 parameters for ten
    classes, and 2,790,500 in the paper's ensembles of ten. Weights and biases are uniform in plus and minus ``1 /
    sqrt(fan_in)``, which is torch's own initialisation.

    Args:
        num_classes: number of classes, or of targets in regression.
        in_channels: channels of the input, ``(B, in_channels, H, W)`` with H and W at least 21.
        width: multiplies the numbers of filters, which must stay integers.

    Raises:
        InputError: if a number of filters would not be an integer.

    >>> vgg_cnn(num_classes=10)(torch.zeros(5, 3, 32, 32)).shape
    torch.Size([5, 10])
    """
    layers: list[nn.Module] = []
    inputs = in_channels
    for filters, stride in ((32, 1), (64, 2), (64, 1), (128, 2), (128, 1)):
        outputs = round(filters * width)
        if outputs < 1 or outputs != filters * width:
            raise InputError(
                "the width of vgg_cnn must give integer numbers of filters",
                got=f"width={width}, which gives {filters * width:g} filters instead of {filters}",
                fix="Pass width=0.5, 1.0 or 2.0, for example",
            )
        layers += [nn.Conv2d(inputs, outputs, 3, stride=stride), nn.ReLU()]
        inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, num_classes))
