"""A progress bar with the time left; without a terminal, a line from time to time."""

import sys
import time
from types import TracebackType
from typing import Any, final

from motet.training.history import HistoryRow

# A log should be neither empty nor full of progress.
_SECONDS_BETWEEN_LINES = 30.0


@final
class ProgressBar:
    """Shows steps done, time left and the last epoch's validation NLL on standard error.

    If standard error is not a terminal, it writes a line at the end of an epoch, at most one in 30 seconds.

    Args:
        label: the name of the run.
        total: the total number of steps.
        done: the number of steps already done.
        enabled: whether to show anything.
    """

    def __init__(self, label: str, *, total: int, done: int = 0, enabled: bool = True) -> None:
        self._bar: Any = None
        self._shown_at = 0.0
        self._label, self._total, self._first, self._enabled = label, total, done, enabled
        self._began = self._line_at = time.monotonic()
        if enabled and sys.stderr.isatty():
            from rich.console import Console
            from rich.markup import escape
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
            from rich.table import Column

            # Everything fits on a terminal of 80 columns; on a narrower one the time left is cut last.
            label = escape(label)
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(bar_width=10),
                MofNCompleteColumn(table_column=Column(min_width=2 * len(str(total)) + 1)),
                TimeRemainingColumn(table_column=Column(min_width=len("0:00:00"))),
                TextColumn("left {task.fields[scores]}", table_column=Column(min_width=len("left"))),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._bar.add_task(label, total=total, completed=done, scores="")

    def __enter__(self) -> "ProgressBar":
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def steps(self, done: int) -> None:
        """Show that `done` steps are done. It can be called at every step, because it draws at most ten times a
        second.
        """
        if self._bar is not None and (now := time.monotonic()) - self._shown_at > 0.1:
            self._shown_at = now
            self._bar.update(self._task, completed=done)

    def epoch(self, row: HistoryRow) -> None:
        """Show the scores of a finished epoch."""
        if self._bar is not None:
            self._bar.update(self._task, scores=f"· NLL {row.validation_nll:.4f}")
        elif self._enabled and (now := time.monotonic()) - self._line_at > _SECONDS_BETWEEN_LINES:
            self._line_at = now
            left = (now - self._began) * (self._total - row.step) / max(row.step - self._first, 1)
            nll, steps = f"validation NLL {row.validation_nll:.4f}", f"{row.step}/{self._total} steps"
            print(f"{self._label}: {steps}, {nll}, about {left / 60:.0f} min left", file=sys.stderr, flush=True)  # noqa: T201
