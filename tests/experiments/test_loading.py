"""Functions of the user's, found by name; and what can be wrong with them."""

import sys
from pathlib import Path

import pytest

from motet import InputError
from motet._internal.loading import load_function


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", sys.path.copy())


def write(name: str, text: str) -> None:
    Path(name).parent.mkdir(parents=True, exist_ok=True)
    Path(name).write_text(text)


def test_a_file_by_any_path(tmp_path: Path) -> None:
    write("sub/my_model.py", "def net():\n    return 3\n")
    for reference in ("sub/my_model.py:net", "./sub/my_model.py:net", f"{tmp_path}/sub/my_model.py:net"):
        assert load_function(reference)() == 3


def test_two_files_of_one_name_are_two(tmp_path: Path) -> None:
    write("one/same.py", "def net():\n    return 1\n")
    write("two/same.py", "def net():\n    return 2\n")
    assert [load_function(f"{folder}/same.py:net")() for folder in ("one", "two")] == [1, 2]


def test_a_module_of_the_current_folder_and_an_installed_one() -> None:
    write("own_module_for_tests.py", "def net():\n    return 5\n")
    assert load_function("own_module_for_tests:net")() == 5
    assert load_function("collections:Counter")() == {}
    del sys.modules["own_module_for_tests"]


def test_neighbours_can_be_imported_at_the_top_and_later() -> None:
    write("sub/neighbour_a.py", "VALUE = 1\n")
    write("sub/neighbour_b.py", "VALUE = 2\n")
    write(
        "sub/main_file.py",
        "import neighbour_a\ndef net():\n    import neighbour_b\n    return neighbour_a.VALUE + neighbour_b.VALUE\n",
    )
    assert load_function("sub/main_file.py:net")() == 3
    for name in ("neighbour_a", "neighbour_b"):
        del sys.modules[name]


def test_the_users_folder_hides_nothing_afterwards(tmp_path: Path) -> None:
    write("sub/file.py", "def net():\n    pass\n")
    load_function("sub/file.py:net")
    assert sys.path[0] != str(tmp_path / "sub")
    assert sys.path[-1] == str(tmp_path / "sub")


@pytest.mark.parametrize(
    "reference", ["net", "file.py", ":net", "file.py:", "file.py:a.b", "file.py:1", "", ":", "file.py: net"]
)
def test_not_a_reference(reference: str) -> None:
    with pytest.raises(InputError, match=r"module:function or file\.py:function"):
        load_function(reference)


def test_missing_file_names_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=f"looked for at {tmp_path}/no.py"):
        load_function("no.py:net")


def test_a_folder_is_no_file() -> None:
    Path("folder.py").mkdir()
    with pytest.raises(InputError, match="the file of a function must exist"):
        load_function("folder.py:net")


def test_missing_module() -> None:
    with pytest.raises(InputError, match=r"no_such_module_at_all must be importable.*ModuleNotFoundError"):
        load_function("no_such_module_at_all:net")


def test_missing_function_gets_the_nearest_of_the_files_own() -> None:
    write(
        "file.py",
        "from os import getcwd\ndef network():\n    pass\ndef _hidden():\n    pass\n",
    )
    with pytest.raises(InputError) as caught:
        load_function("file.py:netwrok")
    assert "Did you mean 'network'? Known: network." in str(caught.value)


def test_not_callable() -> None:
    write("file.py", "net = 3\n")
    with pytest.raises(InputError, match=r"must define the function net"):
        load_function("file.py:net")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("def net(:\n", r"SyntaxError.*bad\.py, line 1"),
        ("x = 1\n\nundefined_name\n", r"NameError.*undefined_name.*bad\.py, line 3"),
        ("import not_there_at_all\n", r"ModuleNotFoundError.*not_there_at_all.*bad\.py, line 1"),
        ("import sys\nsys.exit(0)\n", r"SystemExit: 0 \(bad\.py, line 2\)"),
        ("raise RuntimeError('two\\nlines')\n", r"RuntimeError: two lines"),
        ("\x00", r"bad\.py must be importable"),
    ],
    ids=["syntax", "name", "import", "exit", "lines", "zero byte"],
)
def test_a_file_that_cannot_be_run(text: str, part: str) -> None:
    write("bad.py", text)
    with pytest.raises(InputError, match=part) as caught:
        load_function("bad.py:net")
    assert "\n" not in str(caught.value)
    write("bad.py", "def net():\n    return 'mended at last'\n")
    assert load_function("bad.py:net")() == "mended at last", "the failure is not remembered"


def test_ctrl_c_while_a_file_runs_is_no_bad_input() -> None:
    write("slow.py", "raise KeyboardInterrupt\n")
    with pytest.raises(KeyboardInterrupt):
        load_function("slow.py:net")


def test_a_file_that_moves_elsewhere(tmp_path: Path) -> None:
    write("mover.py", "import os, sys\nos.chdir('/')\nsys.path.clear()\ndef net():\n    return 1\n")
    assert load_function("mover.py:net")() == 1
