"""A package whose public names are imported when they are first used."""

import ast
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path


def lazy_names(package: str, stub: Path) -> tuple[Callable[[str], object], Callable[[], list[str]], list[str]]:
    """Return a package's ``__getattr__``, ``__dir__`` and ``__all__``, from its stub file.

    Args:
        package: the package's ``__name__``.
        stub: its ``__init__.pyi``, with public names as ``from .module import Name as Name`` and submodules as ``from .
            import module as module``.

    Returns:
        A ``__getattr__`` that imports a name and keeps it in the package; a ``__dir__``; and ``__all__``, sorted.
    """
    homes = {
        alias.asname or alias.name: node.module
        for node in ast.parse(stub.read_text(encoding="utf-8")).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }

    def __getattr__(name: str) -> object:  # noqa: N807
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        home = homes[name]
        module_name = f"{package}.{name if home is None else home}"
        try:
            module = import_module(module_name)
        except AttributeError as error:
            # Python would treat an AttributeError here as a missing name, and hide it.
            raise ImportError(f"importing {module_name} failed: {type(error).__name__}: {error}") from error
        value = module if home is None else getattr(module, name)
        setattr(sys.modules[package], name, value)
        return value

    def __dir__() -> list[str]:  # noqa: N807
        return sorted({*vars(sys.modules[package]), *homes})

    return __getattr__, __dir__, sorted(homes)
