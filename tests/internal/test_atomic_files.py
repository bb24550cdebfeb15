import errno
import json
import math
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

from motet._internal.files import read_json, remove_leftovers, to_json, write_atomically, write_json, write_text
from motet.errors import InputError


def half_then(error: BaseException) -> Callable[[Path], object]:
    def write(beside: Path) -> None:
        beside.write_text("half")
        raise error

    return write


def test_a_file_is_written_beside_its_name_and_then_renamed(tmp_path: Path) -> None:
    path, seen = tmp_path / "new" / "folder" / "a.txt", []

    def write(beside: Path) -> None:
        seen.append(beside)
        beside.write_text("whole")
        assert not path.exists()

    write_atomically(path, write)
    assert path.read_text() == "whole"
    assert seen[0].is_relative_to(path.parent), "on the same file system, to be renamed"
    assert list(path.parent.iterdir()) == [path]


def test_the_old_file_is_whole_until_it_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def write(beside: Path) -> None:
        beside.write_text("new")
        assert path.read_text() == "old"

    write_atomically(path, write)
    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError("bad"), KeyboardInterrupt(), SystemExit(3), OSError("no number")])
@pytest.mark.parametrize("existed", [True, False])
def test_a_write_that_fails_leaves_what_there_was(tmp_path: Path, error: BaseException, existed: bool) -> None:
    path = tmp_path / "a.txt"
    if existed:
        path.write_text("old")
    with pytest.raises(type(error)) as caught:
        write_atomically(path, half_then(error))
    assert caught.value is error
    assert [item.name for item in tmp_path.iterdir()] == (["a.txt"] if existed else [])
    assert not existed or path.read_text() == "old"


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        OSError(errno.ENOSPC, "No space left on device", "/another/name"),
        RuntimeError("I/O error: No space left on device (os error 28)"),  # as safetensors says it
    ],
)
def test_a_full_disk_leaves_what_there_was_and_names_the_file(tmp_path: Path, error: Exception) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(OSError, match="No space left on device") as caught:
        write_atomically(path, half_then(error))
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("step", ["os.fsync", "pathlib.Path.replace"])
def test_a_disk_that_fills_up_at_the_end_leaves_what_there_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(step, full)
    with pytest.raises(OSError, match="No space left") as caught:
        write_text(path, "new")
    assert caught.value.errno == errno.ENOSPC
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_really_full_device_is_an_os_error(tmp_path: Path) -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full here")
    path = tmp_path / "a.txt"

    def write(beside: Path) -> None:
        beside.unlink(missing_ok=True)
        beside.symlink_to("/dev/full")
        beside.write_text("x" * 100_000)

    with pytest.raises(OSError, match="No space left") as caught:
        write_atomically(path, write)
    assert caught.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []


def test_a_folder_in_the_way_is_an_error_that_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.mkdir()
    with pytest.raises(IsADirectoryError):
        write_text(path, "x")
    assert list(tmp_path.iterdir()) == [path]
    (tmp_path / "file").write_text("")
    with pytest.raises((NotADirectoryError, FileExistsError)):
        write_text(tmp_path / "file" / "a.txt", "x")


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o644), (0o077, 0o600), (0o002, 0o664)])
def test_the_umask_decides_who_may_read(tmp_path: Path, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        write_text(tmp_path / "a.txt", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == mode


def test_what_killed_processes_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    killed = """
import os
from pathlib import Path
from motet._internal.files import write_atomically
write_atomically(Path("a.txt"), lambda beside: (beside.write_text("half"), os._exit(9)))
"""
    path.write_text("old")
    assert subprocess.run([sys.executable, "-c", killed], cwd=tmp_path, check=False).returncode == 9
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2
    for name in (".hidden", "b.part", "c.txt"):
        (tmp_path / name).write_text("")
    remove_leftovers(tmp_path)
    assert {item.name for item in tmp_path.iterdir()} == {"a.txt", ".hidden", "b.part", "c.txt"}


def test_text_is_utf_8(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "λ, é\n")
    assert (tmp_path / "a.txt").read_bytes() == "λ, é\n".encode()


def test_json_goes_there_and_back(tmp_path: Path) -> None:
    value = {"name": "é", "list": [1, 2.5, None, True], "nested": {"a": {"b": []}}, "huge": 1e300, "small": 5e-324}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == value
    assert "é" in (tmp_path / "a.json").read_text(encoding="utf-8")


def test_what_json_does_not_have_becomes_null_or_its_nearest() -> None:
    value = {"nan": math.nan, "up": [math.inf, (-math.inf, 1.0)], 3: MappingProxyType({"x": np.float64("nan")})}
    assert json.loads(to_json(value)) == {"nan": None, "up": [None, [None, 1.0]], "3": {"x": None}}
    assert to_json(1.0).endswith("\n")


def test_what_json_cannot_hold_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="not JSON serializable"):
        write_json(tmp_path / "a.json", {"x": object()})
    assert list(tmp_path.iterdir()) == []


def test_a_damaged_json_file_is_named(tmp_path: Path) -> None:
    for content in (b"", b"{", b'{"a": 1} more', b"\xff\xfe"):
        (tmp_path / "a.json").write_bytes(content)
        with pytest.raises(InputError, match=r"a\.json must be a complete JSON file"):
            read_json(tmp_path / "a.json")
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "b.json")
