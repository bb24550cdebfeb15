"""One image file to pixels: what is done with every mode, and which errors mean that a file is bad.

Rules: 16 bits become 8 (the high byte); transparency is laid over white; palettes and CMYK become RGB; grey stays grey
where the set has one channel and is repeated where it has three. Orientation tags are not applied, as in the papers'
loaders.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, final

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from motet.errors import InputError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})

T = TypeVar("T")

Box = tuple[float, float, float, float]
"""Left, upper, right, lower, in pixels."""

_GREY = {"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N"}


class BadImageError(Exception):
    """An image file that cannot be read; the message says why."""


@final
@dataclass(frozen=True)
class Header:
    """What an image file says of itself before its pixels."""

    width: int
    height: int
    grey: bool


def read_header(path: Path) -> Header:
    """Size and colours, without decoding. Raises `BadImageError`."""
    return _with_image(path, lambda image: Header(image.width, image.height, image.mode in _GREY))


def decode(
    path: Path, *, size: int | tuple[int, int], channels: int, box: Callable[[int, int], Box] | None = None
) -> UInt8[Tensor, "channels height width"]:
    """The image, or its part `box(width, height)`, brought to the size with antialiasing.

    An image (or part) that has the size already keeps its pixels exactly.

    Raises:
        BadImageError: if it cannot be read, or is cut short.
    """
    height, width = (size, size) if isinstance(size, int) else size

    def read(image: Any) -> Tensor:
        from PIL import Image

        part = box(*image.size) if box else (0.0, 0.0, float(image.width), float(image.height))
        full = image.size
        if image.format == "JPEG":
            # JPEG can be decoded at a half, a quarter or an eighth: fewer pixels to make, and to throw away. Twice the
            # pixels that are wanted are left, for the resizing to be that of the whole image.
            scale = min((part[2] - part[0]) / width, (part[3] - part[1]) / height) / 2
            if scale >= 2:
                image.draft(None, (int(full[0] / scale), int(full[1] / scale)))
                taken = round(full[0] / image.width)
                part = (part[0] / taken, part[1] / taken, part[2] / taken, part[3] / taken)
        image.load()
        plain = _plain(image, channels)
        if plain.size != (width, height) or part != (0.0, 0.0, float(width), float(height)):
            right, lower = min(part[2], float(plain.width)), min(part[3], float(plain.height))
            plain = plain.resize((width, height), Image.Resampling.BICUBIC, box=(part[0], part[1], right, lower))
        pixels = torch.from_numpy(np.array(plain, dtype=np.uint8))  # a copy, which may be written to
        return pixels.unsqueeze(0) if channels == 1 else pixels.permute(2, 0, 1)

    return _with_image(path, read)


def centre(share: float = 1.0) -> Callable[[int, int], Box]:
    """The square in the middle whose side is `share` of the shorter side."""

    def box(width: int, height: int) -> Box:
        side = share * min(width, height)
        left, upper = (width - side) / 2, (height - side) / 2
        return (left, upper, left + side, upper + side)

    return box


def _with_image(path: Path, read: Callable[[Any], T]) -> T:
    from PIL import Image, UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            # A picture with a broken tag or of very many pixels is read all the same.
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                return read(image)
    except (OSError, SyntaxError, ValueError, EOFError, Image.DecompressionBombError) as error:
        reason = "cannot be identified" if isinstance(error, UnidentifiedImageError) else str(error)
        raise BadImageError(reason) from error


def _plain(image: Any, channels: int) -> Any:
    """The image in mode L or RGB."""
    from PIL import Image

    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.size and (values.min() < 0 or values.max() >= 2**16):
            raise ValueError("pixels of more than 16 bits")
        image = Image.fromarray((values >> 8).astype(np.uint8))
    elif image.mode == "F":
        raise ValueError("floating-point pixels, whose scale is not known")
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        over = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", over.size, (255, 255, 255, 255)), over)
    return image.convert("L" if channels == 1 else "RGB")


def bad_images_error(bad: list[tuple[Path, str]], of: int) -> InputError:
    """What is said of files that cannot be read."""
    named = "; ".join(f"{path} ({reason})" for path, reason in bad[:3]) + ("; ..." if len(bad) > 3 else "")
    return InputError(
        "every image must be readable",
        got=f"{len(bad)} of {of:,} that cannot be read: {named}",
        fix="Mend or remove them, or pass --skip-bad (skip_bad=True) to leave them out",
    )
