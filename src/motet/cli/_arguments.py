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


def members_of(text: str) -> int | list[int]:
    """``2`` is the first two members, ``0,3,5`` are those with these indices, and so is ``3,``."""
    from motet.errors import InputError

    try:
        return [int(part) for part in text.split(",") if part.strip()] if "," in text else int(text)
    except ValueError as error:
        raise InputError(
            "--members takes a number of members, or indices with commas",
            got=repr(text),
            fix="Pass --members 2 for the first two, or --members 0,3,5",
        ) from error


def lost_of(text: str) -> float | list[int]:
    """``0.3`` is a probability, ``1`` or ``1,4`` are members' indices."""
    from motet.errors import InputError

    try:
        return (
            float(text)
            if "." in text or "e" in text.lower()
            else [int(part) for part in text.split(",") if part.strip()]
        )
    except ValueError as error:
        raise InputError(
            "--lost takes a probability, or indices of members with commas",
            got=repr(text),
            fix="Pass --lost 0.3, or --lost 1,4",
        ) from error


def severities_of(words: Sequence[str]) -> list[int]:
    """Whole numbers, with blanks or commas between them."""
    from motet.errors import InputError

    parts = [part for word in words for part in word.split(",") if part]
    wrong = [part for part in parts if not (part.isascii() and part.isdigit())]
    if wrong:
        raise InputError(
            "severities must be whole numbers from 1 to 5",
            got=", ".join(map(repr, wrong)),
            fix="Pass --severities 1 3 5, or leave it out for all five",
        )
    return [int(part) for part in parts]
