"""Whose folder it is: a run never writes over another."""

from collections.abc import Callable
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

from motet._internal.files import read_json
from motet._internal.own_code import Source, changed_file
from motet.errors import InputError


def claim_folder(
    folder: Path,
    settings: dict[str, Any],
    *,
    source: Source,
    data: Callable[[], str] = str,
    record_name: str = "run.json",
) -> None:
    """Check that `folder` is new, empty, or holds this very run.

    Args:
        folder: the folder.
        settings: of the run.
        source: the user's own files behind it, see `source_of`.
        data: gives the fingerprint of its data, empty if that is not known. Called only where the folder holds a run
            whose data's is; records of older versions have none.
        record_name: the record that holds a run's settings.

    Raises:
        InputError: if it holds another run or other files, or is no folder; nothing in it is touched.
    """
    way_out = "Choose another folder with --out, or move this one away"
    nearest_there = next((place for place in (folder, *folder.parents) if place.exists()), folder)
    if nearest_there.exists() and not nearest_there.is_dir():
        raise InputError("the output must be a folder", got=f"{nearest_there}, a file", fix=way_out)
    record = folder / record_name
    if record.exists():
        try:
            content = read_json(record)
            held, held_source = content["settings"], content.get("source")
            held_data = content.get("data") or {}
            name, fingerprint = held_data.get("name"), held_data.get("fingerprint")
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise InputError("a run's record must be readable", got=f"{record} ({error})", fix=way_out) from error
        if held != settings:
            raise InputError(
                f"{folder} must be free, or hold the same run",
                got=f"another run there, {_difference(held, settings)}",
                fix=way_out,
            )
        if (changed := changed_file(held_source, source)) is not None:
            raise InputError(
                f"{folder} must be free, or hold a run of the same model and code",
                got=f"a run of {changed} as it was before it was changed",
                fix=way_out,
            )
        if fingerprint and (now := data()) and now != fingerprint:
            raise InputError(
                f"{folder} must be free, or hold a run on the same data",
                got=f"a run on {name} as it was before its files were changed",
                fix=way_out,
            )
    elif any(item.is_file() and not item.name.startswith(".") for item in folder.rglob("*")):
        raise InputError("an output folder must be empty or hold a run", got=f"other files in {folder}", fix=way_out)


def free_folder(
    base: Path,
    settings: dict[str, Any],
    *,
    source: Source,
    data: Callable[[], str] = str,
    record_name: str = "run.json",
) -> Path:
    """`base`, or the first of ``base-2``, ``base-3``, ... that is free or holds this very run.

    For a folder that nobody chose: the same command finds its run again, and another one, or one after the data was
    changed, does not meet it. Arguments as `claim_folder`'s.
    """
    for number in count(1):
        folder = base if number == 1 else base.with_name(f"{base.name}-{number}")
        try:
            claim_folder(folder, settings, source=source, data=data, record_name=record_name)
        except InputError:
            if not folder.exists():  # something above it is no folder: no other name would help
                raise
        else:
            return folder
    raise AssertionError  # count() does not end


def abandon(folder: Path, record_name: str) -> None:
    """Give up a folder that holds nothing but a record, so that another run may have it."""
    (folder / record_name).unlink(missing_ok=True)
    for place in (*reversed([*folder.rglob("*/")]), folder):  # the inner folders first
        with suppress(OSError):  # not empty
            place.rmdir()


def _difference(held: Any, wanted: Any, path: str = "") -> str:
    """Name the first setting in which two records differ."""
    if isinstance(held, dict) and isinstance(wanted, dict):
        for key in [*wanted, *(held.keys() - wanted.keys())]:
            if held.get(key) != wanted.get(key):
                return _difference(held.get(key), wanted.get(key), f"{path}.{key}".lstrip("."))
    if isinstance(held, dict) != isinstance(wanted, dict):  # settings that only one of the two has
        return f"with {path}, which this one has not" if isinstance(held, dict) else f"without {path}"
    return f"with {path}={held!r} where this one has {wanted!r}"
