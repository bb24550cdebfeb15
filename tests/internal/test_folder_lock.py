"""One process at a time in a folder."""

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from motet._internal.folder_lock import FolderInUseError, clear_leftovers, is_in_use, only_process_in
from motet.errors import InputError
from motet.experiments.folder import free_folder

HOLD = """
import sys, time
from pathlib import Path
from motet._internal.folder_lock import only_process_in
with only_process_in(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def holder(tmp_path: Path):
    """Return a process that holds the folder ``held``."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "held")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    with process:
        yield process
        process.kill()


def leftover(folder: Path) -> Path:
    inside = folder / ".run.json.0123456789ab.part"
    inside.mkdir(parents=True)
    (inside / "run.json").write_text("{")
    return inside


def test_another_process_is_refused(holder, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="which another process is using"), only_process_in(tmp_path / "held"):
        raise AssertionError
    with only_process_in(tmp_path / "another"):
        pass
    holder.communicate("\n")
    with only_process_in(tmp_path / "held"):
        pass
    assert not (tmp_path / "held").exists(), "empty, and created by a process that has left"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_process_holds_nothing(holder, tmp_path: Path, number: signal.Signals) -> None:
    os.kill(holder.pid, number)
    holder.wait()
    assert (tmp_path / "held" / ".lock").exists()
    with only_process_in(tmp_path / "held"):
        pass
    assert not (tmp_path / "held" / ".lock").exists()


def test_a_thread_may_take_it_again(tmp_path: Path) -> None:
    with only_process_in(tmp_path / "a"):
        with only_process_in(tmp_path / "a" / ".." / "a"):
            pass
        assert (tmp_path / "a" / ".lock").exists(), "the outer context still holds it"
        refused: list[FolderInUseError] = []

        def another() -> None:
            try:
                with only_process_in(tmp_path / "a"):
                    pass
            except FolderInUseError as error:
                refused.append(error)

        thread = threading.Thread(target=another)
        thread.start()
        thread.join()
        assert len(refused) == 1, "another thread is another run"


def test_what_was_there_or_was_written_stays(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with only_process_in(tmp_path / "empty"):
        pass
    assert (tmp_path / "empty").is_dir()
    with only_process_in(tmp_path / "new" / "deep"):
        (tmp_path / "new" / "deep" / "a.txt").write_text("a")
    assert [path.name for path in (tmp_path / "new" / "deep").iterdir()] == ["a.txt"]
    with pytest.raises(ValueError, match="mine"), only_process_in(tmp_path / "failed" / "deep"):
        raise ValueError("mine")
    assert not (tmp_path / "failed").exists()


def test_a_default_folder_that_another_process_is_about_to_use_is_not_free(holder, tmp_path: Path) -> None:
    assert is_in_use(tmp_path / "held")
    assert free_folder(tmp_path / "held", {"a": 1}, source=()) == tmp_path / "held-2"
    holder.communicate("\n")
    assert not is_in_use(tmp_path / "held")
    assert free_folder(tmp_path / "held", {"a": 1}, source=()) == tmp_path / "held"


def test_leftovers_are_cleared_unless_somebody_is_writing(holder, tmp_path: Path) -> None:
    mine = leftover(tmp_path / "held")
    clear_leftovers(tmp_path / "held")
    assert mine.exists()
    holder.communicate("\n")
    clear_leftovers(tmp_path / "held")
    assert not mine.exists()
    clear_leftovers(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()
