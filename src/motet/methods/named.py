"""Methods by their names, motet's own and others."""

from motet._internal.loading import load_class
from motet._internal.own_code import shown
from motet.errors import InputError, nearest
from motet.method import Method, check_class


def method_named(name: str) -> type[Method]:
    """The class of the method called `name`.

    Args:
        name: one of motet's (``"mimo"``; see ``motet methods``), or ``module:Class`` or ``file.py:Class`` for a class
            outside motet. The current folder is searched first.

    Raises:
        InputError: if there is no such method, its file cannot be imported, the class is no method or lacks something,
            or its name is that of one of motet's methods.

    >>> method_named("mimo").label
    'MIMO'
    """
    from motet.methods import METHODS

    folded = name.lower().replace("_", "-")
    if folded in METHODS:
        return METHODS[folded]
    if ":" not in name:
        raise InputError(
            "the method must be one that motet has",
            got=repr(name),
            fix=f"{nearest(name, METHODS)}; a method of your own is named file.py:Class or module:Class",
        )
    kind = load_class(name, Method, "method")  # type: ignore[type-abstract]
    check_class(kind)
    check_name_is_free(kind)
    return kind


def check_name_is_free(kind: type[Method]) -> None:
    """Raise `InputError` if another class is motet's method of that name."""
    from motet.methods import METHODS

    if METHODS.get(kind.name, kind) is not kind:
        raise InputError(
            "a method's name must be another than those of motet's methods",
            got=f"{shown(kind)} with name = {kind.name!r}",
            fix=f'Write name = "my-{kind.name}" in the class, for example',
        )
