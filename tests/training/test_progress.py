"""The progress bar: on a terminal, and nowhere else."""

import io
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from motet import Dataset, Ensemble, Training, fit
from motet.training import HistoryRow
from motet.training.progress import ProgressBar

Make = Callable[..., Ensemble]


def row(*, step: int, nll: float) -> HistoryRow:
    return HistoryRow(epoch=1, step=step, learning_rate=0.1, train_loss=1.0, validation_nll=nll, seconds=1.0)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_nothing_is_written_where_there_is_no_terminal(
    lab: Any, precision: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Nor by the libraries: Lightning Fabric likes to log which precision it uses."""
    fit(lab.make(), lab.data, replace(lab.short, precision=precision), folder=lab.folder, progress=True)
    assert capfd.readouterr() == ("", "")
    assert caplog.records == []


@pytest.mark.parametrize("enabled", [True, False])
def test_a_terminal_shows_steps_time_left_and_scores(monkeypatch: pytest.MonkeyPatch, enabled: bool) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    with ProgressBar("MIMO", total=50, done=10, enabled=enabled) as bar:
        bar.steps(30)
        bar.epoch(row(step=1, nll=0.12345))
    text = terminal.getvalue()
    if not enabled:
        assert text == ""
        return
    for part in ("MIMO", "30/50", "left", "NLL 0.1235"):
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


def test_on_eighty_columns_nothing_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")
    with ProgressBar("[12/12] Deep ensemble, seed 2", total=97500, done=90000) as bar:
        bar.epoch(row(step=1, nll=0.12345))
        bar.steps(97000)
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())
    last = [line for line in re.split(r"[\r\n]+", plain) if line.strip()][-1]
    assert re.fullmatch(r"\[12/12\] Deep ensemble, seed 2 \S+ 9\d000/97500 [-:\d]{7} left · NLL 0\.1235\s*", last)
    assert len(last) <= 80


def test_without_a_terminal_a_line_now_and_then(monkeypatch, capsys):
    monkeypatch.setattr("motet.training.progress._SECONDS_BETWEEN_LINES", 0.0)
    with ProgressBar("MIMO", total=20, done=10) as bar:
        bar.epoch(row(step=15, nll=0.5))
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("MIMO: 15/20 steps, validation NLL 0.5000, about 0 min left")
    with ProgressBar("MIMO", total=20, enabled=False) as bar:
        bar.epoch(row(step=15, nll=0.5))
    assert capsys.readouterr() == ("", "")
