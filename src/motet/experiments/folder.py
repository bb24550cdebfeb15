"""Whose folder it is: a run never writes over another."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path

from motet._internal.own_code import changed_file
from motet._internal.typed_records import short
from motet.errors import InputError
from motet.experiments.records import (
    Comparison,
    RunRecord,
    Source,
    StartedComparison,
    read_comparison,
    read_run_record,
)

RUN = "run.json"
"""A run's record in its folder."""
COMPARISON = "compare.json"
"""A comparison's record in its folder."""

Held = RunRecord | Comparison | StartedComparison
"""What a folder is taken by."""

_READERS: dict[str, Callable[[Path], Held]] = {RUN: read_run_record, COMPARISON: read_comparison}
_WAY_OUT = "Choose another folder with --out, or move this one away"


def claim_folder(
    folder: Path,
    settings: Mapping[str, object],
    *,
    source: Sequence[Source],
    data: Callable[[], str] = str,
    record_name: str = RUN,
) -> Held | None:
    """Check that `folder` is new, empty, or holds this very run. Return the record of the run that it holds.

    Args:
        folder: the folder.
        settings: of the run, or of a comparison's runs by name.
        source: the user's own files behind it, see `source_of`.
        data: gives the fingerprint of its data, empty if that is not known. Called only where the folder holds a run
            whose data's is; records of older versions have none.
        record_name: the record that holds a run's settings.

    Raises:
        InputError: if it holds another run or other files, or is no folder; nothing in it is touched.
    """
    _check_place(folder)
    record = folder / record_name
    if not record.exists():
        _check_empty(folder)
        return None
    held = _read(record)
    if held.settings != settings:
        raise InputError(
            f"{folder} must be free, or hold the same run",
            got=f"another run there, {_difference(held.settings, settings)}",
            fix=_WAY_OUT,
        )
    if (changed := changed_file(held.source, source)) is not None:
        raise InputError(
            f"{folder} must be free, or hold a run of the same model and code",
            got=f"a run of {changed} as it was before it was changed",
            fix=_WAY_OUT,
        )
    if held.data is not None and held.data.fingerprint and (now := data()) and now != held.data.fingerprint:
        raise InputError(
            f"{folder} must be free, or hold a run on the same data",
            got=f"a run on {held.data.name} as it was before its files were changed",
            fix=_WAY_OUT,
        )
    return held


def free_folder(
    base: Path,
    settings: Mapping[str, object],
    *,
    source: Sequence[Source],
    data: Callable[[], str] = str,
    record_name: str = RUN,
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


def _check_place(folder: Path) -> None:
    """Raise `InputError` if a file stands where the folder, or one above it, should be."""
    nearest_there = next((place for place in (folder, *folder.parents) if place.exists()), folder)
    if nearest_there.exists() and not nearest_there.is_dir():
        raise InputError("the output must be a folder", got=f"{nearest_there}, a file", fix=_WAY_OUT)


def _check_empty(folder: Path) -> None:
    """Raise `InputError` if there are files in the folder."""
    if any(item.is_file() and not item.name.startswith(".") for item in folder.rglob("*")):
        raise InputError("an output folder must be empty or hold a run", got=f"other files in {folder}", fix=_WAY_OUT)


def _read(record: Path) -> Held:
    try:
        return _READERS[record.name](record)
    except InputError as error:
        raise InputError(error.requirement, got=error.got, fix=_WAY_OUT) from error


def _difference(held: object, wanted: object, path: str = "") -> str:
    """Name the first setting in which two records differ."""
    if isinstance(held, dict) and isinstance(wanted, dict):
        for key in [*wanted, *(held.keys() - wanted.keys())]:
            if held.get(key) != wanted.get(key):
                return _difference(held.get(key), wanted.get(key), f"{path}.{key}".lstrip("."))
    if isinstance(held, dict) != isinstance(wanted, dict):  # settings that only one of the two has
        return f"with {path}, which this one has not" if isinstance(held, dict) else f"without {path}"
    return f"with {path}={short(held)} where this one has {short(wanted)}"
