"""Find finished runs in folders."""

from pathlib import Path

from motet.errors import InputError, nearest
from motet.experiments.compare import RECORD
from motet.experiments.records import Comparison, read_comparison
from motet.experiments.run import Run, load_run


def find_run(folder: Path, *, trust_code: bool = False) -> Run:
    """Return the finished run in `folder`. See `load_run` for `trust_code`.

    Raises:
        InputError: if there is no such folder, or if it holds no run, an unfinished run, or a comparison.
    """
    if not folder.exists():
        siblings = sorted(item.name for item in folder.parent.glob("*/"))
        raise InputError(
            "an evaluation needs the folder of a run",
            got=f"no folder {folder}",
            fix=f"{nearest(folder.name, siblings)} (in {folder.parent})"
            if siblings
            else "Pass a folder like runs/mimo",
        )
    if not folder.is_dir():
        above = next((place for place in folder.parents if (place / "run.json").exists()), None)
        raise InputError(
            "an evaluation needs the folder of a run",
            got=f"{folder}, a file",
            fix=f"Pass {above}" if above else "Pass a folder like runs/mimo",
        )
    if not (folder / "run.json").exists():
        inside = [place.parent for depth in ("*", "*/*") for place in folder.glob(f"{depth}/run.json")]
        runs = ", ".join(sorted(map(str, inside)))
        raise InputError(
            "an evaluation needs the folder of one run",
            got=f"{'the folder of a comparison' if (folder / RECORD).exists() else 'another folder'}, {folder}",
            fix=f"Pass one of the runs in it: {runs}" if runs else "Pass a folder with a run.json",
        )
    run = load_run(folder, trust_code=trust_code)
    if run is None:
        raise InputError(
            "a run must be finished to be evaluated",
            got=f"{folder}, which has no scores.json",
            fix="Run its command again to finish it",
        )
    return run


def find_runs(folder: Path, *, trust_code: bool = False) -> list[Run]:
    """Return the finished run in `folder`, or all runs of the finished comparison there, method by method.

    See `load_run` for `trust_code`.

    Raises:
        InputError: see `find_run`; and for an unfinished comparison.
    """
    if not (folder / RECORD).is_file():
        return [find_run(folder, trust_code=trust_code)]
    record = read_comparison(folder / RECORD)
    if not isinstance(record, Comparison):
        raise InputError(
            "a comparison must be finished to be evaluated",
            got=f"{folder / RECORD} without rows",
            fix="Run its motet compare command again to finish it",
        )
    names = [name for row in record.rows for name in row.runs]
    if not names:
        raise InputError(
            f"each row in {folder / RECORD} must list the folders of its runs",
            got="no folder in any row",
            fix="Restore the file as motet wrote it, or compare again",
        )
    return [find_run(folder / name, trust_code=trust_code) for name in names]
