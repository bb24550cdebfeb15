"""Command lines from dataclasses."""

from collections.abc import Sequence
from typing import Any, TypeVar

import tyro

T = TypeVar("T")

OMITTABLE: Any = tyro.conf.DisallowNone
"""Marks an option that is None only by being left out: ``--members None`` is nothing to type."""


def shown(metavar: str, default: str = "") -> Any:
    """How ``--help`` shows an option: what its value is called, and what is taken when it is left out."""
    return tyro.conf.arg(metavar=metavar, help_behavior_hint=f"(default: {default})" if default else "")


def parse(kind: type[T], argv: Sequence[str], *, description: str | None = None) -> T:
    """Fill the dataclass `kind` from ``argv[1:]``; ``argv[0]`` is the command's name.

    A bad argument prints what is wrong, with a suggestion, and exits with code 2; ``--help`` exits with 0. A bool is
    a flag without a value (``--json``), unless its own annotation says otherwise.
    """
    parsed: Any = tyro.cli(
        kind,
        prog=f"motet {argv[0]}",
        description=description,
        args=list(argv[1:]),
        config=(tyro.conf.AvoidSubcommands, tyro.conf.FlagCreatePairsOff),
    )
    filled: T = parsed
    return filled
