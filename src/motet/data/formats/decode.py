"""Decode one image file to pixels, for every colour mode, and detect bad files.

Rules: 16 bits become 8 (the high byte); transparency is laid over white; palettes and CMYK become RGB; grey stays grey
if the data set has one channel and is repeated if it has three. Orientation tags are applied, so that photos are
upright; sizes and parts are those of the upright image. Only the first frame of an animation is used.
"""

import stat
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, final

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from motet.data.formats.memory import decoding, decoding_bytes
from motet.errors import InputError

_JPEG = (".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".jfi", ".pjpeg", ".pjp")
_JPEG_2000 = (".jp2", ".j2k", ".jpf", ".jpx", ".j2c", ".jpc")
_AVIF = (".avif", ".avifs")
_OTHERS = (".png", ".apng", ".bmp", ".dib", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".tga")
IMAGE_SUFFIXES = frozenset((*_JPEG, *_JPEG_2000, *_AVIF, *_OTHERS))
"""The suffixes of image files, in lower case."""

HUGE = 2**24
"""The number of pixels from which an image is reduced in steps of whole pixels before it is resized."""

_DECODERS = {**dict.fromkeys(_AVIF, ("avif", "AVIF")), **dict.fromkeys(_JPEG_2000, ("jpg_2000", "JPEG 2000"))}

T = TypeVar("T")

Box = tuple[float, float, float, float]
"""Left, upper, right, lower, in pixels."""

# TIFF is not among them, because Pillow already turns it upright.
_ORIENTED = {"JPEG", "MPO", "WEBP", "PNG"}
_ORIENTATION = 0x0112
_LAST = {**dict.fromkeys(_JPEG, b"\xff\xd9"), ".png": b"IEND\xaeB`\x82"}

_STRIP = 2**22  # pixels
_GREY = {"1", "L", "LA", "La", "I", "I;16", "I;16B", "I;16L", "I;16N"}


class BadImageError(Exception):
    """Raised for an image file that cannot be read; the message says why."""


@final
@dataclass(frozen=True)
class Header:
    """The properties of an image file that its header gives."""

    width: int
    height: int
    grey: bool


def read_header(path: Path) -> Header:
    """Return upright size and colours, without decoding. Raises `BadImageError`."""

    def read(image: Any) -> Header:
        width, height = _upright_size(image, _turn(image))
        return Header(width, height, image.mode in _GREY)

    return _with_image(path, read)


def check_whole(path: Path) -> None:
    """Check that a file is not cut short. It is decoded only if it does not end as its format requires.

    Raises:
        BadImageError: if it is cut short.
    """
    last = _LAST.get(path.suffix.lower())
    _check_regular(path)
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
    """Return the image, or a part of it, resized with antialiasing.

    An image (or part) that already has the size keeps its pixels exactly.

    Args:
        path: the file.
        size: the side of a square, or height and width.
        channels: 1 or 3.
        box: returns the part from width and height; the whole image if None.

    Raises:
        BadImageError: if it cannot be read, or is cut short.
    """
    height, width = (size, size) if isinstance(size, int) else size

    def read(image: Any) -> Tensor:
        turn = _turn(image)
        upright, full = _upright_size(image, turn), image.size
        part = box(*upright) if box else (0.0, 0.0, float(upright[0]), float(upright[1]))
        scale = min((part[2] - part[0]) / width, (part[3] - part[1]) / height) / 2
        if image.format == "JPEG" and scale >= 2:
            # JPEG can be decoded at a half, a quarter or an eighth of its size, which saves work. At least twice the
            # wanted size is decoded, so that resizing gives the same result as for the whole image.
            image.draft(None, (int(full[0] / scale), int(full[1] / scale)))
            part = _shrunk(part, round(full[0] / image.width))
        scale = min((part[2] - part[0]) / width, (part[3] - part[1]) / height) / 2
        factor = int(scale) if image.width * image.height >= HUGE and scale >= 2 else 1
        with decoding.hold(decoding_bytes(image, full, copied=factor == 1)):
            image.load()
            plain = _plain(image, channels) if factor == 1 else _reduced(image, channels, factor)
            part = _shrunk(part, factor)
            plain = plain if turn is None else plain.transpose(turn)
            if plain.size != (width, height) or part != (0.0, 0.0, float(width), float(height)):
                right, lower = min(part[2], float(plain.width)), min(part[3], float(plain.height))
                plain = plain.resize((width, height), _bicubic(), box=(part[0], part[1], right, lower))
        pixels = torch.from_numpy(np.array(plain, dtype=np.uint8))  # a copy, which can be written to
        return pixels.unsqueeze(0) if channels == 1 else pixels.permute(2, 0, 1)

    return _with_image(path, read)


def _bicubic() -> Any:
    from PIL import Image

    return Image.Resampling.BICUBIC


def _shrunk(part: Box, factor: int) -> Box:
    return (part[0] / factor, part[1] / factor, part[2] / factor, part[3] / factor)


def _reduced(image: Any, channels: int, factor: int) -> Any:
    """Return the image in mode L or RGB, with the mean of each square of `factor` pixels.

    It is converted strip by strip, because whole copies of a huge image in other modes would take several times its
    memory.
    """
    from PIL import Image

    size = (-(-image.width // factor), -(-image.height // factor))
    plain = Image.new("L" if channels == 1 else "RGB", size)
    rows = factor * max(1, _STRIP // (factor * image.width))
    for upper in range(0, image.height, rows):
        strip = image.crop((0, upper, image.width, min(upper + rows, image.height)))
        plain.paste(_plain(strip, channels).reduce(factor), (0, upper // factor))
    return plain


def centre(share: float = 1.0) -> Callable[[int, int], Box]:
    """Return the square in the middle whose side is `share` times the shorter side."""

    def box(width: int, height: int) -> Box:
        side = share * min(width, height)
        left, upper = (width - side) / 2, (height - side) / 2
        return (left, upper, left + side, upper + side)

    return box


def _with_image(path: Path, read: Callable[[Any], T]) -> T:
    from PIL import Image, UnidentifiedImageError

    _check_regular(path)
    try:
        with warnings.catch_warnings():
            # Images with a broken tag or very many pixels are read without a warning.
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                return read(image)
    except Image.DecompressionBombError as error:
        most = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        raise BadImageError(f"too large: more than {most:,} pixels; save it at a smaller size") from error
    except (OSError, SyntaxError, ValueError, EOFError) as error:
        reason = _unidentified(path) if isinstance(error, UnidentifiedImageError) else str(error)
        raise BadImageError(reason) from error


def _check_regular(path: Path) -> None:
    """Raise `BadImageError` for a pipe, a socket or a device, which may have no end or wait for ever."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        raise BadImageError(error.strerror or str(error)) from error
    if not stat.S_ISREG(mode):
        raise BadImageError("not a regular file")


def _unidentified(path: Path) -> str:
    from PIL import features

    name, shown = _DECODERS.get(path.suffix.lower(), ("", ""))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # for a name that this version of Pillow does not know
        if name and not features.check(name):
            return f"this installation of Pillow reads no {shown}; upgrade it, or convert the images to PNG"
    return "cannot be identified"


def _turn(image: Any) -> Any:
    """Return the transposition (a `PIL.Image.Transpose`) that turns the image upright, or None."""
    from PIL import Image

    # Pillow would decode a PNG to look for tags after the pixels.
    if image.format not in _ORIENTED or (image.format == "PNG" and "exif" not in image.info):
        return None
    try:
        tag = image.getexif().get(_ORIENTATION)
    except Exception:  # broken tags can raise any error; the pixels may still be good
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
    """Return the image in mode L or RGB."""
    from PIL import Image

    if image.mode.startswith("I"):
        values = np.asarray(image)
        if values.size and (values.min() < 0 or values.max() >= 2**16):
            raise ValueError("pixels of more than 16 bits")
        image = Image.fromarray((values >> 8).astype(np.uint8))
    elif image.mode == "F":
        raise ValueError("floating-point pixels, whose scale is unknown")
    if image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info:
        over = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", over.size, (255, 255, 255, 255)), over)
    mode = "L" if channels == 1 else "RGB"
    return image if image.mode == mode else image.convert(mode)  # which would copy it in any case


def bad_images_error(bad: list[tuple[Path, str]], of: int) -> InputError:
    """Return the error for files that cannot be read."""
    named = "; ".join(f"{path} ({reason})" for path, reason in bad[:3]) + ("; ..." if len(bad) > 3 else "")
    return InputError(
        "every image must be readable",
        got=f"{len(bad)} of {of:,} that cannot be read: {named}",
        fix="Repair or remove them, or pass --skip-bad (skip_bad=True) to leave them out",
    )
