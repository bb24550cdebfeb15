"""A multilayer perceptron."""

import itertools
import math
from collections.abc import Sequence

from torch import nn


def mlp(*, input_shape: Sequence[int], num_classes: int, hidden: Sequence[int] = (128, 128)) -> nn.Module:
    """Flatten, then linear layers with ReLU between them; torch's default initialisation.

    Args:
        input_shape: shape of one input, without the batch axis.
        num_classes: number of classes, or of targets in regression.
        hidden: widths of the hidden layers; MIMO's regression example uses ``(32, 128)`` (section 2.1).

    >>> mlp(input_shape=(2,), num_classes=3, hidden=(4,))(torch.zeros(5, 2)).shape
    torch.Size([5, 3])
    """
    widths = [math.prod(input_shape), *hidden]
    layers: list[nn.Module] = [nn.Flatten()]
    for fan_in, fan_out in itertools.pairwise(widths):
        layers += [nn.Linear(fan_in, fan_out), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(widths[-1], num_classes))
