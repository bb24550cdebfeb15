"""A bound on the memory of images that are decoded at the same time."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, final

DECODING_BYTES = 640 * 2**20
"""The memory that images may take while they are decoded, in all threads. A larger image is decoded on its own."""

# Bytes per pixel of Pillow's own memory by mode; four for all others.
_BYTES = {"1": 1, "L": 1, "P": 1, "I;16": 2, "I;16B": 2, "I;16L": 2, "I;16N": 2}
# Bytes per pixel that a decoder holds in addition, measured: these decode a whole image before they return it.
_DECODER_BYTES = {"WEBP": 12, "AVIF": 6, "JPEG2000": 16, "TIFF": 4}
_PROGRESSIVE_BYTES = 6
# Transparent pixels are composited over white: copies as RGBA and as RGB, the white, and the result.
_CONVERSION_BYTES = 12


def available_cores() -> int:
    """Return the number of processor cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return max(1, len(os.sched_getaffinity(0)))
    return os.cpu_count() or 1


def decoding_bytes(image: Any, full_size: tuple[int, int], *, copied: bool) -> int:
    """Return about how much memory decoding an opened image takes.

    Args:
        image: a Pillow image that is not decoded yet, at the size at which it will be.
        full_size: its width and height in the file. A progressive JPEG holds all its coefficients.
        copied: whether it is converted to another mode as a whole, if its mode is neither L nor RGB.
    """
    pixels: int = image.width * image.height
    needed = pixels * (_BYTES.get(image.mode, 4) + _DECODER_BYTES.get(image.format, 0))
    if copied and (image.mode not in ("L", "RGB") or "transparency" in image.info):
        needed += pixels * _CONVERSION_BYTES
    if image.format == "JPEG" and image.info.get("progressive"):
        needed += full_size[0] * full_size[1] * _PROGRESSIVE_BYTES
    return needed


@final
class MemoryBound:
    """Blocks threads while the memory that they request together would exceed a limit.

    Args:
        limit: bytes. A request for more is granted when there is no other.
    """

    def __init__(self, limit: int) -> None:
        self._limit, self._used = limit, 0
        self._changed = threading.Condition()

    @contextmanager
    def hold(self, needed: int) -> Iterator[None]:
        """Wait until `needed` bytes are free, and hold them in this context. Contexts must not be nested."""
        needed = min(needed, self._limit)
        with self._changed:
            self._changed.wait_for(lambda: self._used + needed <= self._limit)
            self._used += needed
        try:
            yield
        finally:
            with self._changed:
                self._used -= needed
                self._changed.notify_all()


decoding = MemoryBound(DECODING_BYTES)
"""The bound of all images that this process decodes."""
