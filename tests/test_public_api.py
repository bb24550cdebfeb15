"""What ``import motet`` offers."""

import ast
import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import motet

STUB = Path(motet.__file__).with_suffix(".pyi")
HOMES = {
    alias.asname or alias.name: node.module
    for node in ast.parse(STUB.read_text(encoding="utf-8")).body
    if isinstance(node, ast.ImportFrom)
    for alias in node.names
}
SUBMODULES = sorted(name for name, home in HOMES.items() if home is None)


def test_everything_that_is_listed_is_there() -> None:
    for name in motet.__all__:
        assert getattr(motet, name) is not None
    assert set(motet.__all__) <= set(dir(motet))
    namespace: dict[str, object] = {}
    exec("from motet import *", namespace)
    assert namespace.keys() - {"__builtins__"} == set(motet.__all__)


def test_names_are_written_once() -> None:
    text = STUB.read_text(encoding="utf-8")
    assert set(motet.__all__) == set(HOMES)
    for name in HOMES:
        assert text.count(f" as {name}\n") == 1
        assert name not in Path(motet.__file__).read_text(encoding="utf-8").split("from pathlib")[1]


@pytest.mark.slow
def test_each_submodule_is_there_in_a_fresh_script() -> None:
    # A forked process has torch, whose import takes seconds, but no module of motet.
    code = """if True:
        import os, sys, traceback, torch
        for name in sys.argv[1:]:
            child = os.fork()
            if not child:
                status = 1
                try:
                    import motet
                    assert getattr(motet, name).__name__ == "motet." + name
                    status = 0
                except BaseException:
                    traceback.print_exc()
                finally:
                    sys.stderr.flush()
                    os._exit(status)
            if os.waitpid(child, 0)[1] != 0:
                sys.exit(name)
        assert not any(module.startswith("motet") for module in sys.modules)
    """
    done = subprocess.run([sys.executable, "-W", "error", "-c", code, *SUBMODULES], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


def test_every_public_package_is_a_submodule() -> None:
    root = Path(motet.__file__).parent
    packages = {file.parent.name for file in root.glob("*/__init__.py") if not file.parent.name.startswith("_")}
    assert packages - {"cli"} <= set(SUBMODULES)


@pytest.mark.parametrize("broken", ["raise AttributeError('spam')", "import spam_is_not_installed", "1 / 0"])
def test_an_error_inside_a_submodule_is_shown_as_what_it_is(broken: str, tmp_path: Path) -> None:
    package = tmp_path / "package"
    package.mkdir()
    (package / "__init__.pyi").write_text("from . import part as part\nfrom .part import Thing as Thing\n")
    (package / "__init__.py").write_text(
        "from motet._internal.lazy import lazy_names\nfrom pathlib import Path\n"
        "__getattr__, __dir__, __all__ = lazy_names(__name__, Path(__file__).with_suffix('.pyi'))\n"
    )
    (package / "part.py").write_text(broken + "\n")
    for code in ("package.part", "package.Thing", "hasattr(package, 'part')", "exec('from package import Thing')"):
        done = subprocess.run(
            [sys.executable, "-c", f"import package; {code}"], cwd=tmp_path, capture_output=True, text=True, check=False
        )
        said = done.stderr.splitlines()[-1]
        assert done.returncode == 1
        assert "spam" in said or "ZeroDivisionError" in said
        assert "has no attribute" not in said


@pytest.mark.parametrize("name", motet.__all__)
def test_a_name_is_what_its_home_calls_so_and_is_documented(name: str) -> None:
    value, home = getattr(motet, name), HOMES[name]
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


@pytest.mark.parametrize("name", [name for name in SUBMODULES if hasattr(getattr(motet, name), "__all__")])
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


@pytest.mark.slow
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
