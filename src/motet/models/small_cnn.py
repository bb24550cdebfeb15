"""The small convolutional network of MIMO's weight-space figures."""

from torch import nn

from motet.models._init import he_normal_


def small_cnn(*, num_classes: int, in_channels: int = 3, width: int = 1) -> nn.Module:
    """Three 3x3 convolutions of 16, 32 and 32 filters, each with a ReLU, then global average pooling and a head.

    MIMO, section 3.1, gives the filters. Pooling (2x2 after the first two) and the absence of normalisation are motet's
    choices, following the SmallCNN of Fort et al. (2019), to which the section refers.

    Args:
        num_classes: number of classes, or of targets in regression.
        in_channels: channels of the input, ``(B, in_channels, H, W)`` with H and W at least 4.
        width: multiplies the numbers of filters.

    >>> small_cnn(num_classes=10, in_channels=1)(torch.zeros(5, 1, 8, 8)).shape
    torch.Size([5, 10])
    """
    first, second, third = 16 * width, 32 * width, 32 * width
    network = nn.Sequential(
        nn.Conv2d(in_channels, first, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(first, second, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(second, third, 3, padding=1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(third, num_classes),
    )
    for module in network:
        if isinstance(module, nn.Conv2d | nn.Linear):
            he_normal_(module.weight)
            assert module.bias is not None
            nn.init.zeros_(module.bias)
    return network
