"""From bytes to numbers from 0 to 1, and back as the original does it."""

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as OpenCV and Pillow turn colours grey
_SLACK = 2.0**-10


def unit(images_BCHW: UInt8[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
    """Pixels from 0 to 1, in float32."""
    return images_BCHW.to(torch.float32).div_(255)


def levels(values: Float[Tensor, "*axes"]) -> UInt8[Tensor, "*axes"]:
    """Numbers on the scale from 0 to 255, clipped and truncated to bytes as the original does.

    A thousandth of a level is added first: a value that is a whole number but for float32's rounding stays that
    number, on every device, instead of falling to the one below.
    """
    return (values + _SLACK).clamp_(0, 255).to(torch.uint8)


def pixels(unit_BCHW: Float[Tensor, "*axes"]) -> UInt8[Tensor, "*axes"]:
    """Numbers from 0 to 1 as bytes; see `levels`."""
    return (unit_BCHW * 255).add_(_SLACK).clamp_(0, 255).to(torch.uint8)


def grey(x_BCHW: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch 1 height width"]:
    """How bright colours look; a single channel is itself."""
    if x_BCHW.shape[1] == 1:
        return x_BCHW
    red, green, blue = x_BCHW.split(1, dim=1)
    bright: Tensor = red * _LUMA[0] + green * _LUMA[1] + blue * _LUMA[2]
    return bright


def colour(rgb: tuple[float, float, float], channels: int, like: Tensor) -> Float[Tensor, "channel 1 1"]:
    """A colour on the scale from 0 to 255, from 0 to 1, for 3 channels or, as its grey, for 1."""
    values = rgb if channels == 3 else (sum(w * v for w, v in zip(_LUMA, rgb, strict=True)),)
    return torch.tensor(values, dtype=like.dtype, device=like.device).view(-1, 1, 1) / 255
