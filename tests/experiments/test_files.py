"""Files are whole or absent."""

import os
import signal
from pathlib import Path

import pytest

from motet import InputError
from motet._internal.files import read_json, remove_leftovers, to_json, write_atomically, write_json, write_text


def test_write_and_replace(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "a.txt"
    write_text(path, "one ü\n")
    write_text(path, "two")
    assert path.read_text(encoding="utf-8") == "two"
    assert [item.name for item in path.parent.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), ValueError("x"), KeyboardInterrupt()])
def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")

    def fail(beside: Path) -> None:
        assert beside.parent.parent == tmp_path, "on the same file system, to be renamed"
        beside.write_text("half")
        raise error

    with pytest.raises(type(error)):
        write_atomically(path, fail)
    assert path.read_text() == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["a.txt"]


def test_system_errors_name_the_file_and_not_its_temporary_neighbour(tmp_path: Path) -> None:
    def full(beside: Path) -> None:
        raise OSError(28, "No space left on device", str(beside))

    with pytest.raises(OSError, match="No space left") as caught:
        write_atomically(tmp_path / "a.txt", full)
    assert caught.value.filename == str(tmp_path / "a.txt")
    assert caught.value.errno == 28


def test_system_errors_that_come_as_words(tmp_path: Path) -> None:
    """safetensors raises its own class, with the number in the message."""

    def full(beside: Path) -> None:
        raise RuntimeError("Error while serializing: I/O error: Permission denied (os error 13)")

    with pytest.raises(PermissionError) as caught:
        write_atomically(tmp_path / "a.txt", full)
    assert caught.value.filename == str(tmp_path / "a.txt")


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_the_users_umask_is_honoured(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        write_text(tmp_path / "a.txt", "x")
        write_atomically(tmp_path / "b", lambda beside: (beside.touch(), beside.chmod(0o600)))
    finally:
        os.umask(before)
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("a.txt", "b")] == [0o666 & ~mask] * 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_process_killed_while_it_writes(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    write_text(path, "old")
    child = os.fork()
    if child == 0:
        write_atomically(path, lambda beside: (beside.write_text("half"), os.kill(os.getpid(), signal.SIGKILL)))
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert path.read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 2
    remove_leftovers(tmp_path)
    assert [item.name for item in tmp_path.iterdir()] == ["a.txt"]


def test_leftovers_are_only_our_own(tmp_path: Path) -> None:
    for name in ("a.part", ".hidden", "b.txt"):
        (tmp_path / name).touch()
    remove_leftovers(tmp_path)
    remove_leftovers(tmp_path / "not there")
    assert len(list(tmp_path.iterdir())) == 3


def test_a_folder_in_the_files_place(tmp_path: Path) -> None:
    (tmp_path / "a.txt").mkdir()
    with pytest.raises(IsADirectoryError):
        write_text(tmp_path / "a.txt", "x")
    assert [item.name for item in tmp_path.iterdir()] == ["a.txt"]


def test_json_has_no_nan_and_keeps_the_rest(tmp_path: Path) -> None:
    value = {"a": [1, 2.5, float("nan"), float("inf")], "b": {"c": None, "d": "ü"}, "e": (True, "x")}
    write_json(tmp_path / "a.json", value)
    assert read_json(tmp_path / "a.json") == {
        "a": [1, 2.5, None, None],
        "b": {"c": None, "d": "ü"},
        "e": [True, "x"],
    }
    assert "NaN" not in to_json(value)


def test_floats_come_back_bit_for_bit(tmp_path: Path) -> None:
    values = [0.1, 1 / 3, 5e-324, 1.7976931348623157e308, -0.0]
    write_json(tmp_path / "a.json", values)
    assert [value.hex() for value in read_json(tmp_path / "a.json")] == [value.hex() for value in values]


@pytest.mark.parametrize("content", [b"", b"{", b'{"a": 1', b"\xff\xfe", b"nonsense"])
def test_damaged_json(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.json").write_bytes(content)
    with pytest.raises(InputError, match=r"a\.json must be a complete JSON file"):
        read_json(tmp_path / "a.json")
