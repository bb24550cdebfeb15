"""The guide's method runs, its list of places is complete, and no page counts the methods by hand."""

import importlib
import inspect
import re
import sys
from pathlib import Path

import pytest

from motet.cli.main import main
from motet.methods import METHODS

ROOT = Path(__file__).resolve().parent.parent
GUIDE = (ROOT / "docs" / "adding-a-method.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", GUIDE, flags=re.DOTALL)
SKELETON = BLOCKS[0]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unchecked: None) -> Path:
    """An empty folder with the guide's method."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())
    (tmp_path / "mine.py").write_text(SKELETON)
    return tmp_path


@pytest.mark.slow
def test_the_skeleton_is_short_and_complete(folder: Path) -> None:
    assert len([line for line in SKELETON.splitlines() if line.strip()]) < 45
    names: dict[str, object] = {}
    sys.path.insert(0, str(folder))
    exec("from mine import *", names)
    try:
        for block in BLOCKS[1:]:  # it wraps, has a loss, and keeps the laws
            exec(block, names)
    finally:
        del sys.modules["mine"]


@pytest.mark.slow
def test_the_skeleton_trains_in_a_comparison(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (command,) = re.findall(r"^motet compare (.*mine\.py:Mine .*)$", GUIDE, flags=re.MULTILINE)
    short = ["--epochs", "1", "--seeds", "1", "--out", "runs/compare-digits"]
    assert main(["compare", *command.replace("single mimo ", "single ").split(), *short]) == 0
    assert "Mine, width \N{MULTIPLICATION SIGN}0.5" in capsys.readouterr().out
    for line in re.findall(r"^motet (evaluate .*|report .*)$", GUIDE, flags=re.MULTILINE):
        assert main(line.split()) == 0


def files_that_name(name: str, kind: str) -> set[str]:
    """Files of the repository, but for records, that have a method's name in any of its forms."""
    pattern = re.compile(rf"\b({re.escape(name)}|{name.replace('-', '_')}|{kind})\b")
    pages = [ROOT / "README.md", ROOT / "CHANGELOG.md", *(ROOT / "docs").glob("*.md")]
    sources = [file for part in ("src", "tests", "tools") for file in (ROOT / part).rglob("*.py*")]
    sources = [file for file in sources if file.suffix in (".py", ".pyi")]
    found = (file for file in [*pages, *sources] if pattern.search(file.read_text(encoding="utf-8")))
    return {file.relative_to(ROOT).as_posix() for file in found}


@pytest.mark.slow
def test_the_list_of_places_is_complete() -> None:
    """Files that name every method are the places to touch; each method has files of its own besides."""
    listed = re.findall(r"^\d+\. ((?:`[^`]+`(?:, )?)+)", GUIDE, flags=re.MULTILINE)
    places = {place for item in listed for place in re.findall(r"`([^`]+)`", item)}
    numbers = [int(number) for number in re.findall(r"^(\d+)\. `", GUIDE, flags=re.MULTILINE)]
    assert numbers == list(range(1, len(listed) + 1))
    common = set.intersection(*(files_that_name(name, kind.__name__) for name, kind in METHODS.items()))
    own = {place for place in places if "NAME" in place}
    generated = {"docs/zoo.md"}  # has the methods' labels, where its record has them
    assert places - own - generated == common
    assert own == {"src/motet/methods/NAME.py", "tests/methods/test_NAME.py"}
    assert "docs/img/methods/NAME.svg" in GUIDE
    for name in METHODS:
        assert (ROOT / "src" / "motet" / "methods" / f"{name.replace('-', '_')}.py").is_file()
        assert (ROOT / "docs" / "img" / "methods" / f"{name}.svg").is_file()


def test_the_methods_page_has_every_method_once() -> None:
    page = (ROOT / "docs" / "methods.md").read_text(encoding="utf-8")
    for name, kind in METHODS.items():
        assert page.count(f"(img/methods/{name}.svg)") == 1
        assert page.count(f"| [{kind.__name__}](#") == 1
    assert page.count("(img/methods/") == len(METHODS)


COUNT = r"(?:ten|eleven|twelve|thirteen|fourteen|fifteen|sixteen|seventeen|eighteen|nineteen|twenty)"


def test_no_page_counts_the_methods_by_hand() -> None:
    wrong = re.compile(rf"\b(?:{COUNT}|1\d|2\d) (?:(?:\w+ )?methods|answers)\b|\bof the {COUNT}\b", flags=re.IGNORECASE)
    assert wrong.search("four of the fourteen")
    assert wrong.search("all 14 methods")
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]
    pages += [file for part in ("src", "tools") for file in (ROOT / part).rglob("*.py")]
    assert [page.name for page in pages if wrong.search(page.read_text(encoding="utf-8"))] == []


def kit() -> list[tuple[str, str]]:
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        found: dict[str, tuple[str, ...]] = importlib.import_module("generate_docs").KIT
    finally:
        sys.path.remove(str(ROOT / "tools"))
    return [(module, name) for module, names in found.items() for name in names]


@pytest.mark.parametrize(("module", "name"), kit())
def test_what_a_method_is_made_of_is_documented(module: str, name: str) -> None:
    part = getattr(importlib.import_module(module), name)
    doc = inspect.getdoc(part) or ""
    for argument in inspect.signature(part).parameters:
        assert re.search(rf"^    (\w+, )*{argument}(, \w+)*: ", doc, flags=re.MULTILINE), argument
    if inspect.isfunction(part) and name != "check_members":
        assert "Returns:" in doc
    assert f"- `{name}(" in GUIDE
