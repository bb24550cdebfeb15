"""Read text files in the encodings and compressions in which tables arrive."""

import bz2
import codecs
import gzip
import io
import lzma
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

from motet.errors import InputError

COMPRESSIONS = (".gz", ".bz2", ".xz", ".zip")
"""Suffixes of compressed files; a .zip file must contain a single file."""

_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # begins like UTF-16, so it comes first
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def read_text(path: Path, notes: list[str]) -> str:
    r"""Return the text of a file, decompressed and decoded, with ``\n`` for each line break.

    Args:
        path: the file. The suffixes .gz, .bz2, .xz and .zip mean a compressed one.
        notes: gets a note if the encoding was guessed.

    Raises:
        InputError: if the file cannot be decompressed, or is not text.
    """
    content = _decompressed(path)
    text = _decoded(path, content, notes)
    if "\0" in text:
        raise InputError(f"{path} must be text", got="null characters", fix="Save it as CSV, in UTF-8")
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _decompressed(path: Path) -> bytes:
    content = path.read_bytes()
    decompress = _DECOMPRESS.get(path.suffix.lower())
    if decompress is None:
        return content
    try:
        return decompress(content)
    except (OSError, EOFError, ValueError, lzma.LZMAError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(
            f"{path} must be a complete {path.suffix} file",
            got=str(error).rstrip(".") or type(error).__name__,
            fix="Compress or download it again, or unpack it",
        ) from error


def _unzipped(content: bytes) -> bytes:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        names = [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX/")]
        if len(names) != 1:
            raise ValueError(f"{len(names)} files in it instead of one")
        return archive.read(names[0])


_DECOMPRESS: Mapping[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.decompress,
    ".bz2": bz2.decompress,
    ".xz": lzma.decompress,
    ".zip": _unzipped,
}


def _decoded(path: Path, content: bytes, notes: list[str]) -> str:
    encoding = next((name for mark, name in _BYTE_ORDER_MARKS if content.startswith(mark)), None)
    if encoding is None and b"\0" in content[:1000]:
        # UTF-16 without its mark: in Latin text every second byte is zero.
        encoding = "utf-16-le" if content[1:2] == b"\0" else "utf-16-be"
    try:
        return content.decode(encoding or "utf-8")
    except UnicodeDecodeError as error:
        if encoding is None:
            try:
                text = content.decode("cp1252")
            except UnicodeDecodeError:
                pass
            else:
                notes.append("read as Windows-1252 (cp1252), because it is not UTF-8")
                return text
        raise InputError(
            f"{path} must be text in UTF-8", got=f"{error.reason} at byte {error.start}", fix="Save it as UTF-8"
        ) from error
