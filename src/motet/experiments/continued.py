"""Runs that were continued: what ran when, and what may not be mixed."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import motet
from motet._internal.typed_records import write_record
from motet.errors import InputError
from motet.experiments.folder import RUN
from motet.experiments.records import Comparison, Continuation, RunRecord, read_run_record
from motet.training import newest_checkpoint
from motet.training.member_checkpoint import finished_epochs

_COMPARED = ("motet", "python", "torch")


def begin_or_continue(folder: Path, now: RunRecord, say: Callable[[str], None]) -> None:
    """Write the record of a run that begins, or add to it that the run continues now.

    Args:
        folder: the run's folder.
        now: the record of the run, with the versions, the commit and the hardware of this process.
        say: called with one line about how it continues.

    Raises:
        InputError: if the run was begun by another minor version of motet, which may train differently.
    """
    if newest_checkpoint(folder) is None:  # nothing was trained that this process will use
        write_record(folder / RUN, now)
        return
    before = read_run_record(folder / RUN)
    check_minor_version(folder, before)
    epoch = finished_epochs(folder)
    say(f"continuing from the checkpoint in {folder}")
    if changes := _differences(_parts(before)[-1], now):
        say(f"note: from epoch {epoch + 1} on it is trained with {changes}; {folder / RUN} says so")
    this = Continuation(
        after_epoch=epoch, created=now.created, commit=now.commit, versions=now.versions, hardware=now.hardware
    )
    write_record(folder / RUN, replace(before, continued=(*(before.continued or ()), this)))


def check_minor_version(folder: Path, held: RunRecord) -> None:
    """Raise `InputError` if a run was begun by another minor version of motet, because results would be mixed.

    Args:
        folder: its folder.
        held: its record.

    Raises:
        InputError: if it was.
    """
    begun = held.versions.get("motet", "")
    if begun and _minor(begun) != _minor(motet.__version__):
        raise InputError(
            "a run or a comparison must be continued with the minor version of motet that began it, because another "
            "one may train differently",
            got=f"{folder}, begun with motet {begun}; this is {motet.__version__}",
            fix=f"Choose another folder with --out, or install motet=={begun} to continue this one",
        )


def check_finished_runs(folder: Path, names: Iterable[str]) -> None:
    """Check that a comparison can be continued without mixing results of two minor versions of motet.

    Args:
        folder: the comparison's folder.
        names: the names of its runs' folders.

    Raises:
        InputError: if a run in it was begun by another minor version.
    """
    for name in names:
        if newest_checkpoint(folder / name) is not None and (folder / name / RUN).exists():
            check_minor_version(folder / name, read_run_record(folder / name / RUN))


def other_versions(runs: Mapping[str, RunRecord], now: Comparison) -> tuple[str, ...] | None:
    """Return in words which runs of a comparison were trained with other versions or on another machine; None if none.

    Args:
        runs: the runs' records, by the name of their folder.
        now: the comparison, with the versions and the machine that finished it.
    """
    found = [
        f"{name}: {changes}"
        for name, record in runs.items()
        for changes in dict.fromkeys(_differences(now, part) for part in _parts(record))
        if changes
    ]
    return tuple(found) or None


_Part = RunRecord | Continuation | Comparison


def _parts(record: RunRecord) -> list[_Part]:
    """Return the parts of a run, one for each process that trained it."""
    return [record, *(record.continued or ())]


def _differences(first: _Part, second: _Part) -> str:
    """Return in words how versions, commit and hardware of `second` differ from those of `first`; empty if not."""
    found = [
        f"{name} {second.versions[name]} instead of {first.versions[name]}"
        for name in _COMPARED
        if name in first.versions and second.versions.get(name, first.versions[name]) != first.versions[name]
    ]
    if first.commit != second.commit:
        found.append(f"commit {second.commit or 'unknown'} instead of {first.commit or 'unknown'}")
    for name in ("device", "processor"):
        here, there = getattr(first.hardware, name), getattr(second.hardware, name)
        if here and there and here != there:
            found.append(f"{name} {there} instead of {here}")
    return ", ".join(found)


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]
