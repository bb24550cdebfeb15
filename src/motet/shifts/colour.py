"""Brightness, contrast and saturation.

Constants as in `motet.shifts.noise`. Brightness and saturation are changed in the HSV cone. With hue H kept, a colour
is ``V (1 - S f(H))`` in each channel, so that both follow without computing H. A grey image with one channel is treated
as a colour image with three equal channels, and the result is converted to grey.
"""

import torch
from jaxtyping import UInt8
from torch import Tensor

from motet.shifts._pixels import grey, pixels, unit
from motet.shifts.draws import Draws

BRIGHTNESS_CIFAR = ((0.05,), (0.1,), (0.15,), (0.2,), (0.3,))
BRIGHTNESS_IMAGENET = ((0.1,), (0.2,), (0.3,), (0.4,), (0.5,))
CONTRAST_CIFAR = ((0.75,), (0.5,), (0.4,), (0.3,), (0.15,))
CONTRAST_IMAGENET = ((0.4,), (0.3,), (0.2,), (0.1,), (0.05,))
SATURATE_CIFAR = ((0.3, 0.0), (0.1, 0.0), (1.5, 0.0), (2.0, 0.1), (2.5, 0.2))
SATURATE_IMAGENET = ((0.3, 0.0), (0.1, 0.0), (2.0, 0.0), (5.0, 0.1), (20.0, 0.2))

Images = UInt8[Tensor, "batch channel height width"]


def brightness(images: Images, draws: Draws, more: float) -> Images:
    """Add `more` to V, the largest channel; hue and saturation do not change. Black, which has neither, becomes grey.

    Args:
        images: images in uint8.
        draws: not used.
        more: the amount, on the scale from 0 to 1.
    """
    x = unit(images)
    value = x.amax(dim=1, keepdim=True)
    brighter = (value + more).clamp_(max=1.0)
    return pixels(torch.where(value > 0, x * (brighter / value), brighter))


def contrast(images: Images, draws: Draws, factor: float) -> Images:
    """Multiply the differences from each channel's mean by `factor`.

    Args:
        images: images in uint8.
        draws: not used.
        factor: the factor.
    """
    x = unit(images)
    mean = x.mean(dim=(2, 3), keepdim=True)
    return pixels((x - mean).mul_(factor).add_(mean))


def saturate(images: Images, draws: Draws, factor: float, more: float) -> Images:
    """Change the saturation S to ``factor S + more``, clipped to 0..1. Grey pixels have hue 0, so `more` makes them
    red.

    Args:
        images: images in uint8.
        draws: not used.
        factor: the factor.
        more: the amount, on the scale from 0 to 1.
    """
    x = unit(images).expand(-1, 3, -1, -1)
    value = x.amax(dim=1, keepdim=True)
    chroma = value - x.amin(dim=1, keepdim=True)
    old = torch.where(value > 0, chroma / value, 0.0)
    new = (old * factor).add_(more).clamp_(max=1.0)
    red = torch.tensor([0.0, 1.0, 1.0], device=x.device).view(3, 1, 1)
    lacking = torch.where(old > 0, (value - x) / chroma, red)  # f(H): how much of the saturation each channel lacks
    changed = value * (1 - new * lacking)
    return pixels(grey(changed) if images.shape[1] == 1 else changed)
