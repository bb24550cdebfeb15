"""Paths as users type them."""

from pathlib import Path

from motet.errors import InputError


def user_path(text: str | Path) -> Path:
    """Return a path in which ``~`` and ``~name`` are replaced by home folders.

    Args:
        text: the path.

    Raises:
        InputError: if the home folder cannot be determined.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise InputError(
            "the home folder in a path must be known",
            got=str(text),
            fix=f"Write the whole path; a folder with this very name is ./{text}",
        ) from error
