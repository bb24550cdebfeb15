"""The IDX format: a header with a shape, then big-endian values. The header is checked before it is used."""

import gzip
import math
import zlib
from io import BufferedIOBase
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

from motet.errors import InputError

_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_GZIP = b"\x1f\x8b"
_DEFLATE_RATIO = 1032  # the best ratio of deflate: 258 bytes for two bits
_CHUNK = 1 << 20
_AGAIN = "Download the file again"


def read_idx(path: Path) -> Shaped[Tensor, "..."]:
    """Return the array in an IDX file, plain or gzipped, with the shape and type in its header.

    Whether the file is gzipped is determined from its first bytes, because browsers unpack downloads without renaming
    them. At most one byte more than the header announces is read or unpacked, and only after the announced size was
    checked against the file's length.

    Args:
        path: the file.

    Returns:
        A CPU tensor of uint8, int8, int16, int32, float32 or float64.

    Raises:
        InputError: if the file is missing or unreadable, does not begin like an IDX file, has an unsupported type code,
            is shorter or longer than announced, announces no values, or if its gzip stream is damaged.

    Source: the format is described at yann.lecun.com/exdb/mnist.
    """
    if not path.is_file():
        raise InputError(f"there must be an IDX file at {path}", got="no file there", fix="Check the path")
    try:
        with path.open("rb") as file:
            zipped = file.read(2) == _GZIP
            file.seek(0)
            size = path.stat().st_size
            if not zipped:
                return _read(path, file, length=size, longest=size)
            with gzip.GzipFile(fileobj=file) as unzipped:
                return _read(path, unzipped, length=None, longest=size * _DEFLATE_RATIO)
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"{path} must be a whole gzip file", got=f"a damaged one ({error})", fix=_AGAIN) from error
    except OSError as error:
        raise InputError(f"{path} must be readable", got=str(error), fix="Check the file's permissions") from error


def _read(path: Path, file: BufferedIOBase, *, length: int | None, longest: int) -> Tensor:
    """Return the values of an opened file.

    Args:
        path: the file, for errors.
        file: the unpacked bytes.
        length: the number of bytes, if known.
        longest: the largest possible number of bytes.
    """
    dtype, shape = _header(path, file)
    start, announced = 4 + 4 * len(shape), math.prod(shape) * dtype.itemsize
    expected = f"{start + announced} bytes for its shape {shape}"
    if length is not None and length != start + announced:
        raise _wrong_length(path, expected, f"{length} bytes")
    if start + announced > longest:
        raise _wrong_length(path, expected, f"a gzip file that cannot unpack to more than {longest} bytes")
    # One byte more than announced: it shows a file that is too long, and makes gzip verify its checksum at the end.
    values = _take(file, announced + 1)
    if len(values) < announced:
        raise _wrong_length(path, expected, f"{start + len(values)} bytes")
    if len(values) > announced:
        raise _wrong_length(path, expected, "more")
    native = np.frombuffer(values, dtype=dtype).astype(dtype.newbyteorder("="), copy=False)
    return torch.from_numpy(native).reshape(shape)


def _header(path: Path, file: BufferedIOBase) -> tuple[np.dtype[Any], tuple[int, ...]]:
    """Return the type of the values and the shape of the array: 4 bytes, and 4 bytes for each dimension."""
    magic = bytes(_take(file, 4))
    if len(magic) < 4 or magic[:2] != b"\0\0" or not magic[3]:
        raise InputError(
            f"{path} must begin as an IDX file: two zero bytes, a type code, and a number of dimensions of at least 1",
            got=f"the bytes {magic.hex(' ') or '(none)'}",
            fix=f"{_AGAIN}, and check that it is not a web page or another format",
        )
    _, _, code, dimensions = magic
    if code not in _TYPES:
        raise InputError(
            f"{path} must hold values of a known IDX type ({', '.join(f'0x{known:02x}' for known in _TYPES)})",
            got=f"type code 0x{code:02x}",
            fix=_AGAIN,
        )
    sizes = bytes(_take(file, 4 * dimensions))
    if len(sizes) < 4 * dimensions:
        raise _wrong_length(path, f"{4 + 4 * dimensions} bytes of header", f"{4 + len(sizes)} bytes")
    shape = tuple(int.from_bytes(sizes[at : at + 4], "big") for at in range(0, len(sizes), 4))
    if 0 in shape:
        raise InputError(f"{path} must hold at least one value", got=f"an array of shape {shape}", fix=_AGAIN)
    return np.dtype(_TYPES[code]), shape


def _take(file: BufferedIOBase, count: int) -> bytearray:
    """Return up to `count` bytes, read in pieces, because one large `read` would reserve memory for all of them
    at once.
    """
    taken = bytearray()
    while piece := file.read(min(_CHUNK, count - len(taken))):
        taken += piece
    return taken


def _wrong_length(path: Path, expected: str, actual: str) -> InputError:
    return InputError(f"{path} must have {expected}", got=actual, fix=f"{_AGAIN}: it is cut short or damaged")
