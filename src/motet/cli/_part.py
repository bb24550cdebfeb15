"""Which members an option names."""

from collections.abc import Sequence


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


def in_words(chosen: Sequence[int], members: int) -> str:
    """Which members were scored."""
    shown = ", ".join(map(str, chosen))
    return f"{len(chosen)} of {members} members: {shown}"
