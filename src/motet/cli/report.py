"""The command ``motet report FOLDER``."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from motet.cli._arguments import OMITTABLE, option, parse
from motet.cli._show import say, show_comparison


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Write the report page of a finished comparison again, and print its table."""

    folder: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FOLDER")]
    """The folder of a comparison, with compare.json."""
    out: Annotated[Path | None, OMITTABLE, option("FILE")] = None
    """The page to write; by default report.html in that folder."""


def main(argv: Sequence[str]) -> int:
    """Run the command; `argv` begins with its name.

    Raises:
        InputError: if the folder has no finished comparison.
    """
    arguments = parse(Arguments, argv)
    from motet._internal.folder_lock import clear_leftovers
    from motet.errors import InputError
    from motet.experiments import gather
    from motet.experiments.records import Comparison, read_comparison
    from motet.report import write_report

    source = arguments.folder / "compare.json"
    try:
        record = read_comparison(source)
    except OSError as error:
        raise InputError(
            "a report needs the folder of a comparison",
            got=f"no readable {source} ({type(error).__name__})",
            fix="Pass the folder that motet compare --out wrote",
        ) from error
    if not isinstance(record, Comparison):
        raise InputError(
            "a report needs a finished comparison",
            got=f"{source} without rows",
            fix="Run its motet compare command again to finish it",
        )
    clear_leftovers(arguments.folder)
    page = arguments.out or arguments.folder / "report.html"
    write_report(record, page, gather(arguments.folder, record))
    show_comparison(record)
    say(f"report: {page}")
    return 0
