"""Find a function of the user's by its name: ``package.module:function`` or ``path/to/file.py:function``."""

import importlib
import importlib.util
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
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
        functions = (key for key, value in vars(module).items() if _is_own(module, key, value))
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
    try:
        with _searched_first(path.parent):
            spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if not isinstance(error, Exception | SystemExit):  # Ctrl-C, say
            raise
        raise _import_failed(place, error, f"Mend the file; python {place} shows the whole error") from error
    return module


def _load_module(place: str) -> ModuleType:
    try:
        with _searched_first(Path.cwd()):
            return importlib.import_module(place)
    except (Exception, SystemExit) as error:
        raise _import_failed(place, error, "Mend the import, or give a file: path/to/file.py:function") from error


def _import_failed(place: str, error: BaseException, fix: str) -> InputError:
    return InputError(f"{place} must be importable", got=describe_error(error), fix=fix)


def describe_error(error: BaseException) -> str:
    """``NameError: name 'x' is not defined (my.py, line 3)``, with the last line outside of motet and of libraries."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not re.search(_NOT_THE_USERS, Path(frame.filename).as_posix())]
    where = f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""
    return f"{type(error).__name__}: {error}{where}"


# Installed packages, the standard library's importer, and this package wherever it lies.
_NOT_THE_USERS = r"site-packages/|^<|/importlib/|^" + re.escape(Path(__file__).parents[1].as_posix()) + "/"


@contextmanager
def _searched_first(folder: Path) -> Iterator[None]:
    """Import from `folder` before anywhere else, and afterwards still from there, but after everywhere else.

    So a function of the user's may import its neighbours when it is called, and hides none of ours by then.
    """
    place = str(folder)
    sys.path.insert(0, place)
    try:
        yield
    finally:
        if place in sys.path:  # what was imported may have changed the path
            sys.path.remove(place)
        if place not in sys.path:
            sys.path.append(place)


def _is_own(module: ModuleType, name: str, value: Any) -> bool:
    return callable(value) and not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
