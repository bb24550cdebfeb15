"""Find the finished runs of tools/study_joint_training.py, and say which ones are missing."""

import sys
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))  # for tests, which import this file from another folder

from study_joint_training import LAMBDAS, RECIPES

from motet.experiments.run import Run, load_run
from motet.methods import ModularNetwork
from motet.models import MLP

MODULES = 256  # of the figures about losing modules and about specialists


def find_runs(folders: Sequence[Path]) -> tuple[list[Run], list[str]]:
    """The finished runs below these folders, in order; and what is not there or not finished, in words."""
    runs: list[Run] = []
    missing = []
    found: set[tuple[int, int, float, int]] = set()
    for folder in folders:
        if not folder.is_dir():
            missing.append(f"the folder {folder.name}")
            continue
        for path in sorted(folder.iterdir()):
            if not path.is_dir() or path.name.startswith("."):
                continue
            try:
                run = load_run(path)
                if run is None:
                    missing.append(f"{folder.name}/{path.name} (not finished)")
                elif isinstance(run.experiment.method, ModularNetwork) and isinstance(run.experiment.model, MLP):
                    _check(run)
                    if order(run) in found:
                        missing.append(f"{folder.name}/{path.name} (left out: the same run is in another folder)")
                    else:
                        found.add(order(run))
                        runs.append(run)
            except (ValueError, OSError, LookupError) as error:
                missing.append(f"{folder.name}/{path.name} (damaged: {_first(error, path)})")
    return sorted(runs, key=order), missing + _not_trained(runs)


def order(run: Run) -> tuple[int, int, float, int]:
    return -modules(run), epochs(run), lam(run), seed(run)


def epochs(run: Run) -> int:
    return run.experiment.training.epochs


def modules(run: Run) -> int:
    return run.experiment.method.members


def lam(run: Run) -> float:
    method = run.experiment.method
    assert isinstance(method, ModularNetwork)
    return method.lam


def seed(run: Run) -> int:
    return run.experiment.seed


def fewest_epochs(runs: Sequence[Run]) -> list[Run]:
    """The runs of 256 modules with the fewest epochs, which there should be of every lambda."""
    many = [run for run in runs if modules(run) == MODULES]
    shortest = min((epochs(run) for run in many), default=0)
    return [run for run in many if epochs(run) == shortest]


def _check(run: Run) -> None:
    """Read the files that the record needs. Raises `ValueError` or `OSError` if one is missing or damaged."""
    if lacking := {"accuracy", "nll", "member_accuracy", "member_nll"} - run.scores.test.keys():
        raise ValueError(f"no {min(lacking)} in scores.json")
    if not run.history:
        raise ValueError("no epochs in history.csv")
    if modules(run) == MODULES and run.prediction.targets is None:
        raise ValueError("predictions without targets")


def _not_trained(runs: Sequence[Run]) -> list[str]:
    """The combinations of a division and lambda that no finished run of the shortest training has."""
    if not runs:
        return []
    shortest = min(map(epochs, runs))
    trained = {(modules(run), lam(run)) for run in runs if epochs(run) == shortest}
    missing = []
    for members in RECIPES:
        lambdas = LAMBDAS if members > 1 else (1.0,)
        absent = [f"{value:g}" for value in lambdas if (members, value) not in trained]
        if absent:
            what = f"{members} modules" if members > 1 else "one network"
            missing.append(f"{what} with lambda {', '.join(absent)} ({shortest} epoch{'s' * (shortest > 1)})")
    return missing


def _first(error: Exception, path: Path) -> str:
    """An error's first clause, on one line and without the place of the run's folder."""
    text = str(error).split("\n")[0].split(". ")[0] or type(error).__name__
    return text.replace(f"{path.resolve()}/", "").replace(f"{path}/", "")
