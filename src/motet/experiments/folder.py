"""Claim output folders, so that a run never overwrites another."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from itertools import count
from pathlib import Path

from motet._internal.files import is_leftover
from motet._internal.folder_lock import is_in_use
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
"""The file name of a run's record in its folder."""
COMPARISON = "compare.json"
"""The file name of a comparison's record in its folder."""

Held = RunRecord | Comparison | StartedComparison
"""The record that claims a folder."""

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
    """Check that `folder` is new, empty, or holds this run. Return the record of the run that it holds.

    Args:
        folder: the folder.
        settings: the settings of the run, or of a comparison's runs by name.
        source: the user's own files that it depends on, see `source_of`.
        data: returns the fingerprint of its data, empty if unknown. Called only if the folder holds a run with a
            fingerprint; records of older versions have none.
        record_name: the name of the record with a run's settings.

    Raises:
        InputError: if it holds another run or other files, or is not a folder; nothing in it is changed.
    """
    _check_place(folder)
    record = folder / record_name
    if not record.exists():
        _check_empty(folder)
        return None
    held = _read(record)
    if held.settings != settings:
        raise InputError(
            f"{folder} must be empty, or contain the same run",
            got=f"another run there, {_difference(held.settings, settings)}",
            fix=_WAY_OUT,
        )
    if (changed := changed_file(held.source, source)) is not None:
        raise InputError(
            f"{folder} must be empty, or contain a run of the same model and code",
            got=f"a run with an earlier version of {changed}",
            fix=_WAY_OUT,
        )
    if held.data is not None and held.data.fingerprint and (now := data()) and now != held.data.fingerprint:
        raise InputError(
            f"{folder} must be empty, or contain a run on the same data",
            got=f"a run with an earlier version of the files of {held.data.name}",
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
    """Return `base`, or the first of ``base-2``, ``base-3``, ... that is free or holds this run. A folder without a
    record that another process is using is not free.

    For default folders: the same command finds its run again, and another run, or a run after the data was changed,
    gets another folder.

    Args:
        base: the preferred folder.
        settings, source, data, record_name: see `claim_folder`.

    Raises:
        InputError: if a parent of `base` is not a folder.
    """
    for number in count(1):
        folder = base if number == 1 else base.with_name(f"{base.name}-{number}")
        try:
            held = claim_folder(folder, settings, source=source, data=data, record_name=record_name)
        except InputError:
            if not folder.exists():  # a parent is not a folder, so no other name would help
                raise
        else:
            # Without a record, another process may be about to begin another run there.
            if held is not None or not is_in_use(folder):
                return folder
    raise AssertionError  # count() does not end


def abandon(folder: Path, record_name: str) -> None:
    """Free a folder that holds only a record, so that another run can use it."""
    (folder / record_name).unlink(missing_ok=True)
    for place in (*reversed([*folder.rglob("*/")]), folder):  # the inner folders first
        with suppress(OSError):  # not empty
            place.rmdir()


def _check_place(folder: Path) -> None:
    """Raise `InputError` if there is a file where the folder, or one of its parents, should be."""
    nearest_there = next((place for place in (folder, *folder.parents) if place.exists()), folder)
    if nearest_there.exists() and not nearest_there.is_dir():
        raise InputError("the output must be a folder", got=f"{nearest_there}, a file", fix=_WAY_OUT)


def _check_empty(folder: Path) -> None:
    """Raise `InputError` if there are files in the folder, other than hidden ones and those of killed processes."""
    names = (item.relative_to(folder) for item in folder.rglob("*") if item.is_file())
    if any(not name.name.startswith(".") and not is_leftover(name) for name in names):
        raise InputError(
            "an output folder must be empty or contain a run", got=f"other files in {folder}", fix=_WAY_OUT
        )


def _read(record: Path) -> Held:
    try:
        return _READERS[record.name](record)
    except InputError as error:
        raise InputError(error.requirement, got=error.got, fix=_WAY_OUT) from error


def _difference(held: object, wanted: object, path: str = "") -> str:
    """Return the name of the first setting in which two records differ."""
    if isinstance(held, dict) and isinstance(wanted, dict):
        for key in [*wanted, *(held.keys() - wanted.keys())]:
            if held.get(key) != wanted.get(key):
                return _difference(held.get(key), wanted.get(key), f"{path}.{key}".lstrip("."))
    if isinstance(held, dict) != isinstance(wanted, dict):  # settings that only one of the two has
        return f"with {path}, which this one does not have" if isinstance(held, dict) else f"without {path}"
    return f"with {path}={short(held)} where this one has {short(wanted)}"
