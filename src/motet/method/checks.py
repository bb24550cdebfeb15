"""Checks of a method and its settings."""

import re
from dataclasses import fields
from typing import TYPE_CHECKING

from motet._internal.own_code import class_name
from motet.errors import InputError

if TYPE_CHECKING:
    from motet.method.base import Method

MOST_MEMBERS = 10_000
"""The largest number of members that is taken for a number and not for a typing error."""


def check_class(kind: "type[Method]") -> None:
    """Check the class of a method.

    Raises:
        InputError: unless it has a `name` that can name a folder, a `label` and a `summary`, each one line of text, and
            settings that are fields of a dataclass.
    """
    for key in ("name", "label", "summary"):
        value = getattr(kind, key, None)
        if not isinstance(value, str) or not value.strip() or "\n" in value:
            raise InputError(
                f"a method's class must have a {key}, one line of text",
                got=f"{class_name(kind)} {'without one' if value is None else f'with {key} = {value!r}'}",
                fix=f'Write {key} = "..." in the class',
            )
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", kind.name) or kind.name == "all" or kind.name.endswith("."):
        raise InputError(
            "a method's name must be one that can name a folder: letters, digits, hyphens, underscores, points",
            got=f"{class_name(kind)} with name = {kind.name!r}",
            fix=f'Write name = "{re.sub("[^a-z0-9]+", "-", kind.name.lower()).strip("-") or "mine"}", for example',
        )
    declared = [key for key, hint in vars(kind).get("__annotations__", {}).items() if "ClassVar" not in str(hint)]
    known = {item.name for item in fields(kind)}
    if lost := [key for key in declared if key not in known]:
        raise InputError(
            "a method's settings must be the fields of a dataclass",
            got=f"{class_name(kind)} with {lost[0]}, which is not a field",
            fix="Write @dataclass(frozen=True, kw_only=True) above the class",
        )


def check_members(members: int) -> None:
    """Check a number of members, in a method's ``__post_init__``.

    Args:
        members: M.

    Raises:
        InputError: unless it is an integer from 1 to 10,000.
    """
    if not hasattr(members, "__index__"):
        raise InputError("members must be an integer", got=f"members={members!r}", fix="Pass members=3, for example")
    if members < 1:
        raise InputError("members must be at least 1", got=f"members={members}", fix="Pass members=1 or more")
    if members > MOST_MEMBERS:
        raise InputError(
            f"members must be at most {MOST_MEMBERS:,}", got=f"members={members}", fix="Pass a smaller number"
        )
