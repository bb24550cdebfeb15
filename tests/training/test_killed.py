"""A process of its own, stopped by Ctrl-C, by SIGTERM, by kill -9, and by kill -9 in the middle of a write.

Resumed in this process it ends, bit for bit, where a run that was never stopped ends.
"""

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from motet import fit
from motet.training import read_history

pytestmark = pytest.mark.long

SCRIPT = Path(__file__).with_name("to_be_killed.py")
CHECKPOINT = Path("checkpoint", "last.safetensors")


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Folders of the stopped runs and what each process said, by job; two processes in all."""
    root = tmp_path_factory.mktemp("killed")
    polite = [f"{method}:{way}" for method in ("single", "mimo") for way in ("SIGINT", "SIGTERM")]
    said = {}
    for jobs in ([*polite, "single:SIGKILL"], ["mimo:write"]):
        process = subprocess.Popen(
            [sys.executable, str(SCRIPT), str(root), *jobs], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert process.stdout is not None
        assert process.stderr is not None
        for job in jobs:
            assert process.stdout.readline() == "ready\n", process.stderr.read()
            way = job.partition(":")[2]
            process.send_signal(signal.Signals[way] if way.startswith("SIG") else signal.SIGKILL)
            said[job] = process.stdout.readline() if job in polite else ""
        _, errors = process.communicate(timeout=60)
        assert process.returncode == -signal.SIGKILL
        assert errors == ""
    return {"root": str(root), **said}


@pytest.mark.parametrize(
    "job", ["single:SIGINT", "single:SIGTERM", "mimo:SIGINT", "mimo:SIGTERM", "single:SIGKILL", "mimo:write"]
)
def test_resumed_after(lab: Any, killed: dict[str, str], job: str) -> None:
    method, way = job.split(":")
    folder = Path(killed["root"]) / f"{method}-{way}"
    expected, rows = lab.never_stopped(method, lab.short)
    if way in ("SIGINT", "SIGTERM"):
        assert killed[job].startswith(f"stopped by {way} after step 10 of 16; run the same command again")
        assert lab.untimed(read_history(folder / "history.csv")) == lab.untimed(rows[:2])
    leftovers = [item.name for item in (folder / "checkpoint").iterdir() if item.name != CHECKPOINT.name]
    assert len(leftovers) == (way == "write")
    resumed = lab.make(method, seed=99)
    history = fit(resumed, lab.data, lab.short, seed=3, folder=folder)
    assert lab.same_weights(resumed, expected)
    assert lab.untimed(history) == lab.untimed(rows)
    assert read_history(folder / "history.csv") == history
    assert [item.name for item in (folder / "checkpoint").iterdir()] == [CHECKPOINT.name]
