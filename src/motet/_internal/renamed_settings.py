"""Old names of arguments, properties and settings, which keep working: with a warning in code, silently in records."""

import re
import warnings
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

from motet.errors import InputError

Kind = TypeVar("Kind", bound=type)

RENAMED_SETTINGS = {
    "MCDropout": {"samples": "members"},
    "BatchEnsemble": {"fast_lr": "fast_weight_lr_scale"},
    "MixtureEnsembles": {"coefficient_lr": "coefficient_lr_scale"},
}
"""Settings of methods that had another name in earlier versions: old name to new name, by class."""


def renamed_arguments(**new_names: str) -> Callable[[Kind], Kind]:
    """A class decorator: old keyword arguments and attributes keep working, with a `DeprecationWarning`.

    Args:
        new_names: ``old="new"`` for each keyword argument of ``__init__`` that was renamed.
    """

    def decorate(kind: Kind) -> Kind:
        make = kind.__init__  # type: ignore[misc]

        @wraps(make)
        def __init__(self: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
            for old in new_names.keys() & kwargs.keys():
                new = new_names[old]
                if new in kwargs:
                    raise InputError(
                        f"{kind.__name__} must be given {new} once",
                        got=f"{new} and {old}, its earlier name",
                        fix=f"Pass {new} only",
                    )
                _warn(kind, old, new)
                kwargs[new] = kwargs.pop(old)
            make(self, *args, **kwargs)

        kind.__init__ = __init__  # type: ignore[misc]
        for old, new in new_names.items():
            setattr(kind, old, renamed_property(old, new))
        return kind

    return decorate


def with_old_settings(kind: Kind) -> Kind:
    """`renamed_arguments` with the class's entry in `RENAMED_SETTINGS`."""
    return renamed_arguments(**RENAMED_SETTINGS[kind.__name__])(kind)


def renamed_property(old: str, new: str) -> property:
    """Return a property for the earlier name of another property, which warns when it is read."""

    def get(self: Any) -> Any:
        _warn(type(self), old, new)
        return getattr(self, new)

    return property(get, doc=f"The earlier name of `{new}`.")


def adopt_old_properties(kind: type, base: type, **new_names: str) -> None:
    """Accept overrides of a property under its earlier name, with a warning.

    If a subclass overrides the earlier name, its override is used for the new name. Call this function in the
    ``__init_subclass__`` of `base`.

    Args:
        kind: the subclass.
        base: the class that declares the properties.
        new_names: ``old="new"`` for each property that was renamed.
    """
    between = kind.__mro__[: kind.__mro__.index(base)]
    for old, new in new_names.items():
        found = next((vars(each)[old] for each in between if old in vars(each)), None)
        if found is None:
            continue
        if not any(new in vars(each) or new in vars(each).get("__annotations__", {}) for each in between):
            setattr(kind, new, found)
        if old in vars(kind):
            _warn(kind, old, new, stacklevel=4)


def with_new_names(record: Any, *, depth: int = 50) -> Any:
    """Return settings as plain data with the current names.

    Args:
        record: a record of settings, or any JSON value that contains records.
        depth: how many levels may be nested.

    Raises:
        InputError: if the record has more levels.
    """
    if depth == 0 and isinstance(record, list | dict):
        raise InputError("settings must be nested less deeply", got="more than 50 levels", fix="Use fewer levels")
    if isinstance(record, list):
        return [with_new_names(item, depth=depth - 1) for item in record]
    if not isinstance(record, dict):
        return record
    names = RENAMED_SETTINGS.get(str(record.get("type")), {})
    return {names.get(key, key): with_new_names(value, depth=depth - 1) for key, value in record.items()}


def description_with_new_names(text: str) -> str:
    """Return a text that contains the ``repr`` of settings, with the current names of settings."""
    for kind, names in RENAMED_SETTINGS.items():
        for old, new in names.items():
            text = re.sub(rf"\b({kind}\(.*?)\b{old}=", rf"\g<1>{new}=", text)
    return text


def _warn(kind: type, old: str, new: str, stacklevel: int = 3) -> None:
    warnings.warn(
        f"{kind.__name__}: {old} is now called {new}. The old name will be removed in motet 1.0.",
        DeprecationWarning,
        stacklevel=stacklevel,
    )
