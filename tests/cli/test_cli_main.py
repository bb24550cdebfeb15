"""The command itself: what it lists, what it suggests, and what becomes of every kind of error."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

import motet as package
from motet.cli import main as module

Motet = Callable[..., Any]


def test_help_names_every_command_and_where_to_start(motet: Motet) -> None:
    for argument in ("--help", "-h", "help"):
        code, out, err = motet(argument)
        assert (code, err) == (0, "")
        for name in (
            "compare",
            "run",
            "evaluate",
            "report",
            "methods",
            "data",
            "recipes",
            "Start with: motet compare digits",
        ):
            assert name in out


def test_no_command_is_an_error_with_the_same_help(motet: Motet) -> None:
    code, out, err = motet()
    assert (code, out) == (2, "")
    assert "commands:" in err


def test_version(motet: Motet) -> None:
    assert motet("--version") == (0, f"motet {package.__version__}\n", "")
    assert motet("-V").out == motet("--version").out


@pytest.mark.parametrize(
    ("typed", "meant"), [("compar", "compare"), ("comapre", "compare"), ("method", "methods"), ("RUN", "run")]
)
def test_misspelt_commands_get_a_suggestion(refused: Callable[..., str], typed: str, meant: str) -> None:
    assert f"Did you mean '{meant}'?" in refused(typed)


def test_nonsense_gets_the_list(refused: Callable[..., str]) -> None:
    line = refused("xyzzy")
    assert "Did you mean" not in line
    assert "compare, run, evaluate, report, methods, data, recipes" in line
    refused("--members", "3")


@pytest.mark.parametrize(
    ("error", "code", "part"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "a/b"), 2, "the disk is full: writing a/b failed. Free"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), 2, "the disk is full: writing failed"),
        (PermissionError(errno.EACCES, "Permission denied", "a/b"), 2, "no permission to use a/b (Permission denied)"),
        (OSError(errno.EROFS, "Read-only file system", "a"), 2, "no permission to use a (Read-only file system)"),
        (FileNotFoundError(errno.ENOENT, "No such file or directory", "a"), 2, "No such file or directory: a."),
        (OSError("odd"), 2, "odd."),
        (MemoryError(), 2, "not enough memory"),
        (RuntimeError("CUDA out of memory. Tried to allocate 20 GiB"), 2, "not enough memory"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate"), 2, "not enough memory"),
        (KeyboardInterrupt(), 130, "run the same command again to continue"),
    ],
)
def test_errors_become_one_line(
    motet: Motet, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, part: str
) -> None:
    def fail(_: object) -> int:
        raise error

    monkeypatch.setattr(module, "_run", fail)
    found, out, err = motet("compare", "digits")
    assert (found, out) == (code, "")
    assert err.startswith("motet: ")
    assert part in err
    assert err.count("\n") == 1


def test_errors_of_ours_are_not_hidden(motet: Motet, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: object) -> int:
        raise RuntimeError("shapes do not fit")

    monkeypatch.setattr(module, "_run", fail)
    with pytest.raises(RuntimeError, match="shapes"):
        motet("compare", "digits")


HELP = """
import sys
from motet.cli.main import main
heavy = ("torch", "numpy", "sklearn", "lightning_fabric", "matplotlib", "rich.progress")
assert main(["--help"]) == 0
for command in ("compare", "evaluate", "report", "methods", "data", "recipes"):
    try:
        main([command, "--help"])
    except SystemExit as leave:
        assert leave.code == 0
assert main(["run", "--help"]) == 0
try:
    main(["compare", "digits", "--epoch", "3"])
except SystemExit as leave:
    assert leave.code == 2
print([name for name in heavy if name in sys.modules], file=sys.stderr)
"""


def test_help_and_typing_errors_import_nothing_heavy() -> None:
    done = subprocess.run([sys.executable, "-c", HELP], capture_output=True, text=True, check=True)
    assert done.stderr.splitlines()[-1] == "[]"


def test_a_reader_that_has_gone_is_no_error() -> None:
    """As in ``motet --help | true``, where the pipe breaks when Python flushes at last."""
    with subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read(); import motet.cli.main as m; sys.exit(m.main(['-h']))"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stdin.close()
        assert process.stderr.read() == b""
        assert process.wait() == 0
