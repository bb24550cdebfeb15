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
    """Print the comparison's table: best values in bold on a terminal, never broken over lines elsewhere."""
    from rich.console import Console

    console = Console()
    if console.is_terminal:
        console.print(_table(record))
    else:
        show(comparison_text(record))


def comparison_text(record: Mapping[str, Any]) -> str:
    """The comparison's table as plain text, as wide as it needs to be."""
    import io

    from rich.console import Console

    text = io.StringIO()
    Console(file=text, width=1000, color_system=None).print(_table(record))
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def _table(record: Mapping[str, Any]) -> Any:
    from rich.table import Table
    from rich.text import Text

    from motet.report.columns import COMPARED
    from motet.report.record import read_comparison
    from motet.report.table import build_table

    table = build_table(read_comparison(record), COMPARED)
    shown = Table(box=None, pad_edge=False, header_style="bold")
    shown.add_column("Method", no_wrap=True)
    for column in table.columns:
        shown.add_column(column.head, justify="right")
    for row, cells in table.rows:
        texts = [Text(f"{cell.text} {cell.error}".strip(), style="bold" if cell.best else "") for cell in cells]
        shown.add_row(row.label, *texts)
    return shown


def show_lines(lines: Iterable[tuple[str, str]]) -> None:
    """Names and what they are, in two columns."""
    pairs = list(lines)
    width = max((len(name) for name, _ in pairs), default=0)
    for name, text in pairs:
        show(f"{name:<{width}}  {text}".rstrip())
