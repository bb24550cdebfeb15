"""Initialisers that torch does not have."""

import math

from torch import Tensor, nn

# The standard deviation of a standard normal truncated to [-2, 2].
_TRUNCATED_STD = 0.87962566103423978


def he_normal_(weight: Tensor) -> Tensor:
    """Keras's ``he_normal``: a normal truncated at two deviations, whose variance after truncation is 2 / fan_in.

    Args:
        weight: ``(out, in, ...)``; it is changed in place and returned.
    """
    fan_in = weight[0].numel()
    std = math.sqrt(2 / fan_in) / _TRUNCATED_STD
    return nn.init.trunc_normal_(weight, std=std, a=-2 * std, b=2 * std)
