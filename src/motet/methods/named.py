"""Find methods by name, motet's own and others."""

from motet._internal.loading import load_class
from motet._internal.own_code import class_name
from motet.errors import InputError, nearest
from motet.method import Method, check_class


def method_named(name: str) -> type[Method]:
    """Return the class of the method called `name`.

    Args:
        name: the name of one of motet's methods (``"mimo"``; see ``motet methods``), or ``module:Class`` or
            ``file.py:Class`` for a class outside motet. The current folder is searched first.

    Raises:
        InputError: if there is no such method, if its file cannot be imported, if the class is not a method or lacks
            something, or if it has the name of one of motet's methods.

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
            fix=f"{nearest(name, METHODS)}; name a method of your own as file.py:Class or module:Class",
        )
    kind = load_class(name, Method, "method")  # type: ignore[type-abstract]
    check_class(kind)
    check_name_is_free(kind)
    return kind


def check_name_is_free(kind: type[Method]) -> None:
    """Check that a class does not have the name of one of motet's methods.

    Raises:
        InputError: if it does.
    """
    from motet.methods import METHODS

    if METHODS.get(kind.name, kind) is not kind:
        raise InputError(
            "a method's name must differ from the names of motet's methods",
            got=f"{class_name(kind)} with name = {kind.name!r}",
            fix=f'Write name = "my-{kind.name}" in the class, for example',
        )
