"""Processes of their own: a pipe that closes early, Ctrl-C at a terminal, and the same command again."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from motet import Experiment
from motet.experiments import run_experiment

pytestmark = pytest.mark.long

COMPARE = [sys.executable, "-m", "motet", "compare", "digits", "--methods", "single", "mimo", "--model", "mlp"]


def test_compare_into_a_pipe_that_closes_and_repeated_from_its_record(here: Path) -> None:
    with subprocess.Popen(
        [*COMPARE, "--epochs", "2", "--seeds", "1", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "{\n"
        process.stdout.close()
        errors = process.stderr.read()
        assert process.wait() == 0
    assert [line.partition(":")[0] for line in errors.splitlines()][:2] == [
        "[1/2] Single network, seed 0",
        "[2/2] MIMO, seed 0",
    ]
    assert "Traceback" not in errors
    assert "Warning" not in errors
    folder = here / "runs" / "compare-digits"
    assert (folder / "report.html").exists()
    record = json.loads((folder / "mimo-seed0" / "run.json").read_text())
    again = run_experiment(Experiment.from_record(record["settings"]), here / "again")
    assert again.scores.test == json.loads((folder / "mimo-seed0" / "scores.json").read_text())["test"]


def _plain(text: str) -> str:
    """What stands on the terminal, line by line, without its colours."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "\n")


def _read_until(terminal: int, pattern: str, seen: str = "") -> str:
    deadline = time.monotonic() + 60
    while not re.search(pattern, _plain(seen)):
        assert time.monotonic() < deadline, seen
        try:
            seen += os.read(terminal, 4096).decode(errors="replace")
        except OSError:  # what reading gives on Linux when the other side has ended
            break
    return seen


def test_ctrl_c_at_a_terminal_and_the_same_command_again(here: Path, motet: Callable[..., Any]) -> None:
    arguments = ["--epochs", "9000", "--seeds", "1"]
    child, terminal = pty.fork()
    if child == 0:
        os.environ |= {"COLUMNS": "100", "TERM": "xterm"}
        os.execv(sys.executable, [*COMPARE, *arguments])
    try:
        seen = _read_until(terminal, r"\[1/2\] Single network, seed 0 .*\d+/297000 [-:\d]+ left · NLL")
        os.write(terminal, b"\x03")
        seen = _read_until(terminal, r"(?!)", seen)  # to the end
    except BaseException:
        os.kill(child, signal.SIGKILL)
        raise
    finally:
        os.close(terminal)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert code == 128 + signal.SIGINT
    last = _plain(seen).rstrip().splitlines()[-1]
    assert re.search(r"motet: stopped by SIGINT after step \d+ of 297000; run the same command again to continue", last)
    folder = here / "runs" / "compare-digits"
    assert json.loads((folder / "compare.json").read_text())["rows"] is None
    assert "Traceback" not in seen
    line = motet(
        "compare", "digits", "--epochs", 3, "--seeds", 1, "--methods", "single", "--model", "mlp", "--out", folder
    ).err
    assert "must be empty, or contain the same run" in line
    assert (folder / "single-seed0" / "checkpoint" / "last.safetensors").exists()
