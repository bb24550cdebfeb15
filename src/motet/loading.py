"""Find a function of the user's by its name: ``package.module:function`` or ``path/to/file.py:function``."""

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from motet.errors import InputError, nearest


def load_function(reference: str) -> Callable[..., Any]:
    """The function that `reference` names.

    The current folder is searched first, as ``python`` itself does for a script there.

    Raises:
        InputError: if the file, the module or the function does not exist, or importing it fails.
    """
    place, colon, name = reference.rpartition(":")
    if not colon or not place or not name.isidentifier():
        raise InputError(
            "a function is named as module:function or file.py:function",
            got=repr(reference),
            fix="Put a colon and the function's name behind the module or file",
        )
    module = _load_file(place) if place.endswith(".py") else _load_module(place)
    if not callable(getattr(module, name, None)):
        functions = (key for key, value in vars(module).items() if callable(value) and not key.startswith("_"))
        raise InputError(
            f"{place} must define the function {name}", got="no such function", fix=nearest(name, functions)
        )
    function: Callable[..., Any] = getattr(module, name)
    return function


def _load_file(place: str) -> ModuleType:
    path = Path(place).expanduser().resolve()
    if not path.is_file():
        raise InputError(
            "the file of a function must exist", got=place, fix=f"Check the path: it was looked for at {path}"
        )
    # A name of its own for each file, so that two files called model.py do not share one module.
    name = f"_motet_file_{path.stem}_{abs(hash(path)):x}"
    if name in sys.modules:
        return sys.modules[name]
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(path.parent))  # what the file imports from its own folder
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        raise _import_failed(place, error) from error
    finally:
        sys.path.remove(str(path.parent))
    return module


def _load_module(place: str) -> ModuleType:
    sys.path.insert(0, str(Path.cwd()))
    try:
        return importlib.import_module(place)
    except Exception as error:
        raise _import_failed(place, error) from error
    finally:
        sys.path.remove(str(Path.cwd()))


def _import_failed(place: str, error: Exception) -> InputError:
    return InputError(
        f"{place} must be importable",
        got=f"{type(error).__name__}: {error}",
        fix="Mend the import, or give a file: path/to/file.py:function",
    )
