"""The command line in this process, in an empty folder, and data files to break."""

import gzip
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jaxtyping
import pytest
from small_data import idx_bytes

from motet.cli.main import main


class Said(NamedTuple):
    """What a command answered."""

    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty current folder."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.delenv("MOTET_DATA", raising=False)
    return folder


@pytest.fixture
def whole_report() -> None:
    """Asked for by tests that look at the page; drawing it takes longer than they do."""


@pytest.fixture
def motet(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Callable[..., Said]:
    """``motet("compare", "digits")``, as users meet it: without the tests' shape checks, which are no users' errors."""
    import motet.experiments

    if "whole_report" not in request.fixturenames:
        from motet._internal.files import write_text

        monkeypatch.setattr(
            "motet.report.write_report", lambda record, path, robustness: write_text(path, 20_000 * "report")
        )
    module = sys.modules[motet.experiments.compare.__module__]
    quick = partial(module.latency_ratios, rounds=1, min_seconds=1e-4)
    monkeypatch.setattr(module, "latency_ratios", lambda *a, seconds, **k: quick(*a, seconds=0.001, **k))
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)

    def run(*arguments: object) -> Said:
        capsys.readouterr()
        try:
            code: Any = main([str(argument) for argument in arguments])
        except SystemExit as leave:
            code = leave.code
        return Said(code, *capsys.readouterr())

    return run


@pytest.fixture
def refused(motet: Callable[..., Said], here: Path) -> Callable[..., str]:
    """Run a command that must be refused: one line, code 2, and every file as it was. Returns the line."""

    def files() -> dict[Path, bytes]:
        return {path: path.read_bytes() for path in here.rglob("*") if path.is_file()}

    def run(*arguments: object) -> str:
        before = files()
        code, out, err = motet(*arguments)
        assert code == 2, err
        assert out == ""
        assert err.startswith("motet: ")
        assert err.endswith(".\n")
        assert err.count("\n") == 1, err
        assert "Traceback" not in err
        assert files() == before, "nothing half-written"
        return err

    return run


@pytest.fixture
def mnist(here: Path) -> Path:
    """A folder with MNIST's four files, small: 240 and 40 random images, labels in turn."""
    folder = here / "data"
    folder.mkdir()
    for stem, rows in (("train", 240), ("t10k", 40)):
        images = bytes((row * 7919 + pixel * 31) % 256 for row in range(rows) for pixel in range(784))
        labels = bytes((row * 3 + 1) % 10 for row in range(rows))
        for name, content in (
            (f"{stem}-images-idx3-ubyte", idx_bytes((rows, 28, 28), images)),
            (f"{stem}-labels-idx1-ubyte", idx_bytes((rows,), labels)),
        ):
            (folder / f"{name}.gz").write_bytes(gzip.compress(content, compresslevel=1))
    return folder


@pytest.fixture
def idx() -> Callable[[tuple[int, ...], bytes], bytes]:
    return idx_bytes


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real disk of 300 kB, on which to run out of space."""
    place = tmp_path / "disk"
    place.mkdir()
    mounting = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(place)], capture_output=True, check=False
    )
    if mounting.returncode:
        pytest.skip("mounting a disk needs root")
    try:
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)


@pytest.fixture
def as_nobody(tmp_path: Path) -> Callable[[], Any]:
    """A context without root's right to write anywhere."""

    @contextmanager
    def during() -> Iterator[None]:
        if os.geteuid() != 0:
            yield
            return
        opened = [folder for folder in tmp_path.parents if folder.stat().st_mode & 0o005 != 0o005]
        modes = [folder.stat().st_mode for folder in opened]
        for folder, mode in zip(opened, modes, strict=True):
            folder.chmod(mode | 0o055)
        os.seteuid(65534)
        try:
            yield
        finally:
            os.seteuid(0)
            for folder, mode in zip(opened, modes, strict=True):
                folder.chmod(mode)

    return during
