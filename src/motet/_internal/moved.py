"""Old names that keep working, with a `DeprecationWarning`."""

import warnings
from collections.abc import Callable, Mapping
from importlib import import_module


def moved_names(module: str, homes: Mapping[str, str]) -> Callable[[str], object]:
    """Return a module's ``__getattr__`` for names that have moved.

    Args:
        module: the module's ``__name__``.
        homes: for each old name the full new one, ``"motet.evaluation.predict_split"``.
    """

    def __getattr__(name: str) -> object:  # noqa: N807
        if name not in homes:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        home, _, new_name = homes[name].rpartition(".")
        warnings.warn(
            f"{module}.{name} has moved: use {homes[name]}. The old name will be removed in motet 1.0.",
            DeprecationWarning,
            stacklevel=2,
        )
        return getattr(import_module(home), new_name)

    return __getattr__
