"""The progress bar: on a terminal, and nowhere else."""

import io
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from motet import Dataset, Ensemble, Training, fit
from motet.training.progress import ProgressBar

Make = Callable[..., Ensemble]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_nothing_is_written_where_there_is_no_terminal(
    make: Make, blobs: Dataset, short: Training, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    fit(make(), blobs, short, folder=tmp_path, progress=True)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("enabled", [True, False])
def test_a_terminal_shows_steps_time_left_and_scores(monkeypatch: pytest.MonkeyPatch, enabled: bool) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with ProgressBar("MIMO", total=50, done=10, enabled=enabled) as bar:
        bar.steps(30)
        bar.epoch({"validation_nll": 0.12345})
    text = terminal.getvalue()
    if not enabled:
        assert text == ""
        return
    for part in ("MIMO", "30/50", "left", "validation NLL 0.1235"):
        assert part in text


def test_fit_shows_its_bar_on_a_terminal_and_takes_it_away(
    make: Make, blobs: Dataset, short: Training, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    fit(make(), blobs, short, label="Single network")
    assert "Single network" in terminal.getvalue()
    assert terminal.getvalue().rstrip().endswith("\x1b[2K"), "the line is erased"
