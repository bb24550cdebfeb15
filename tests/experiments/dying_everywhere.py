"""Kills a command before every operation on a file, resumes it, and compares the results. Run as a script.

Arguments: run, compare or evaluate; and an empty folder. A killed process is a fork of this one, which has imported
torch but computed nothing. To die after an operation is to die before the next one, which leaves the same files.
"""

import importlib
import json
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from motet import Experiment, Multihead, Training
from motet.cli.main import main as motet
from motet.models import MLP

DIED, WRONG = 9, 3
OPERATIONS = ("os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.chmod", "os.fsync")
RUN = ("run", f"{Path(__file__).resolve()}:experiment")
COMPARE = ("compare", "digits", "--methods", "single", "multihead", "--epochs", "1", "--seeds", "1", "--model", "mlp")


def experiment() -> Experiment:
    """Return a short one."""
    return Experiment(
        data="digits",
        model=MLP(hidden=(8,)),
        method=Multihead(members=2),
        training=Training(epochs=2, batch_size=512),
    )


def commands(kind: str, folder: Path) -> list[list[str]]:
    """Return the commands; the last one is killed."""
    if kind == "run":
        return [[*RUN, "--out", str(folder)]]
    if kind == "compare":
        return [[*COMPARE, "--out", str(folder)]]
    return [[*RUN, "--out", str(folder)], ["evaluate", str(folder), "--shift", "fog", "--severities", "1", "2"]]


def in_fork(work: Callable[[], object]) -> int:
    """Run `work` in a child process, without output, and return its exit status; `DIED` if it was killed."""
    child = os.fork()
    if child == 0:
        status = WRONG
        try:
            sink = os.open(os.devnull, os.O_WRONLY)
            os.dup2(sink, 1)
            os.dup2(sink, 2)
            status = int(bool(work()))
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def die_before(number: int, folder: Path, *, half: bool) -> None:
    """Let this process die before the operation with this number on a file in `folder`.

    Args:
        number: the operations are counted from 0.
        folder: the folder.
        half: whether the operations are instead whole writes, of which the first half is still written.
    """
    left = number

    def count() -> bool:
        nonlocal left
        left -= 1
        return left < 0

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        writes = event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        if (event in OPERATIONS or writes) and str(arguments[0]).startswith(str(folder)) and count():
            os._exit(DIED)

    def torn(path: Path) -> None:
        if Path(path).is_relative_to(folder) and count():
            os.truncate(path, Path(path).stat().st_size // 2)
            os._exit(DIED)

    if not half:
        real_sync = os.fsync

        def sync(opened: int) -> None:
            hook("os.fsync", (Path(f"/proc/self/fd/{opened}").readlink(),))
            real_sync(opened)

        os.fsync = sync  # it has no audit event
        sys.addaudithook(hook)
        return
    write_text, save_file = Path.write_text, safetensors.torch.save_file

    def half_text(path: Path, *arguments: Any, **options: Any) -> int:
        written = write_text(path, *arguments, **options)
        torn(path)
        return written

    def half_tensors(tensors: Any, path: Path, **options: Any) -> None:
        save_file(tensors, path, **options)
        torn(path)

    Path.write_text, safetensors.torch.save_file = half_text, half_tensors  # type: ignore[method-assign, assignment]


def note_modules(file: Path) -> None:
    """Write the names of the imported modules to `file`."""
    file.write_text("\n".join(sys.modules))


def results(folder: Path) -> dict[str, object]:
    """Return what the files say, without times and what depends on them; and the names of all files."""
    found: dict[str, object] = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        found[name] = None
        if path.name == "predictions.safetensors":
            found[name] = path.read_bytes()
        elif path.suffix == ".json":
            content = json.loads(path.read_text(encoding="utf-8"))
            found[name] = without(content, {"created", "train_seconds", "seconds", "continued", "cost", "command"})
    return found


def without(content: Any, names: set[str]) -> Any:
    """Return plain data without the fields of these names."""
    if isinstance(content, dict):
        return {key: without(value, names) for key, value in content.items() if key not in names}
    return [without(item, names) for item in content] if isinstance(content, list) else content


def main(kind: str, place: Path) -> None:
    """Print the number of operations if all is well; otherwise what is wrong, and exit with status 1."""
    torch.set_num_threads(1)
    whole = place / "whole" / "out"
    for command in commands(kind, whole):
        assert in_fork(lambda command=command: motet(command) or note_modules(place / "modules")) == 0, command
    for name in (place / "modules").read_text().split():  # so that forks need not import them
        with suppress(ImportError):
            importlib.import_module(name)
    expected = results(whole)
    for half in (False, True):
        number = 0
        while True:
            folder = place / f"{'half' if half else 'before'}-{number}" / "out"
            *first, last = commands(kind, folder)
            for command in first:
                assert in_fork(lambda command=command: motet(command)) == 0, command

            def killed(number: int = number, folder: Path = folder, half: bool = half, last: Any = last) -> int:
                die_before(number, folder, half=half)
                return motet(last)

            status = in_fork(killed)
            if status == 0:
                break
            assert status == DIED, (half, number, status)
            status = in_fork(lambda last=last: motet(last))
            found = results(folder)
            differing = sorted(
                name for name in expected.keys() | found.keys() if expected.get(name, 0) != found.get(name, 0)
            )
            if status != 0 or differing:
                sys.exit(
                    f"killed at {'half of write' if half else 'operation'} {number}: exit status {status}, {differing}"
                )
            number += 1
        print(f"{number} {'half writes' if half else 'operations'}")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]).resolve())
