"""What bad input gets: the requirement, what arrived, and the way out, on one line.

`InputError` is a `ValueError`, so library users can catch it as one; the command line prints its message and
exits with code 2.
"""

from collections.abc import Iterable
from difflib import get_close_matches
from signal import Signals


class InputError(ValueError):
    """Something the user gave does not fit.

    Args:
        requirement: what must hold, as a clause without a full stop (``"members must be at least 1"``).
        got: what arrived instead.
        fix: the way out, as a clause without a full stop.

    >>> print(InputError("members must be at least 1", got="members=0", fix="Pass members=1 or more"))
    members must be at least 1, but got members=0. Pass members=1 or more.
    """

    def __init__(self, requirement: str, *, got: str, fix: str) -> None:
        self.requirement, self.got, self.fix = requirement, got, fix
        # One line, whatever the parts quote: messages of other libraries often run over several.
        super().__init__(" ".join(f"{requirement}, but got {got}. {fix}.".split()))

    def __reduce__(self) -> tuple[object, ...]:
        # The default rebuilds an exception from its message alone, which keyword-only arguments refuse.
        return (_rebuild, (type(self), self.requirement, self.got, self.fix))


def _rebuild(kind: type[InputError], requirement: str, got: str, fix: str) -> InputError:
    return kind(requirement, got=got, fix=fix)


class RunInterrupted(Exception):  # noqa: N818  (nothing went wrong: the user asked for it)
    """Training was stopped by Ctrl-C or SIGTERM after it had saved a checkpoint to resume from.

    Args:
        message: where it stopped and how to go on.
        signal: what stopped it.
    """

    def __init__(self, message: str, signal: Signals) -> None:
        super().__init__(message, signal)
        self.signal = signal

    def __str__(self) -> str:
        return str(self.args[0])


class TrainingDivergedError(ArithmeticError):
    """The loss became NaN or infinite. The message names the step, the learning rate and the last checkpoint."""


class LostRankError(RuntimeError):
    """A process that holds other members of the ensemble died or left. The message names it, and how to go on."""


def nearest(name: str, known: Iterable[str], *, listed: int | None = None) -> str:
    """Say which of the `known` names was probably meant, and list them, or the first `listed` of them.

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
