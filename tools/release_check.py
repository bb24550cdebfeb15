"""Check a release before it is published.

    python tools/release_check.py [PYTEST_ARGUMENT ...]      or: make release-check

It builds the source distribution and, from it, the wheel. It checks what they contain, installs each in a clean
environment, tries the wheel, and runs the tests from the unpacked source distribution, which are the fast ones if no
arguments for pytest are given. It uses the tracked files of the working tree, with their present content, and writes
only to a temporary folder. A failed step ends the program with exit code 1.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import venv
import zipfile
from collections.abc import Sequence
from pathlib import Path

from packaging.metadata import Metadata

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
# Tracked files that the source distribution does not have.
LEFT_OUT = {".gitignore"}
FAST_TESTS = ("-n", "2", "-m", "not slow and not long")
# A working tree's packages and settings must not hide that something is missing.
NOT_INHERITED = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
SMOKE_TEST = """
import motet, torch
net = motet.models.mlp(input_shape=(4,), num_classes=3)
x, y = torch.randn(8, 4), torch.randint(3, (8,))
ensemble = motet.MIMO(members=3).wrap(net, example=x[:1])
ensemble.loss(x, y).backward()
assert ensemble.predict(x).probs.shape == (8, 3)
motet.report.render, motet.plots.style, motet.recipes
"""


def main(pytest_arguments: Sequence[str]) -> int:
    try:
        with tempfile.TemporaryDirectory(prefix="motet-release-") as folder:
            check(Path(folder), pytest_arguments or FAST_TESTS)
    except (CheckError, subprocess.CalledProcessError) as error:
        print(f"release-check failed: {error}", file=sys.stderr)
        return 1
    return 0


class CheckError(Exception):
    """A distribution is incomplete or wrong."""


def check(folder: Path, pytest_arguments: Sequence[str]) -> None:
    tracked = tracked_files()
    source, dist, empty = folder / "source", folder / "dist", folder / "empty"
    empty.mkdir()
    for name in tracked:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, source / name)

    step("Build")
    run([sys.executable, "-m", "build", "--no-isolation", "--outdir", str(dist), str(source)], folder, quiet=True)
    (sdist,), (wheel,) = dist.glob("*.tar.gz"), dist.glob("*.whl")

    step("Contents")
    check_contents(tracked, sdist, wheel)

    step(f"Install {wheel.name} in a clean environment and try it")
    python = environment(folder / "wheel-environment", str(wheel))
    motet = str(python.with_name("motet"))
    run([motet, "--version"], empty)
    run([motet, "methods"], empty, quiet=True)
    run([str(python), "-W", "error", "-c", SMOKE_TEST], empty)
    shutil.rmtree(folder / "wheel-environment")

    step(f"Install {sdist.name} in a clean environment and run tests from it")
    with tarfile.open(sdist) as archive:
        archive.extractall(folder / "unpacked", filter="data")
    (unpacked,) = (folder / "unpacked").iterdir()
    python = environment(folder / "sdist-environment", f"{sdist}[dev]")
    # The tests must import the installed package, and not one from a folder of sources.
    installed = run([str(python), "-c", "import motet; print(motet.__file__)"], unpacked, quiet=True)
    expect(Path(installed.strip()).is_relative_to(folder / "sdist-environment"), f"motet was imported from {installed}")
    run([str(python), "-m", "pytest", *pytest_arguments], unpacked)
    print("\nThe release is complete.")


def tracked_files() -> list[str]:
    """Return the names of the files that git tracks."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return [name for name in listed.split("\0") if name]


def check_contents(tracked: Sequence[str], sdist: Path, wheel: Path) -> None:
    """Compare both distributions with the tracked files, and validate the wheel's metadata.

    Args:
        tracked: names of the files that git tracks.
        sdist: the source distribution.
        wheel: the wheel.

    Raises:
        CheckError: if a file is missing or should not be there.
    """
    with tarfile.open(sdist) as archive:
        members = {each.name.partition("/")[2] for each in archive.getmembers() if each.isfile()}
    generated = {name for name in members if name in ("PKG-INFO", "setup.cfg") or ".egg-info/" in name}
    same_files(sdist.name, members - generated, set(tracked) - LEFT_OUT)

    with zipfile.ZipFile(wheel) as archive:
        members = {name for name in archive.namelist() if not name.endswith("/")}
        (information,) = {name.partition("/")[0] for name in members if ".dist-info/" in name}
        metadata = Metadata.from_email(archive.read(f"{information}/METADATA"), validate=True)
    package = {name.removeprefix("src/") for name in tracked if name.startswith("src/")}
    same_files(wheel.name, {name for name in members if not name.startswith(f"{information}/")}, package)

    expect(metadata.description_content_type == "text/markdown", "The description must be Markdown.")
    expect("](docs/" not in (metadata.description or ""), "The description must have absolute links only.")
    print(
        f"{sdist.name} and {wheel.name} hold the {len(tracked)} tracked files, but for {', '.join(sorted(LEFT_OUT))}."
    )


def same_files(name: str, found: set[str], expected: set[str]) -> None:
    """Raise an error that names the files in which a distribution differs from the repository."""
    problems = [f"{each} is missing" for each in sorted(expected - found)]
    problems += [f"{each} should not be there" for each in sorted(found - expected)]
    expect(not problems, f"{name} differs from the repository:\n  " + "\n  ".join(problems))


def environment(folder: Path, requirement: str) -> Path:
    """Make an environment with motet and the versions of the lock file, and return its Python."""
    venv.create(folder, with_pip=True)
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    # torch comes first and pinned, as in the lock file: pip then picks its build once.
    torch = next(line for line in LOCK.read_text(encoding="utf-8").splitlines() if line.startswith("torch=="))
    run([str(python), "-m", "pip", "install", "--quiet", "--constraint", str(LOCK), torch, requirement], folder)
    return python


def run(command: Sequence[str], folder: Path, *, quiet: bool = False) -> str:
    """Run a command in a folder, and return what it printed if `quiet`."""
    variables = {name: value for name, value in os.environ.items() if name not in NOT_INHERITED}
    done = subprocess.run(
        command, cwd=folder, env=variables, check=False, text=True, stdout=subprocess.PIPE if quiet else None
    )
    if done.returncode:
        print(done.stdout or "")
        done.check_returncode()
    return done.stdout or ""


def step(text: str) -> None:
    print(f"\n== {text}", flush=True)


def expect(holds: bool, requirement: str) -> None:
    if not holds:
        raise CheckError(requirement)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
