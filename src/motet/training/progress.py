"""A progress bar with the time left, on the terminal only."""

import sys
import time
from types import TracebackType
from typing import Any, final

from motet.training.history import Row


@final
class ProgressBar:
    """Shows steps done, time left and the last epoch's validation NLL on standard error.

    Args:
        label: what is being trained.
        total: steps in all.
        done: steps that were done before.
        enabled: whether to show anything; nothing is shown either where standard error is no terminal.
    """

    def __init__(self, label: str, *, total: int, done: int = 0, enabled: bool = True) -> None:
        self._bar: Any = None
        self._shown_at = 0.0
        if enabled and sys.stderr.isatty():
            from rich.console import Console
            from rich.markup import escape
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
            from rich.table import Column

            # On a terminal of 80 columns all of it fits, and on a narrower one the time left is cut last.
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
        """Show that `done` steps are done. Cheap enough for every step: it draws ten times a second at most."""
        if self._bar is not None and (now := time.monotonic()) - self._shown_at > 0.1:
            self._shown_at = now
            self._bar.update(self._task, completed=done)

    def epoch(self, row: Row) -> None:
        """Show the scores of a finished epoch."""
        if self._bar is not None:
            self._bar.update(self._task, scores=f"· NLL {row['validation_nll']:.4f}")
