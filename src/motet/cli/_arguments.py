"""Command lines from dataclasses."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import tyro

if TYPE_CHECKING:
    from motet.data import Augmentation

T = TypeVar("T")
_EXAMPLES = {"crop": 4, "padding": "reflect", "resized_crop": 0.08, "cutout": 16, "mixup": 0.2}

OMITTABLE: Any = tyro.conf.DisallowNone
"""Marks an option that is None only if it is left out: nobody types ``--members None``."""


def option(metavar: str, default: str = "") -> Any:
    """Set how ``--help`` shows an option: the name of its value, and the default."""
    return tyro.conf.arg(metavar=metavar, help_behavior_hint=f"(default: {default})" if default else "")


def parse(kind: type[T], argv: Sequence[str], *, description: str | None = None) -> T:
    """Fill the dataclass `kind` from ``argv[1:]``; ``argv[0]`` is the command's name.

    A bad argument prints the error with a suggestion, and exits with code 2; ``--help`` exits with code 0. A bool is a
    flag without a value (``--json``), unless its annotation says otherwise.

    Args:
        kind: a dataclass with the command's options.
        argv: the command's name and its arguments.
        description: the description in ``--help``; the docstring of `kind` if None.
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


def parse_members(text: str) -> int | list[int]:
    """Parse the option ``--members``: ``2`` means the first two members, ``0,3,5`` the members with these indices, and
    ``3,`` the member 3.

    Raises:
        InputError: for another text.
    """
    from motet.errors import InputError

    try:
        return [int(part) for part in text.split(",") if part.strip()] if "," in text else int(text)
    except ValueError as error:
        raise InputError(
            "--members takes a number of members, or indices separated by commas",
            got=repr(text),
            fix="Pass --members 2 for the first two, or --members 0,3,5",
        ) from error


def parse_augmentation(words: Sequence[str]) -> "Augmentation":
    """Parse the option ``--augment``: ``none``, or settings of `motet.data.Augmentation`, such as ``flip crop=4``.

    Raises:
        InputError: for another setting or value.
    """
    from dataclasses import fields

    from motet.data import Augmentation
    from motet.errors import InputError, nearest

    items = [word for item in words for word in item.split(",") if word]
    if items == ["none"]:
        return Augmentation()
    kinds: dict[str, Any] = {item.name: type(item.default) for item in fields(Augmentation)}
    settings: dict[str, Any] = {}
    for word in items:
        name, equals, value = word.partition("=")
        name = name.replace("-", "_")
        if name not in kinds:
            raise InputError("--augment takes none, or settings", got=repr(word), fix=nearest(name, ["none", *kinds]))
        if (kinds[name] is bool) == bool(equals):
            way = name if kinds[name] is bool else f"{name}={_EXAMPLES.get(name, 1)}"
            raise InputError(f"--augment takes {way}", got=repr(word), fix=f"Write {way}")
        try:
            settings[name] = True if kinds[name] is bool else kinds[name](value)
        except ValueError as error:
            raise InputError(
                f"{name} of --augment must be a number", got=repr(value), fix=f"Write {name}={_EXAMPLES.get(name, 1)}"
            ) from error
    return Augmentation(**settings)


def parse_lost(text: str) -> float | list[int]:
    """Parse the option ``--lost``: ``0.3`` is a probability, ``1`` or ``1,4`` are members' indices.

    Raises:
        InputError: for another text.
    """
    from motet.errors import InputError

    try:
        return (
            float(text)
            if "." in text or "e" in text.lower()
            else [int(part) for part in text.split(",") if part.strip()]
        )
    except ValueError as error:
        raise InputError(
            "--lost takes a probability, or indices of members separated by commas",
            got=repr(text),
            fix="Pass --lost 0.3, or --lost 1,4",
        ) from error


def parse_severities(words: Sequence[str]) -> list[int]:
    """Parse the option ``--severities``: integers separated by blanks or commas.

    Raises:
        InputError: for another text.
    """
    from motet.errors import InputError

    parts = [part for word in words for part in word.split(",") if part]
    wrong = [part for part in parts if not (part.isascii() and part.isdigit())]
    if wrong:
        raise InputError(
            "severities must be integers from 1 to 5",
            got=", ".join(map(repr, wrong)),
            fix="Pass --severities 1 3 5, or leave it out for all five",
        )
    return [int(part) for part in parts]
