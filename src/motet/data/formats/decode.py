"""One image file to pixels: what is done with every mode, and which errors mean that a file is bad.

Rules: 16 bits become 8 (the high byte); transparency is laid over white; palettes and CMYK become RGB; grey stays grey
where the set has one channel and is repeated where it has three. Orientation tags are applied, so that photos stand
upright as their owners see them; sizes and parts are those of the upright image. Of an animation the first picture is
taken.
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

# TIFF is not among them: Pillow turns it upright by itself.
_ORIENTED = {"JPEG", "MPO", "WEBP", "PNG"}
_ORIENTATION = 0x0112
_LAST = {".jpg": b"\xff\xd9", ".jpeg": b"\xff\xd9", ".jpe": b"\xff\xd9", ".png": b"IEND\xaeB`\x82"}

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
    """Size, upright, and colours, without decoding. Raises `BadImageError`."""

    def read(image: Any) -> Header:
        width, height = _upright_size(image, _turn(image))
        return Header(width, height, image.mode in _GREY)

    return _with_image(path, read)


def check_whole(path: Path) -> None:
    """Raise `BadImageError` for a file that is cut short. Decodes it only if it does not end as its format does."""
    last = _LAST.get(path.suffix.lower())
    try:
        with path.open("rb") as file:
            file.seek(-min(16, path.stat().st_size), 2)
            if last is not None and file.read().endswith(last):
                return
    except OSError as error:
        raise BadImageError(str(error)) from error
    decode(path, size=8, channels=1)


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

        turn = _turn(image)
        upright, full = _upright_size(image, turn), image.size
        part = box(*upright) if box else (0.0, 0.0, float(upright[0]), float(upright[1]))
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
        plain = plain if turn is None else plain.transpose(turn)
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


def _turn(image: Any) -> Any:
    """What turns the image upright (a `PIL.Image.Transpose`), or None."""
    from PIL import Image

    # Pillow would decode a PNG to look for tags behind the pixels.
    if image.format not in _ORIENTED or (image.format == "PNG" and "exif" not in image.info):
        return None
    try:
        tag = image.getexif().get(_ORIENTATION)
    except Exception:  # broken tags can raise anything; the pixels may be good
        return None
    way = Image.Transpose
    turns = (way.FLIP_LEFT_RIGHT, way.ROTATE_180, way.FLIP_TOP_BOTTOM, way.TRANSPOSE)
    return dict(enumerate((*turns, way.ROTATE_270, way.TRANSVERSE, way.ROTATE_90), start=2)).get(tag)


def _upright_size(image: Any, turn: Any) -> tuple[int, int]:
    from PIL import Image

    way = Image.Transpose
    aside = turn in (way.TRANSPOSE, way.ROTATE_270, way.TRANSVERSE, way.ROTATE_90)
    return (image.height, image.width) if aside else (image.width, image.height)


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
