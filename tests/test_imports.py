"""Imports go one way, and heavy libraries are imported where they are used."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import motet

ROOT = Path(motet.__file__).parent

# A part may import the parts before it, and itself. docs/design.md draws the arrows; this is one order that has them.
ORDER = [
    "errors",
    "_internal",
    "types",
    "likelihoods",
    "grouping",
    "prediction",
    "objectives",
    "layers",
    "surgery",
    "summary",
    "inference",
    "distributed",
    "ensemble",
    "method",
    "methods",
    "models",
    "testing",
    "data",
    "shifts",
    "metrics",
    "analyses",
    "evaluation",
    "training",
    "experiments",
    "plots",
    "report",
    "recipes",
    "cli",
]

FILES = sorted(ROOT.rglob("*.py"))


def part_of(file: Path) -> str:
    return file.relative_to(ROOT).parts[0].removesuffix(".py")


def imported(file: Path) -> Iterator[tuple[str, int]]:
    """Every module of motet's that a file imports, at its top or in a function, by its full name."""
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}:{node.lineno}: a relative import"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        yield from ((name, node.lineno) for name in names if name.split(".")[0] == "motet")


def test_every_part_is_in_the_order() -> None:
    parts = {part_of(file) for file in FILES} - {"__init__", "__main__"}
    assert parts == set(ORDER)
    assert len(ORDER) == len(set(ORDER))


# Not motet/__init__.py: the public names come from everywhere, when they are used.
@pytest.mark.parametrize(
    "file", [file for file in FILES if part_of(file) != "__init__"], ids=lambda file: str(file.relative_to(ROOT))
)
def test_nothing_imports_upwards(file: Path) -> None:
    part = part_of(file)
    wrong = []
    for name, line in imported(file):
        pieces = name.split(".")
        if name in ("motet", "motet.__version__"):
            continue  # for its version; checked below
        allowed = ORDER if part == "__main__" else ORDER[: ORDER.index(part) + 1]
        if pieces[1] not in allowed:
            wrong.append(f"{file}:{line} imports {name}")
    assert wrong == []


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_the_package_itself_is_asked_for_its_version_only(file: Path) -> None:
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "motet":
            assert node.attr == "__version__", f"{file}:{node.lineno}: motet.{node.attr}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_private_files_are_imported_from_their_own_folder_only(file: Path) -> None:
    for name, line in imported(file):
        pieces = name.split(".")
        for depth, piece in enumerate(pieces[1:], start=1):
            private = piece.startswith("_") and not piece.startswith("__")
            if private and ROOT.joinpath(*pieces[1 : depth + 1]).with_suffix(".py").exists():
                folder = ROOT.joinpath(*pieces[1:depth])
                assert file.is_relative_to(folder), f"{file}:{line} imports {name}"


HEAVY = ("torch", "lightning_fabric", "matplotlib", "pydantic", "sklearn", "scipy", "rich", "tyro", "jinja2", "numpy")


def imported_by(code: str) -> set[str]:
    """What a fresh interpreter has imported of the heavy libraries after running `code`."""
    script = f"{code}\nimport sys\nprint(*({HEAVY!r} & sys.modules.keys()))".replace(f"{HEAVY!r}", repr(set(HEAVY)))
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, check=True)
    return set(done.stdout.splitlines()[-1].split())


def test_import_motet_imports_nothing_heavy() -> None:
    assert imported_by("import motet\nmotet.__version__") == set()


@pytest.mark.slow
def test_the_core_imports_torch_and_little_else() -> None:
    names = "MIMO, Single, DeepEnsemble, Ensemble, Prediction, Batch, Categorical, Independent, Permuted, InputError"
    code = f"from motet import {names}, models, metrics\nmodels.mlp, metrics.ece"
    assert imported_by(code) <= {"torch", "numpy"}
    assert imported_by(f"{code}\nfrom motet import data\ndata.load") <= {"torch", "numpy", "pydantic"}


@pytest.mark.parametrize("argument", ["--help", "-h", "--version"])
def test_help_does_not_wait_for_torch(argument: str) -> None:
    assert imported_by(f"from motet.cli.main import main\nassert main([{argument!r}]) == 0") == set()


def test_a_mistyped_command_does_not_wait_for_torch() -> None:
    assert imported_by("from motet.cli.main import main\nassert main(['compaer']) == 2") == set()
