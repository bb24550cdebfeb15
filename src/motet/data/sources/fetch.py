"""Download a data set's official files, with checksums and resuming, and unpack archives."""

import os
import shutil
import sys
import tarfile
import uuid
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, final

from motet.errors import InputError

_CHUNK = 1 << 20
_PIECE = 1 << 16  # the most that an interrupted download loses
_TIMEOUT = 20.0


@final
@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """A file and its official addresses.

    Attributes:
        name: its name on disk.
        urls: addresses, tried in turn; none for files that need a registration.
        checksum: the checksum of its content, ``md5:...`` or ``sha256:...``.
    """

    name: str
    urls: tuple[str, ...]
    checksum: str


def cache_folder() -> Path:
    """Return the folder for downloads: ``$XDG_CACHE_HOME/motet``, or the operating system's equivalent."""
    import pooch

    return Path(pooch.os_cache("motet"))


def offline() -> bool:
    """Whether the variable MOTET_OFFLINE forbids downloads."""
    return os.environ.get("MOTET_OFFLINE", "") not in ("", "0")


def download(file: RemoteFile, folder: Path, *, progress: bool = True) -> Path:
    """Return the file in `folder`: the existing one, or a download with verified checksum.

    An interrupted download continues where it stopped, if the server supports it. The part so far is in a hidden file
    next to the final name.

    Args:
        file: the file.
        folder: the folder.
        progress: whether to show a progress bar.

    Raises:
        InputError: naming the file, its checksum and the folder to put it in, if it is not available, or if the
            download is another file.
    """
    import pooch
    import requests

    path = folder / file.name
    by_hand = f"Put {file.name} ({file.checksum}) into {folder}"
    by_hand += f"; it comes from {' or '.join(file.urls)}" if file.urls else ""
    if offline() and not path.exists():
        raise InputError(
            f"{file.name} must be in {folder}, because MOTET_OFFLINE forbids downloads",
            got="no such file",
            fix=f"Unset MOTET_OFFLINE, or: {by_hand}",
        )
    reasons = []
    for url in file.urls or ("",):
        try:
            if not url and not path.exists():
                reasons.append("no address to download it from")
                continue
            with _quiet_pooch():
                pooch.retrieve(
                    url=url,
                    known_hash=file.checksum,
                    fname=file.name,
                    path=folder,
                    downloader=_Resuming(folder, file.name, progress=progress),
                )
            return path
        except requests.RequestException as error:
            reasons.append(f"{url}: {_reason(error)}")
        except ValueError as error:  # pooch's error for a wrong checksum
            reasons.append(f"{url}: not the file with that checksum")
            del error
    raise InputError(
        f"{file.name} must be available, or the server must be reachable", got="; ".join(reasons), fix=by_hand
    )


def checksum_holds(path: Path, file: RemoteFile) -> bool:
    """Whether the file at `path` has the checksum."""
    import pooch

    kind, _, expected = file.checksum.partition(":")
    return bool(pooch.file_hash(str(path), alg=kind) == expected)


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a .zip or .tar archive into the new folder `folder`, which is whole or absent.

    Only plain files and folders are unpacked.

    Raises:
        InputError: if the archive is damaged, or if a name in it is absolute, outside the folder, a link or a device;
            nothing is kept then.
    """
    temporary = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:12]}.part")
    try:
        temporary.mkdir(parents=True)
        for name, content in _members(archive):
            place = temporary.joinpath(*_safe(archive, name))
            if content is None:
                place.mkdir(parents=True, exist_ok=True)
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            with content, place.open("wb") as file:
                shutil.copyfileobj(content, file, _CHUNK)
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary.rename(folder)
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise InputError(
            f"{archive} must be a whole archive", got=f"{type(error).__name__}: {error}", fix="Download it again"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _members(archive: Path) -> Iterator[tuple[str, IO[bytes] | None]]:
    """Yield names and contents; None for a folder."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as zipped:
            for info in zipped.infolist():
                if (info.external_attr >> 16) & 0o170000 == 0o120000:
                    raise _unsafe(archive, info.filename, "a link")
                yield info.filename, None if info.is_dir() else zipped.open(info)
        return
    with tarfile.open(archive) as tarred:
        for member in tarred:
            if not (member.isfile() or member.isdir()):
                raise _unsafe(archive, member.name, "a link or device")
            yield member.name, tarred.extractfile(member) if member.isfile() else None


def _safe(archive: Path, name: str) -> tuple[str, ...]:
    path = PurePosixPath(name.replace("\\", "/"))
    parts = tuple(part for part in path.parts if part != ".")
    if path.is_absolute() or ".." in parts or any(":" in part or "\0" in part for part in parts):
        raise _unsafe(archive, name, "a path outside the folder")
    return parts


def _unsafe(archive: Path, name: str, what: str) -> InputError:
    return InputError(
        f"{archive} must hold plain files inside its folder",
        got=f"{what}: {name!r}",
        fix="Do not use this archive: get it from its official source",
    )


@final
class _Resuming:
    """A downloader for pooch that keeps a partial download, and requests only the rest the next time."""

    def __init__(self, folder: Path, name: str, *, progress: bool) -> None:
        self.part = folder / f".{name}.download"
        self.name, self.progress = name, progress

    def __call__(self, url: str, output_file: str, _: Any) -> None:
        import requests

        have = self.part.stat().st_size if self.part.exists() else 0
        headers = (
            {"Range": f"bytes={have}-", "Accept-Encoding": "identity"} if have else {"Accept-Encoding": "identity"}
        )
        with requests.get(url, stream=True, headers=headers, timeout=_TIMEOUT) as answer:
            if answer.status_code == requests.codes.requested_range_not_satisfiable:
                self.part.replace(output_file)  # everything has arrived; the checksum decides
                return
            answer.raise_for_status()
            if answer.status_code != requests.codes.partial_content:
                have = 0
            length = answer.headers.get("Content-Length")
            total = have + int(length) if length is not None else None
            with self.part.open("ab" if have else "wb") as file, self._bar(total, have) as advance:
                for chunk in answer.iter_content(_PIECE):
                    file.write(chunk)
                    advance(len(chunk))
        if total is not None and self.part.stat().st_size < total:
            raise requests.ConnectionError("the connection ended early; the next attempt continues from there")
        self.part.replace(output_file)

    @contextmanager
    def _bar(self, total: int | None, have: int) -> Iterator[Any]:
        if not (self.progress and sys.stderr.isatty()):
            yield lambda _: None
            return
        from rich.console import Console
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

        columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task(self.name, total=total, completed=have)
            yield lambda step: bar.advance(task, step)


@contextmanager
def _quiet_pooch() -> Iterator[None]:
    import pooch

    logger = pooch.get_logger()
    before = logger.level
    logger.setLevel("WARNING")
    try:
        yield
    finally:
        logger.setLevel(before)


def _reason(error: Exception) -> str:
    import requests

    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"the server answered {error.response.status_code}"
    if isinstance(error, requests.ConnectionError) and "ended early" in str(error):
        return str(error)
    return "no connection" if isinstance(error, requests.ConnectionError) else type(error).__name__
