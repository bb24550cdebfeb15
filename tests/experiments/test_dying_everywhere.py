"""A command that is killed before any operation on a file, or in the middle of any write, resumes to equal results."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("dying_everywhere.py")


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="forks, and looks into /proc")
@pytest.mark.parametrize(("kind", "operations", "writes"), [("run", 40, 6), ("compare", 80, 10), ("evaluate", 25, 3)])
def test_killed_at_every_operation(kind: str, operations: int, writes: int, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(SCRIPT), kind, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = [int(number) for number in re.findall(r"^\d+", done.stdout, re.MULTILINE)]
    assert len(found) == 2
    assert found[0] >= operations
    assert found[1] >= writes
