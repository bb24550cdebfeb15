"""Formatting of numbers, with significant digits and suitable units."""

import math
from collections.abc import Sequence

from motet.experiments.records import Measure

THIN = "\N{NARROW NO-BREAK SPACE}"
NO_BREAK = "\N{NO-BREAK SPACE}"
TIMES = "\N{MULTIPLICATION SIGN}"
MISSING = "\N{EN DASH}"


def decimals(measures: Sequence[Measure], *, most: int = 4) -> int:
    """Return the number of decimals for a column.

    It is chosen so that the median standard error has two significant digits; without standard errors, so that the
    median of the means has three.

    Args:
        measures: the numbers of the column.
        most: the largest number of decimals.

    >>> decimals([Measure(mean=0.0712, standard_error=0.002)]), decimals([Measure(mean=97.8, standard_error=math.nan)])
    (4, 1)
    """
    errors = sorted(m.standard_error for m in measures if m.has_error and m.standard_error > 0)
    if errors:
        return _clamp(1 - math.floor(math.log10(errors[len(errors) // 2])), most)
    means = sorted(abs(m.mean) for m in measures if m.known and m.mean != 0)
    return _clamp(2 - math.floor(math.log10(means[len(means) // 2])), most) if means else 1


def fixed(value: float, places: int) -> str:
    """Return `value` with `places` decimals and a minus sign."""
    text = f"{value:.{places}f}"
    if float(text) == 0:
        text = text.lstrip("-")
    return text.replace("-", "\N{MINUS SIGN}")


def spread(low: float, high: float) -> str:
    """Return the quartiles of a number, compactly.

    >>> spread(1.312, 1.438)
    '(1.31–1.44)'
    """
    return f"({fixed(low, 2)}{MISSING}{fixed(high, 2)})"


def significant(value: float, digits: int = 3) -> str:
    """Return `value` with `digits` significant digits, never in scientific notation.

    >>> significant(0.0712345), significant(1234.5)
    ('0.0712', '1234')
    """
    if value == 0:
        return "0"
    exponent = int(f"{value:.{digits - 1}e}".partition("e")[2])  # of the rounded value: 9.999 is 10.0
    return fixed(value, max(0, digits - 1 - exponent))


def counted(value: float) -> str:
    """Return a count, with a unit (k, M, G, T) from 1000 on.

    >>> counted(123456).replace(THIN, " "), counted(999)
    ('123 k', '999')
    """
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size * 0.9995:
            return f"{significant(value / size)}{THIN}{unit}"
    return f"{value:.0f}"


def duration_unit(longest: float) -> tuple[float, str]:
    """Return the length in seconds and the name of the time unit that suits a duration of `longest` seconds."""
    if longest < 1:
        return 1e-3, "ms"
    if longest < 180:
        return 1.0, "s"
    return (60.0, "min") if longest < 3 * 3600 else (3600.0, "h")


def _clamp(places: int, most: int) -> int:
    return max(0, min(most, places))
