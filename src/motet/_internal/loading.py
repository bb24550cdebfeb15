"""Find the user's own functions and classes by name: ``package.module:name`` or ``path/to/file.py:name``."""

import importlib
import importlib.util
import inspect
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

from motet._internal.user_path import user_path
from motet._internal.wording import with_article
from motet.errors import InputError, nearest

T = TypeVar("T")


def load_function(reference: str) -> Callable[..., Any]:
    """Return the function that `reference` names.

    The current folder is searched first, as ``python`` does for a script there.

    Raises:
        InputError: if the file, the module or the function does not exist, or importing it fails.
    """
    place, name = split_reference(reference, "function")
    module = _load(place, "function")
    if not callable(getattr(module, name, None)):
        functions = (key for key, value in vars(module).items() if _is_own(module, key, value))
        raise InputError(
            f"{place} must define the function {name}", got="no such function", fix=nearest(name, functions)
        )
    function: Callable[..., Any] = getattr(module, name)
    return function


def load_class(reference: str, kind: type[T], what: str) -> type[T]:
    """Return the class that `reference` names, if instances of it can be made.

    Args:
        reference: ``module:Class`` or ``file.py:Class``; the current folder is searched first.
        kind: the class that it must derive from.
        what: what such a class is called in errors, ``"method"``.

    Raises:
        InputError: if the file, the module or the class does not exist, if importing it fails, if it does not derive
            from `kind`, or if it is abstract.
    """
    place, name = split_reference(reference, "Class")
    module = _load(place, "Class")
    found = getattr(module, name, None)
    if not isinstance(found, type):
        classes = (
            key for key, value in vars(module).items() if isinstance(value, type) and _is_own(module, key, value)
        )
        raise InputError(f"{place} must define the class {name}", got="no such class", fix=nearest(name, classes))
    if not issubclass(found, kind):
        raise InputError(
            f"{reference} must be {with_article(what)}",
            got=f"a class that does not derive from {kind.__module__}.{kind.__qualname__}",
            fix=f"Derive it: class {name}({kind.__module__}.{kind.__qualname__})",
        )
    if inspect.isabstract(found):
        missing = ", ".join(sorted(vars(found)["__abstractmethods__"]))
        raise InputError(
            f"{reference} must be a complete {what}", got=f"a class without {missing}", fix=f"Define {missing} in it"
        )
    return found


def split_reference(reference: str, what: str) -> tuple[str, str]:
    """Split a reference ``place:name`` into the place (a module or a file) and the name.

    Raises:
        InputError: unless `reference` is ``module:name`` or ``file.py:name``.
    """
    place, colon, name = reference.rpartition(":")
    if not colon or not place or "\0" in place or not name.isidentifier():
        raise InputError(
            f"{with_article(what.lower())} must be given as module:{what} or file.py:{what}",
            got=repr(reference),
            fix=f"Append a colon and the {what.lower()}'s name to the module or file",
        )
    return place, name


def reference_to(kind: type) -> str:
    """Return the reference by which `load_class` finds a user's class in another process.

    It names the file if the class was loaded from a file, or is in the script that runs, or in a file in the same
    folder as one of these; relative to the current folder if the file is inside it. Otherwise it names the module.

    Raises:
        InputError: for a class that cannot be found in this way: inside a function or another class, or not in a file.
    """
    if "." in kind.__qualname__:
        raise InputError(
            "a class that a record names must be defined at the top level of a file",
            got=f"{kind.__qualname__.replace('.<locals>', '')} inside a function or class",
            fix="Move it to the top level of the file",
        )
    module = sys.modules.get(kind.__module__)
    held = None if module is None else vars(module).get("__file__")
    file = None if held is None else Path(held).resolve()
    if kind.__module__ == "__main__" and file is None:
        raise InputError(
            "a class that a record names must be defined in a file, where another process finds it",
            got=f"{kind.__name__}, defined in an interactive session",
            fix="Put it into a file and import it",
        )
    if file is None or not _is_by_file(kind.__module__, file):
        return f"{kind.__module__}:{kind.__name__}"
    here = Path.cwd().resolve()
    shown = file.relative_to(here) if file.is_relative_to(here) else file
    return f"{shown.as_posix()}:{kind.__name__}"


def loaded_module(place: str) -> ModuleType | None:
    """Return the module with this name or from this Python file if it has already been imported, otherwise None."""
    if not place.endswith(".py"):
        return sys.modules.get(place)
    path = user_path(place).resolve()
    for module in list(sys.modules.values()):
        held = vars(module).get("__file__") if isinstance(module, ModuleType) else None
        if isinstance(held, str) and Path(held).name == path.name and Path(held).resolve() == path:
            return module
    return None


def file_of(place: str) -> Path | None:
    """Return the file of `place`, a module's name or a Python file; None if there is none.

    Finding a module that has not been imported imports the packages that contain it.
    """
    if place.endswith(".py"):
        return user_path(place)
    module = loaded_module(place)
    if module is not None:
        held = vars(module).get("__file__")
        return None if held is None else Path(held)
    with _searched_first(Path.cwd()):
        try:
            spec = importlib.util.find_spec(place)
        except (ImportError, ValueError):
            return None
    return None if spec is None or not spec.has_location or spec.origin is None else Path(spec.origin)


def _is_by_file(module: str, file: Path) -> bool:
    if module == "__main__" or module.startswith(_FILE_MODULE):
        return True
    main = vars(sys.modules["__main__"]).get("__file__")
    script_folders = {*_neighbours, *([] if main is None else [str(Path(main).resolve().parent)])}
    return "." not in module and str(file.parent) in script_folders and file.parent != Path.cwd().resolve()


def _load(place: str, what: str) -> ModuleType:
    module = _load_file(place, what) if place.endswith(".py") else _load_module(place, what)
    _loaded.add(getattr(module, "__file__", None))
    return module


_FILE_MODULE = "_motet_file_"
_loaded: set[str | None] = set()
"""Files of the user's modules that were loaded here."""
_neighbours: set[str] = set()
"""Folders of loaded files, from which these files' own imports are resolved."""


def _load_file(place: str, what: str) -> ModuleType:
    path = user_path(place).resolve()
    if not path.is_file():
        raise InputError(
            f"the file of {with_article(what.lower())} must exist",
            got=place,
            fix=f"Check the path: it was looked for at {path}",
        )
    if (known := loaded_module(place)) is not None:
        return known
    # A separate name for each file, so that two files called model.py do not share one module.
    name = f"{_FILE_MODULE}{path.stem}_{abs(hash(path)):x}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    _neighbours.add(str(path.parent))
    try:
        with _searched_first(path.parent):
            spec.loader.exec_module(module)
    except BaseException as error:
        del sys.modules[name]
        if not isinstance(error, Exception | SystemExit):  # for example Ctrl-C
            raise
        raise _import_failed(place, error, f"Correct the file; python {place} shows the whole error") from error
    return module


def _load_module(place: str, what: str) -> ModuleType:
    try:
        with _searched_first(Path.cwd()):
            return importlib.import_module(place)
    except (Exception, SystemExit) as error:
        raise _import_failed(place, error, f"Correct the import, or pass a file: path/to/file.py:{what}") from error


def _import_failed(place: str, error: BaseException, fix: str) -> InputError:
    return InputError(f"{place} must be importable", got=describe_error(error), fix=fix)


def describe_error(error: BaseException) -> str:
    """Return ``NameError: name 'x' is not defined (my.py, line 3)``, with the last line outside motet and libraries."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if not re.search(_NOT_THE_USERS, Path(frame.filename).as_posix())]
    where = f" ({Path(own[-1].filename).name}, line {own[-1].lineno})" if own else ""
    return f"{type(error).__name__}: {error}{where}"


def raised_by_user(error: BaseException) -> str | None:
    """Return `describe_error` if the error was raised in or through a file of the user's that was loaded here, or
    one in the same folder; None for other errors.
    """
    loaded = {Path(file).resolve() for file in _loaded if file is not None}
    for frame in traceback.extract_tb(error.__traceback__):
        path = Path(frame.filename)
        if not re.search(_NOT_THE_USERS, path.as_posix()) and (
            path.resolve() in loaded or str(path.resolve().parent) in _neighbours
        ):
            return describe_error(error)
    return None


def is_raised_in(error: BaseException, kind: type) -> bool:
    """Whether the error was raised in or through the file of the class."""
    module = sys.modules.get(kind.__module__)
    file = None if module is None else vars(module).get("__file__")
    return file is not None and any(frame.filename == file for frame in traceback.extract_tb(error.__traceback__))


# Installed packages, the standard library's importer, and this package wherever it is installed.
_NOT_THE_USERS = r"site-packages/|^<|/importlib/|^" + re.escape(Path(__file__).parents[1].as_posix()) + "/"


@contextmanager
def _searched_first(folder: Path) -> Iterator[None]:
    """In this context imports search `folder` first; afterwards they still search it, but last.

    So a user's function can import modules from its folder when it is called, without hiding other modules.
    """
    place = str(folder)
    sys.path.insert(0, place)
    try:
        yield
    finally:
        if place in sys.path:  # the imported module may have changed the path
            sys.path.remove(place)
        if place not in sys.path:
            sys.path.append(place)


def _is_own(module: ModuleType, name: str, value: Any) -> bool:
    return callable(value) and not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
