"""Check that the fields of settings have the types that they declare."""

import math
import numbers
from collections.abc import Callable
from dataclasses import fields, is_dataclass
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from motet.errors import InputError

LARGEST = 2**64
"""No setting is larger. A seed may have 64 bits; its own check says so."""


def check_field_types(settings: Any, *, convert: bool = True) -> None:
    """Check that each field of a settings dataclass has a value of its type.

    An integer, also NumPy's, is accepted for a float, and a list for a tuple. A float or text is not accepted for an
    integer, and neither is a bool. Types that cannot be checked here accept every value.

    Args:
        settings: the dataclass, frozen or not.
        convert: whether accepted values become what the field declares, in place, so that 1 and 1.0 are equal settings.

    Raises:
        InputError: naming the field, for a value of another type, and for an integer of more than 64 bits.
    """
    kind: Any = type(settings)
    hints = _hints(kind)
    for item in fields(settings):
        if item.name in hints and hasattr(settings, item.name):
            value = getattr(settings, item.name)
            converted = _converted(value, hints[item.name])
            if converted is _WRONG:
                _refuse(item.name, value, hints[item.name])
            if isinstance(converted, int) and abs(converted) > LARGEST:
                raise InputError(
                    f"{item.name} must be an integer below 2^64", got=_short(value), fix="Pass a smaller number"
                )
            if convert and converted is not value:
                object.__setattr__(settings, item.name, converted)


def _refuse(name: str, value: object, hint: Any) -> None:
    wanted = " or ".join(dict.fromkeys(_in_words(part) for part in _alternatives(hint)))
    raise InputError(f"{name} must be {wanted}", got=f"{name}={_short(value)}", fix=f"Pass {_example(hint)}")


def _converted(value: Any, hint: Any) -> Any:
    """Return `value` as the type `hint` has it; `_WRONG` if it has another type."""
    found = [_as_one(value, part) for part in _alternatives(hint)]
    fitting = [each for each in found if each is not _WRONG]
    # The same object if one of the types has it as it is: 1 stays 1 for int | float.
    return next((each for each in fitting if each is value), fitting[0] if fitting else _WRONG)


def _as_one(value: Any, hint: Any) -> Any:
    if options := _literal(hint):
        # Which text is one of them is checked by the settings themselves, whose message says more.
        return value if type(value) in map(type, options) else _WRONG
    if get_origin(hint) is tuple:
        return _as_tuple(value, get_args(hint))
    if hint in _PLAIN:
        return _PLAIN[hint](value)
    if is_dataclass(hint) and isinstance(hint, type):
        return value if isinstance(value, hint) else _WRONG
    return value  # a type that is not checked here


def _as_tuple(value: Any, hints: tuple[Any, ...]) -> Any:
    if not isinstance(value, list | tuple):
        return _WRONG
    each = [hints[0]] * len(value) if hints[1:] == (...,) else list(hints)
    if len(each) != len(value):
        return _WRONG
    converted = tuple(_converted(item, hint) for item, hint in zip(value, each, strict=True))
    if any(item is _WRONG for item in converted):
        return _WRONG
    same = isinstance(value, tuple) and all(a is b for a, b in zip(value, converted, strict=True))
    return value if same else converted


def _as_int(value: Any) -> Any:
    if type(value) is int:
        return value
    return int(value) if isinstance(value, numbers.Integral) and not isinstance(value, bool) else _WRONG


def _as_float(value: Any) -> Any:
    if type(value) is float:
        return value
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        return _WRONG
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _as_bool(value: Any) -> Any:
    if isinstance(value, bool):
        return value
    return bool(value) if type(value).__module__ == "numpy" and type(value).__name__.startswith("bool") else _WRONG


_WRONG: Any = object()
_PLAIN: dict[Any, Callable[[Any], Any]] = {
    int: _as_int,
    float: _as_float,
    bool: _as_bool,
    str: lambda value: str(value) if isinstance(value, str) else _WRONG,
    NoneType: lambda value: None if value is None else _WRONG,
}
_WORDS = {int: "an integer", float: "a number", bool: "True or False", str: "text", NoneType: "None"}
_PLURALS = {int: "integers", float: "numbers", str: "texts"}
_EXAMPLES = {int: "an integer, such as 3", float: "a number, such as 0.1", bool: "True or False", str: "text"}


def _in_words(hint: Any) -> str:
    if options := _literal(hint):
        return f"one of {', '.join(map(repr, options))}"
    if get_origin(hint) is tuple:
        return f"a tuple of {_PLURALS.get(get_args(hint)[0], 'values')}"
    return _WORDS.get(hint, getattr(hint, "__name__", str(hint)))


def _example(hint: Any) -> str:
    for part in _alternatives(hint):
        if options := _literal(part):
            return repr(options[0])
        if get_origin(part) is tuple:
            return "a tuple"
        if part in _EXAMPLES:
            return _EXAMPLES[part]
    return "such a value"


def _literal(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) is Literal else ()


def _alternatives(hint: Any) -> list[Any]:
    """Return the types that a field may have."""
    if get_origin(hint) is Annotated:
        return _alternatives(get_args(hint)[0])
    if get_origin(hint) in (Union, UnionType):
        return [part for option in get_args(hint) for part in _alternatives(option)]
    return [hint]


@cache
def _hints(kind: type) -> dict[str, Any]:
    try:
        return get_type_hints(kind, include_extras=True)
    except (NameError, TypeError, AttributeError):
        return {}


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
