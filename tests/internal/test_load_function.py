import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from motet._internal.loading import load_function
from motet.errors import InputError


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A folder of its own as the current one; what is imported from it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    path, known = list(sys.path), set(sys.modules)
    yield
    # The user's folders may stay behind everything else, and never before.
    assert sys.path[: len(path)] == path
    assert all(Path(folder).is_relative_to(tmp_path) for folder in sys.path[len(path) :])
    sys.path[:] = path
    for name in set(sys.modules) - known:
        del sys.modules[name]


def write(name: str, text: str) -> Path:
    path = Path(name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_a_function_in_a_file() -> None:
    path = write("deep/down/model.py", "def make(x=3):\n    return x + 1\n")
    for reference in ("deep/down/model.py:make", f"{path.resolve()}:make"):
        assert load_function(reference)() == 4
    assert "model" not in sys.modules


def test_a_file_in_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(Path.cwd()))
    write("in_home.py", "def make():\n    return 'home'\n")
    assert load_function("~/in_home.py:make")() == "home"


def test_a_function_in_a_module_of_the_current_folder_or_the_environment() -> None:
    write("mine_for_tests/__init__.py", "")
    write("mine_for_tests/nets.py", "def make():\n    return 'mine'\n")
    assert load_function("mine_for_tests.nets:make")() == "mine"
    assert load_function("os.path:join")("a", "b") == "a/b"
    assert load_function("collections:OrderedDict")() == {}  # anything that can be called


def test_a_file_imports_from_its_own_folder_and_can_hold_dataclasses() -> None:
    write("sub/helper_for_tests.py", "value = 7\n")
    write(
        "sub/model.py",
        "from __future__ import annotations\nfrom dataclasses import dataclass\nfrom helper_for_tests import value\n"
        "@dataclass\nclass Net:\n    size: int = value\n",
    )
    assert load_function("sub/model.py:Net")().size == 7


def test_two_files_of_one_name_are_two_modules_and_each_runs_once() -> None:
    for folder in ("a", "b"):
        write(f"{folder}/model.py", f"runs = []\nruns.append(1)\ndef make():\n    return {folder!r}, len(runs)\n")
    assert [load_function(f"{folder}/model.py:make")() for folder in ("a", "b", "a")] == [("a", 1), ("b", 1), ("a", 1)]


@pytest.mark.parametrize(
    "reference", ["make", "model.py", ":make", "model.py:", "model.py:1x", "a:b c", "", "\0.py:make"]
)
def test_a_reference_needs_a_place_and_a_name(reference: str) -> None:
    with pytest.raises(InputError, match=r"module:function or file\.py:function, but got"):
        load_function(reference)


def test_what_is_not_there_is_named() -> None:
    write("model.py", "def make():\n    pass\n_hidden = print\nvalue = 3\n")
    for reference, message in [
        ("absent.py:make", r"file of a function must exist, but got absent\.py.*looked for at /"),
        ("no_such_module_x:make", "no_such_module_x must be importable.*ModuleNotFoundError"),
        (".relative:make", "must be importable.*TypeError"),
        ("model.py:mkae", r"model\.py must define the function mkae.*Did you mean 'make'"),
        ("model.py:value", "must define the function value.*Known: make"),
    ]:
        with pytest.raises(InputError, match=message):
            load_function(reference)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def make(:\n", "SyntaxError"),
        ("import no_such_module_x\n", "ModuleNotFoundError"),
        ("1 / 0\n", "ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)\n", "SystemExit: 3"),
    ],
)
@pytest.mark.parametrize("reference", ["broken_for_tests.py:make", "broken_for_tests:make"])
def test_an_import_that_fails_is_named_and_can_be_mended(reference: str, text: str, message: str) -> None:
    path = write("broken_for_tests.py", text)
    with pytest.raises(InputError, match=f"must be importable, but got {message}"):
        load_function(reference)
    path.write_text("def make():\n    return 'mended, and longer than before'\n" + "\n" * 20)
    assert "mended" in load_function(reference)()


def test_an_interrupted_import_is_not_remembered() -> None:
    path = write("slow.py", "def make():\n    return 1\nraise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        load_function("slow.py:make")
    path.write_text("def make():\n    return 2\n")
    assert load_function("slow.py:make")() == 2


@pytest.mark.parametrize("reference", ["moves_for_tests.py:make", "moves_for_tests:make"])
def test_an_import_may_change_folder_and_path(reference: str) -> None:
    Path("elsewhere").mkdir()
    write(
        "moves_for_tests.py",
        "import os, sys\nsys.path.pop(0)\nos.chdir('elsewhere')\ndef make():\n    return os.getcwd().split('/')[-1]\n",
    )
    assert load_function(reference)() == "elsewhere"
