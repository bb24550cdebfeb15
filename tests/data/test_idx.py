"""IDX files: what they hold, and every way in which they can be damaged."""

import gzip
import math
import struct
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import torch

from motet.data import read_idx
from motet.errors import InputError


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "array.idx"


def test_values_and_shape(path: Path, idx_bytes: Any) -> None:
    path.write_bytes(idx_bytes((2, 3), bytes([0, 1, 2, 253, 254, 255])))
    array = read_idx(path)
    assert array.dtype == torch.uint8
    assert array.tolist() == [[0, 1, 2], [253, 254, 255]]
    array.add_(1)  # writable


@pytest.mark.parametrize("name", ["array.idx.gz", "unpacked-or-not"])
def test_gzip_is_told_by_content_not_name(tmp_path: Path, idx_bytes: Any, name: str) -> None:
    path = tmp_path / name
    for content in (gzip.compress(idx_bytes((3,), b"abc")), idx_bytes((3,), b"abc")):
        path.write_bytes(content)
        assert read_idx(path).tolist() == [97, 98, 99]


@pytest.mark.parametrize(
    ("code", "form", "values", "dtype"),
    [
        (0x09, "b", [-128, 127], torch.int8),
        (0x0B, "h", [-300, 300], torch.int16),
        (0x0C, "i", [-70_000, 70_000], torch.int32),
        (0x0D, "f", [-0.5, math.pi], torch.float32),
        (0x0E, "d", [-0.5, math.pi], torch.float64),
    ],
)
def test_big_endian_values_of_every_type(
    path: Path, idx_bytes: Any, *, code: int, form: str, values: list[float], dtype: torch.dtype
) -> None:
    path.write_bytes(idx_bytes((2,), struct.pack(f">2{form}", *values), code=code))
    array = read_idx(path)
    assert array.dtype == dtype
    assert torch.equal(array, torch.tensor(values, dtype=dtype))


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    ("shape", "code", "payload", "match"),
    [
        ((3,), 0x08, b"ab", r"must have 11 bytes for its shape \(3,\), but got 10 bytes"),
        ((3,), 0x08, b"", "must have 11 bytes .* but got 8 bytes"),
        ((3,), 0x08, b"abcd", "must have 11 bytes .* but got (12 bytes|more)"),
        ((2,), 0x0C, b"abcdefg", "must have 16 bytes .* but got 15 bytes"),
        ((3,), 0x0A, b"abc", "known IDX type .* but got type code 0x0a"),
        ((), 0x08, b"a", "must begin as an IDX file.*00 00 08 00"),
        ((0, 2**32 - 1, 2**32 - 1, 2**32 - 1), 0x08, b"", "must hold at least one value"),
        ((2**32 - 1,), 0x08, b"ab", "must have 4294967303 bytes"),
        ((2**32 - 1,) * 255, 0x0E, b"ab", "must have .* bytes"),
    ],
)
def test_headers_that_do_not_fit_the_file(
    path: Path, idx_bytes: Any, *, zipped: bool, shape: tuple[int, ...], code: int, payload: bytes, match: str
) -> None:
    content = idx_bytes(shape, payload, code=code)
    path.write_bytes(gzip.compress(content) if zipped else content)
    with pytest.raises(InputError, match=match) as caught:
        read_idx(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"", "must begin as an IDX file"),
        (b"\0\0\x08", "must begin as an IDX file.*00 00 08"),
        (b"<!DOCTYPE html>", "must begin as an IDX file.*3c 21 44 4f"),
        (b"\x01\0\x08\x01\0\0\0\x01a", "must begin as an IDX file"),
        (b"\0\0\x08\x03\0\0\0\x01\0\0", "must have 16 bytes of header, but got 10 bytes"),
    ],
)
def test_files_that_are_no_idx_files(path: Path, zipped: bool, content: bytes, match: str) -> None:
    path.write_bytes(gzip.compress(content) if zipped else content)
    with pytest.raises(InputError, match=match):
        read_idx(path)


def test_a_damaged_gzip_stream(path: Path, idx_bytes: Any) -> None:
    whole = gzip.compress(idx_bytes((5_000,), bytes(i * i % 251 for i in range(5_000))))
    flipped = bytearray(whole)
    flipped[-6] ^= 0xFF  # the checksum
    garbled = bytearray(whole)
    garbled[30:60] = bytes(30)
    for content in (whole[:-20], whole[:12], whole[:3], bytes(flipped), bytes(garbled), whole + b"rubbish"):
        path.write_bytes(content)
        with pytest.raises(InputError, match="must be a whole gzip file"):
            read_idx(path)


def test_a_header_cannot_make_the_reader_reserve_memory(path: Path, idx_bytes: Any) -> None:
    # Announces 200 MB, which 1 MiB of gzip could unpack to; holds 64 bytes, and then noise that is no gzip.
    path.write_bytes(gzip.compress(idx_bytes((200_000_000,), bytes(64))) + bytes(1 << 20))
    tracemalloc.start()
    with pytest.raises(InputError):
        read_idx(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6


def test_unpacking_stops_after_the_announced_length(path: Path, idx_bytes: Any) -> None:
    path.write_bytes(gzip.compress(idx_bytes((10,), bytes(100_000_000)), compresslevel=1))
    tracemalloc.start()
    with pytest.raises(InputError, match=r"must have 18 bytes .* but got more"):
        read_idx(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6


def test_a_missing_file_and_a_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "nothing", tmp_path):
        with pytest.raises(InputError, match="there must be an IDX file at"):
            read_idx(path)


def test_an_unreadable_file(path: Path, idx_bytes: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path.write_bytes(idx_bytes((1,)))

    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputError, match=r"must be readable, but got .*Permission denied"):
        read_idx(path)
