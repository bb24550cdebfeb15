"""What ``import motet`` offers."""

import ast
import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import motet

TREE = ast.parse(Path(motet.__file__).read_text(encoding="utf-8"))


def type_checking_names() -> set[str]:
    """The names that type checkers see, imported under ``if TYPE_CHECKING``."""
    block = next(node for node in TREE.body if isinstance(node, ast.If))
    return {
        alias.asname or alias.name for node in block.body if isinstance(node, ast.ImportFrom) for alias in node.names
    }


def test_everything_that_is_listed_is_there() -> None:
    for name in motet.__all__:
        assert getattr(motet, name) is not None
    assert set(motet.__all__) <= set(dir(motet))
    namespace: dict[str, object] = {}
    exec("from motet import *", namespace)
    assert namespace.keys() - {"__builtins__"} == set(motet.__all__)


def test_the_three_lists_are_one() -> None:
    assert set(motet._HOMES) == set(motet.__all__) == type_checking_names()
    assert len(motet.__all__) == len(set(motet.__all__))


def test_lists_are_sorted() -> None:
    # As ruff sorts __all__: constants, then classes, then the rest.
    def key(name: str) -> tuple[int, str]:
        return (0 if name.isupper() else 1 if name[0].isupper() else 2, name)

    assert motet.__all__ == sorted(motet.__all__, key=key)
    assert list(motet._HOMES) == sorted(motet._HOMES)


@pytest.mark.parametrize("name", motet.__all__)
def test_a_name_is_what_its_home_calls_so_and_is_documented(name: str) -> None:
    value, home = getattr(motet, name), motet._HOMES[name]
    if home:
        module = import_module(f"motet.{home}")
        assert value is getattr(module, name)
        assert value.__name__ == name
        assert name in getattr(module, "__all__", [name])
    else:
        assert value is sys.modules[f"motet.{name}"]
    doc = inspect.getdoc(value)
    assert doc
    assert not doc.startswith(f"{name}("), "a dataclass without a docstring shows its signature"


@pytest.mark.parametrize("name", [name for name in motet.__all__ if name[0].isupper()])
def test_public_methods_are_documented(name: str) -> None:
    kind = getattr(motet, name)
    members = {key: value for key, value in vars(kind).items() if not key.startswith("_")}
    bare = [
        key
        for key, value in members.items()
        if (inspect.isfunction(value) or isinstance(value, property | classmethod | staticmethod))
        and not inspect.getdoc(value)
    ]
    assert bare == []


@pytest.mark.parametrize("name", ["data", "metrics", "models"])
def test_public_modules_offer_what_they_list(name: str) -> None:
    module = getattr(motet, name)
    for each in module.__all__:
        value = getattr(module, each)
        if inspect.isfunction(value) or inspect.isclass(value):
            assert inspect.getdoc(value), each


def test_a_name_that_is_none_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'motet' has no attribute 'MINO'"):
        motet.MINO  # noqa: B018
    assert not hasattr(motet, "torch")


def test_names_come_when_they_are_used() -> None:
    code = (
        "import motet, sys\n"
        "assert 'motet.methods' not in sys.modules\n"
        "motet.InputError\n"
        "assert 'torch' not in sys.modules\n"
        "assert motet.MIMO is sys.modules['motet.methods'].MIMO\n"
        "assert 'MIMO' in vars(motet)\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)
