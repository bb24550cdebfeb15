"""Convert bytes to numbers from 0 to 1, and back as in the original programs."""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, the weights with which OpenCV and Pillow convert colours to grey
SLACK = 2.0**-10


def unit(images_BCHW: UInt8[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
    """Return pixels from 0 to 1, in float32."""
    return images_BCHW.to(torch.float32).div_(255)


def levels(values: Float[Tensor, "*axes"]) -> UInt8[Tensor, "*axes"]:
    """Return numbers on the scale from 0 to 255 as bytes, clipped and truncated as in the original.

    A thousandth of a level is added first, so that a value that is an integer up to float32's rounding keeps that
    integer on every device, instead of becoming the one below.
    """
    return (values + SLACK).clamp_(0, 255).to(torch.uint8)


def pixels(unit_BCHW: Float[Tensor, "*axes"]) -> UInt8[Tensor, "*axes"]:
    """Return numbers from 0 to 1 as bytes; see `levels`."""
    return (unit_BCHW * 255).add_(SLACK).clamp_(0, 255).to(torch.uint8)


def grey(x_BCHW: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch 1 height width"]:
    """Return the brightness of colours; a single channel does not change."""
    if x_BCHW.shape[1] == 1:
        return x_BCHW
    red, green, blue = x_BCHW.split(1, dim=1)
    bright: Tensor = red * _LUMA[0] + green * _LUMA[1] + blue * _LUMA[2]
    return bright


def colour(rgb: tuple[float, float, float], channels: int, like: Tensor) -> Float[Tensor, "channel 1 1"]:
    """Return a colour on the scale from 0 to 1, or its grey value for one channel.

    Args:
        rgb: the colour on the scale from 0 to 255.
        channels: 1 or 3.
        like: a tensor with the device and dtype to use.
    """
    values = rgb if channels == 3 else (sum(w * v for w, v in zip(_LUMA, rgb, strict=True)),)
    return torch.tensor(values, dtype=like.dtype, device=like.device).view(-1, 1, 1) / 255
