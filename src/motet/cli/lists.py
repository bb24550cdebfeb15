"""The commands ``motet methods``, ``motet data`` and ``motet recipes``."""

from collections.abc import Sequence
from dataclasses import dataclass

from motet.cli._arguments import parse
from motet.cli._show import show, show_lines


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """List the available names, one per line."""

    json: bool = False
    """Print JSON."""


def main(argv: Sequence[str]) -> int:
    """Run the command; `argv` begins with its name."""
    arguments = parse(Arguments, argv)
    lines = {"methods": _methods, "data": _data, "recipes": _recipes}[argv[0]]()
    if arguments.json:
        from motet._internal.files import to_json

        show(to_json(lines).rstrip())
    else:
        show_lines(lines.items())
    return 0


def _methods() -> dict[str, str]:
    from motet.methods import METHODS

    return {name: method.summary for name, method in METHODS.items()}


def _data() -> dict[str, str]:
    from motet.data import DATASETS

    return {
        name: entry.description
        + (f"; {'downloaded' if entry.downloaded else 'files'} from {entry.source}" if entry.needs_files else "")
        + (", or in --data-dir" if entry.downloaded else ", in --data-dir" if entry.needs_files else "")
        for name, entry in DATASETS.items()
    }


def _recipes() -> dict[str, str]:
    from motet.recipes import recipes

    return recipes()
