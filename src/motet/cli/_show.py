"""Print results on standard output, and messages on standard error."""

import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from motet.experiments.records import Comparison


def say(line: str) -> None:
    """Print a message that is not the command's result."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201


def show(text: str) -> None:
    """Print a command's result."""
    print(text)  # noqa: T201


def show_comparison(record: "Comparison") -> None:
    """Print the comparison's table: best values in bold on a terminal, and in several parts if the terminal is
    too narrow.
    """
    from rich.console import Console

    console = Console()
    if not console.is_terminal:
        show(comparison_text(record))
        return
    for number, table in enumerate(_tables(record, console.width)):
        if number:
            console.print()
        console.print(table)


def comparison_text(record: "Comparison") -> str:
    """Return the comparison's table as plain text, as wide as it needs to be."""
    import io

    from rich.console import Console

    text, width = io.StringIO(), 1000
    (table,) = _tables(record, width)
    Console(file=text, width=width, color_system=None).print(table)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def _tables(record: "Comparison", width: int) -> list[Any]:
    """Return the table, split between columns into as many tables as needed to fit the width; rows keep their names."""
    from rich.table import Table
    from rich.text import Text

    from motet.report.columns import COMPARED
    from motet.report.record import read_comparison
    from motet.report.table import build_table

    table = build_table(read_comparison(record), COMPARED)
    labels = [row.label for row, _ in table.rows]
    narrowest = max(len(label) for label in ["Method", *labels])
    parts: list[list[tuple[str, list[Text]]]] = [[]]
    used = narrowest
    for index, column in enumerate(table.columns):
        cells = [cells[index] for _, cells in table.rows]
        texts = [Text(f"{cell.text} {cell.error}".strip(), style="bold" if cell.best else "") for cell in cells]
        needed = 2 + max(len(column.head), *(text.cell_len for text in texts))
        if parts[-1] and used + needed > width:
            parts.append([])
            used = narrowest
        parts[-1].append((column.head, texts))
        used += needed
    tables = []
    for part in parts:
        shown = Table(box=None, pad_edge=False, header_style="bold")
        shown.add_column("Method", no_wrap=True)
        for head, _ in part:
            shown.add_column(head, justify="right", no_wrap=True)
        for label, *texts in zip(labels, *(texts for _, texts in part), strict=True):
            shown.add_row(label, *texts)
        tables.append(shown)
    return tables


def show_lines(lines: Iterable[tuple[str, str]]) -> None:
    """Print names and their descriptions, in two columns."""
    pairs = list(lines)
    width = max((len(name) for name, _ in pairs), default=0)
    for name, text in pairs:
        show(f"{name:<{width}}  {text}".rstrip())
