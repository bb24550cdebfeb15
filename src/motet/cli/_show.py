"""What commands print: tables on standard output, news on standard error."""

import sys
from collections.abc import Iterable, Mapping
from typing import Any


def say(line: str) -> None:
    """Tell the user something that is not the command's result."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201


def show(text: str) -> None:
    """Print a command's result."""
    print(text)  # noqa: T201


def show_comparison(record: Mapping[str, Any]) -> None:
    """The comparison's table, best values in bold on a terminal."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from motet.report.record import read_comparison
    from motet.report.columns import COMPARED
    from motet.report.table import build_table

    table = build_table(read_comparison(record), COMPARED)
    shown = Table(box=None, pad_edge=False, header_style="bold")
    shown.add_column("Method", no_wrap=True)
    for column in table.columns:
        shown.add_column(column.head, justify="right")
    for row, cells in table.rows:
        texts = [Text(f"{cell.text} {cell.error}".strip(), style="bold" if cell.best else "") for cell in cells]
        shown.add_row(row.label, *texts)
    console = Console()
    # A file or a pipe has no width to keep to, and a table broken over lines is of no use to a script.
    (console if console.is_terminal else Console(width=200)).print(shown)


def show_lines(lines: Iterable[tuple[str, str]]) -> None:
    """Names and what they are, in two columns."""
    pairs = list(lines)
    width = max((len(name) for name, _ in pairs), default=0)
    for name, text in pairs:
        show(f"{name:<{width}}  {text}".rstrip())
