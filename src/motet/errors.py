"""Errors for users: the requirement, what arrived, and how to solve it, on one line.

`InputError` is a `ValueError`, so library users can catch it as one; the command line prints its message and exits with
code 2.
"""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from signal import Signals
from unicodedata import category


class InputError(ValueError):
    """Raised for input that does not meet a requirement.

    Args:
        requirement: what must hold, as a clause without a full stop (``"members must be at least 1"``).
        got: what arrived instead.
        fix: how to solve it, as a clause without a full stop.

    >>> print(InputError("members must be at least 1", got="members=0", fix="Pass members=1 or more"))
    members must be at least 1, but got members=0. Pass members=1 or more.
    """

    def __init__(self, requirement: str, *, got: str, fix: str) -> None:
        self.requirement, self.got, self.fix = requirement, got, fix
        # One line, even if parts quote messages of other libraries, which often have several.
        super().__init__(printable(" ".join(f"{requirement}, but got {got}. {fix}.".split())))

    def __reduce__(self) -> tuple[object, ...]:
        # The default rebuilds an exception from its message only, which does not work with keyword-only arguments.
        return (_rebuild, (type(self), self.requirement, self.got, self.fix))


def _rebuild(kind: type[InputError], requirement: str, got: str, fix: str) -> InputError:
    return kind(requirement, got=got, fix=fix)


def together(faults: Sequence[InputError]) -> InputError:
    """Return one error for all faults, so that they can be mended at once.

    Args:
        faults: one or more.
    """
    if len(faults) == 1:
        return faults[0]
    listed = " ".join(f"({number}) {fault}" for number, fault in enumerate(faults, start=1))
    return InputError(
        "all of the input must be valid", got=f"{len(faults)} errors: {listed.rstrip('.')}", fix="Correct each of them"
    )


class RunInterrupted(Exception):  # noqa: N818  (nothing went wrong: the user asked for it)
    """Raised after Ctrl-C or SIGTERM has stopped training, and a checkpoint was saved.

    Args:
        message: where it stopped and how to continue.
        signal: the signal.
    """

    def __init__(self, message: str, signal: Signals) -> None:
        super().__init__(message, signal)
        self.signal = signal

    def __str__(self) -> str:
        return str(self.args[0])


class TrainingDivergedError(ArithmeticError):
    """Raised if the loss became NaN or infinite. The message names the step, the learning rate and the last
    checkpoint.
    """


class LostRankError(RuntimeError):
    """Raised if a process that holds other members has failed or left. The message names it, and how to continue."""


def printable(text: object) -> str:
    r"""Return a text or path in which everything is printable as UTF-8, on one line, for messages and records.

    Python represents the bytes of a file name that is not UTF-8 by lone surrogates, which can be neither printed nor
    written to a file. They are shown as escapes, as are control characters.

    >>> printable("caf\udce9.png")
    'caf\\xe9.png'
    """
    shown = str(text)
    if shown.isprintable():
        return shown
    return "".join(map(_escaped, shown))


def _escaped(character: str) -> str:
    code, kind = ord(character), category(character)
    if kind not in ("Cs", "Cc", "Zl", "Zp"):
        return character
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else repr(character)[1:-1]


def nearest(name: str, known: Iterable[str], *, listed: int | None = None) -> str:
    """Suggest the most similar of the `known` names, and list them.

    Args:
        name: the name that was not found.
        known: the valid names.
        listed: how many of them to list; all if None.

    >>> nearest("mino", ["single", "mimo"])
    "Did you mean 'mimo'? Known: single, mimo"
    """
    options = list(known)
    folded = {option.lower().replace("_", "-"): option for option in options}
    close = get_close_matches(name.lower().replace("_", "-"), folded, n=1, cutoff=0.5)
    hint = f"Did you mean '{folded[close[0]]}'? " if close else ""
    shown = options[:listed]
    more = ", ..." if len(shown) < len(options) else ""
    return f"{hint}Known: {', '.join(shown) or 'none'}{more}"
