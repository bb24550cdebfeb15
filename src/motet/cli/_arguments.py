"""Command lines from dataclasses."""

from collections.abc import Sequence
from typing import Any, TypeVar

T = TypeVar("T")


def parse(kind: type[T], argv: Sequence[str], *, description: str | None = None) -> T:
    """Fill the dataclass `kind` from ``argv[1:]``; ``argv[0]`` is the command's name.

    A bad argument prints what is wrong, with a suggestion, and exits with code 2; ``--help`` exits with 0.
    """
    import tyro

    parsed: Any = tyro.cli(
        kind,
        prog=f"motet {argv[0]}",
        description=description,
        args=list(argv[1:]),
        config=(tyro.conf.AvoidSubcommands, tyro.conf.FlagConversionOff),
    )
    filled: T = parsed
    return filled
