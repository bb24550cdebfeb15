"""Downloads from a server on this machine: checked, resumed, refused; and archives that would leave their folder."""

import hashlib
import io
import stat
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from motet.data import _catalogue, load
from motet.data.sources.fetch import RemoteFile, download, unpack
from motet.errors import InputError

CONTENT = bytes(range(256)) * 4000


class Server:
    """Serves one file; may break off, and may not know how to resume."""

    def __init__(self) -> None:
        self.content, self.break_at, self.ranges = CONTENT, 0, True
        self.asked: list[str | None] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.headers.get("Range"))
                if self.path == "/gone":
                    self.send_error(404)
                    return
                start = 0
                if outer.ranges and (asked := self.headers.get("Range")):
                    start = int(asked.removeprefix("bytes=").removesuffix("-"))
                    if start >= len(outer.content):
                        self.send_error(416)
                        return
                self.send_response(206 if start else 200)
                self.send_header("Content-Length", str(len(outer.content) - start))
                self.end_headers()
                self.wfile.write(outer.content[start : outer.break_at or None])
                self.close_connection = True

            def log_message(self, *_: Any) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_address[1]}/file.bin"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("MOTET_OFFLINE", "0")
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = Server()
    thread = threading.Thread(target=server.http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.http.shutdown()
    thread.join()
    server.http.server_close()


def remote(server: Server, content: bytes = CONTENT) -> RemoteFile:
    md5 = hashlib.md5(content, usedforsecurity=False).hexdigest()
    return RemoteFile(name="file.bin", urls=(server.url,), checksum=f"md5:{md5}")


def test_downloaded_once(server: Server, tmp_path: Path) -> None:
    file = remote(server)
    for _ in range(2):
        assert download(file, tmp_path).read_bytes() == CONTENT
    assert server.asked == [None]
    assert [path.name for path in tmp_path.iterdir()] == ["file.bin"]


@pytest.mark.parametrize("ranges", [True, False])
def test_an_interrupted_download_goes_on(server: Server, tmp_path: Path, ranges: bool) -> None:
    server.break_at, server.ranges = 700_000, ranges
    with pytest.raises(InputError, match=r"the server must be reachable.*file.bin") as caught:
        download(remote(server), tmp_path)
    assert str(tmp_path) in str(caught.value)
    assert not (tmp_path / "file.bin").exists()
    kept = (tmp_path / ".file.bin.download").stat().st_size
    server.break_at = 0
    assert download(remote(server), tmp_path).read_bytes() == CONTENT
    assert 0 < kept <= 700_000
    assert server.asked == [None, f"bytes={kept}-"]


def test_a_whole_partial_file_is_taken(server: Server, tmp_path: Path) -> None:
    (tmp_path / ".file.bin.download").write_bytes(CONTENT)
    assert download(remote(server), tmp_path).read_bytes() == CONTENT


def test_another_file_than_expected_is_not_kept(server: Server, tmp_path: Path) -> None:
    server.content = b"<html>"
    with pytest.raises(InputError, match=r"not the file with that checksum. Put file.bin .md5:"):
        download(remote(server), tmp_path)
    assert list(tmp_path.iterdir()) == []
    server.content = CONTENT
    assert download(remote(server), tmp_path).read_bytes() == CONTENT


def test_the_next_address_is_tried(server: Server, tmp_path: Path) -> None:
    gone = server.url.replace("file.bin", "gone")
    file = replace(remote(server), urls=(gone, server.url))
    assert download(file, tmp_path).read_bytes() == CONTENT
    with pytest.raises(InputError, match=r"gone: the server answered 404"):
        download(replace(file, urls=(gone,)), tmp_path / "other")


def test_without_a_connection_file_checksum_and_folder_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server
) -> None:
    file = replace(remote(server), urls=("http://127.0.0.1:9/file.bin",))
    with pytest.raises(InputError, match=r"no connection") as caught:
        download(file, tmp_path)
    for part in ("file.bin", file.checksum, str(tmp_path), file.urls[0]):
        assert part in str(caught.value)
    monkeypatch.setenv("MOTET_OFFLINE", "1")
    with pytest.raises(InputError, match=r"MOTET_OFFLINE forbids downloads"):
        download(file, tmp_path)


def archive_of(files: dict[str, bytes]) -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return held.getvalue()


def test_a_named_data_set_is_downloaded_into_the_cache_and_found_there(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cifar10_folder: Any
) -> None:
    folder = cifar10_folder(tmp_path / "made")
    files = {f"cifar-10-batches-py/{path.name}": path.read_bytes() for path in folder.iterdir()}
    server.content = archive_of(files)
    source = _catalogue.FILE_SOURCES["cifar10"]
    file = replace(remote(server, server.content), name="cifar-10-python.tar.gz")
    monkeypatch.setattr(_catalogue, "FILE_SOURCES", {"cifar10": replace(source, files=(file,))})
    monkeypatch.setattr(_catalogue, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.delenv("MOTET_DATA", raising=False)
    said: list[str] = []
    assert len(load("cifar10", say=said.append).test) == 20
    assert said == [f"downloading cifar-10-python.tar.gz of cifar10 to {tmp_path / 'cache' / 'cifar10'}"]
    monkeypatch.setenv("MOTET_OFFLINE", "1")
    assert len(load("cifar10", say=said.append).test) == 20
    assert len(said) == len(server.asked) == 1
    # The archive in a folder of the user's.
    own = tmp_path / "own"
    own.mkdir()
    (own / file.name).write_bytes(server.content)
    monkeypatch.setattr(_catalogue, "cache_folder", lambda: tmp_path / "other cache")
    assert len(load("cifar10", own).test) == 20


@pytest.mark.parametrize("name", ["../out", "/tmp/out", "a/../../out", "..\\out", "C:\\out"])
@pytest.mark.parametrize("kind", ["tar", "zip"])
def test_no_path_leaves_the_folder(tmp_path: Path, name: str, kind: str) -> None:
    path = tmp_path / "bad"
    if kind == "tar":
        path.write_bytes(archive_of({"good": b"1", name: b"evil"}))
    else:
        with zipfile.ZipFile(path, "w") as zipped:
            zipped.writestr("good", b"1")
            zipped.writestr(name, b"evil")
    with pytest.raises(InputError, match=r"plain files inside its folder"):
        unpack(path, tmp_path / "to" / "here")
    assert [p.name for p in tmp_path.rglob("*") if p.is_file()] == ["bad"]


def test_links_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "bad"
    with tarfile.open(path, "w") as tar:
        info = tarfile.TarInfo("link")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(info)
    with pytest.raises(InputError, match=r"a link or device: 'link'"):
        unpack(path, tmp_path / "here")
    with zipfile.ZipFile(path, "w") as zipped:
        link = zipfile.ZipInfo("link")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        zipped.writestr(link, "/etc/passwd")
    with pytest.raises(InputError, match=r"a link: 'link'"):
        unpack(path, tmp_path / "here")


def test_damaged_archives_leave_nothing(tmp_path: Path) -> None:
    path = tmp_path / "bad"
    whole = archive_of({"file": CONTENT})
    for content in (b"rubbish", whole[: len(whole) // 2]):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"must be a whole archive"):
            unpack(path, tmp_path / "here")
        assert [p.name for p in tmp_path.iterdir()] == ["bad"]


def test_unpacking(tmp_path: Path) -> None:
    path = tmp_path / "good.zip"
    with zipfile.ZipFile(path, "w") as zipped:
        zipped.writestr("a/", b"")
        zipped.writestr("a/b/file", b"content")
    unpack(path, tmp_path / "here")
    assert (tmp_path / "here" / "a" / "b" / "file").read_bytes() == b"content"
