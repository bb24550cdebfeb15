"""Dates, times and moments in the usual notations, as seconds."""

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta, timezone
from typing import Literal

from motet.errors import InputError

DateOrder = Literal["dayfirst", "monthfirst"]
"""Which of the first two numbers of ``01/02/2012`` is the day."""

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = (
    r"(?P<name>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?"
    r"|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\.?"
)
_WEEKDAY = r"(?:(?:mon|tues?|wed(?:nes)?|thu(?:rs?)?|fri|sat(?:ur)?|sun)(?:day)?\.?,?\s+)?"
_TIME = (
    r"(?P<hour>[0-9]{1,2}):(?P<minute>[0-9]{2})(?::(?P<second>[0-9]{2})(?:[.,](?P<part>[0-9]{1,9}))?)?"
    r"(?:\s?(?P<half>[ap])\.?m\.?)?(?:\s?(?P<zone>z|utc|gmt|[+-][0-9]{2}:?[0-9]{2}|[+-][0-9]{2}))?"
)
_DAY = r"(?P<day>[0-9]{1,2})(?:st|nd|rd|th)?"
_YEAR = r"(?P<year>[0-9]{4})"
_SHORT_YEAR = r"(?P<year>[0-9]{4}|[0-9]{2})"


def _pattern(date: str) -> re.Pattern[str]:
    return re.compile(rf"{_WEEKDAY}{date}(?:(?:\s*,?\s+|t){_TIME})?", re.IGNORECASE | re.ASCII)


_NOTATIONS = (
    _pattern(rf"{_YEAR}(?P<by>[-/.])(?P<month>[0-9]{{1,2}})(?:(?P=by)(?P<day>[0-9]{{1,2}}))?"),  # 2012-01-02, 2012/01
    _pattern(rf"(?P<day>[0-9]{{1,2}})\.\s?(?P<month>[0-9]{{1,2}})\.\s?{_SHORT_YEAR}"),  # 02.01.2012
    _pattern(rf"{_DAY}[-/ .]*\s?{_MONTH}[-/ .,]*{_SHORT_YEAR}"),  # 01-Jan-20, 1 January 2020
    _pattern(rf"{_MONTH}[-/ ]?\s*{_DAY},?[-/ ]\s*{_YEAR}"),  # January 1, 2020
    _pattern(rf"{_MONTH}[-/ ,]\s*{_YEAR}"),  # Jan 2020
    _pattern(rf"{_YEAR}[-/ :]?Q(?P<quarter>[1-4])"),  # 2020Q1
    _pattern(rf"{_YEAR}[-/ ]{_MONTH}(?:[-/ ](?P<day>[0-9]{{1,2}}))?"),  # 2020-Jan-01
)
_EITHER = _pattern(rf"(?P<first>[0-9]{{1,2}})(?P<by>[-/])(?P<other>[0-9]{{1,2}})(?P=by){_SHORT_YEAR}")  # 01/02/2012
_ONLY_TIME = re.compile(_TIME, re.IGNORECASE | re.ASCII)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def is_date(text: str) -> bool:
    """Whether a text is a date, a time or both, in a notation that `seconds` reads with one order of day and month."""
    if not any(character.isdigit() for character in text):
        return False
    if _EITHER.fullmatch(text):
        return any(_read(text, order) is not None for order in ("dayfirst", "monthfirst"))
    return _read(text, None) is not None


def seconds(name: str, texts: Sequence[str], order: DateOrder | None) -> list[float]:
    """Return dates as seconds since 1970 (UTC, unless they have another zone), and times as seconds since midnight.

    Years of two digits are 1969 to 2068, as in POSIX.

    Args:
        name: the column's name, for errors.
        texts: the dates, each one with `is_date`.
        order: the order of day and month in dates such as 01/02/2012; inferred if None, from days above 12.

    Raises:
        InputError: if the order cannot be inferred, or contradicts a date.
    """
    either = [text for text in texts if _EITHER.fullmatch(text)]
    fitting = [each for each in ("dayfirst", "monthfirst") if all(_read(text, each) is not None for text in either)]
    if either and not fitting:
        raise InputError(
            f"the dates in column {name!r} must all have day and month in the same order",
            got=_examples(either),
            fix="Write them as 2012-01-31",
        )
    if either and order is None and len(fitting) > 1:
        raise InputError(
            f"the order of day and month in column {name!r} must be clear",
            got=f"dates that can be read both ways, such as {either[0]!r}",
            fix="Pass --dates dayfirst or --dates monthfirst (dates=)",
        )
    if either and order is not None and order not in fitting:
        raise InputError(
            f"--dates must fit the dates in column {name!r}",
            got=f"--dates {order} and {next(text for text in either if _read(text, order) is None)!r}",
            fix=f"Pass --dates {fitting[0]}, or write the dates as 2012-01-31",
        )
    chosen = order if order is not None else (fitting[0] if either else None)
    values = [_read(text, chosen) for text in texts]
    return [value for value in values if value is not None]


def _examples(either: Collection[str]) -> str:
    by_day = next(text for text in either if _read(text, "monthfirst") is None)
    by_month = next(text for text in either if _read(text, "dayfirst") is None)
    return f"{by_day!r} and {by_month!r}"


def _read(text: str, order: str | None) -> float | None:
    """Return the seconds, or None if the text is no date."""
    if found := _ONLY_TIME.fullmatch(text):
        return _time(found.groupdict())
    if found := _EITHER.fullmatch(text):
        if order is None:
            return None
        day, month = ("first", "other") if order == "dayfirst" else ("other", "first")
        return _moment(found.groupdict() | {"day": found[day], "month": found[month]})
    for notation in _NOTATIONS:
        if found := notation.fullmatch(text):
            return _moment(found.groupdict())
    return None


def _moment(parts: Mapping[str, str | None]) -> float | None:
    written, name = parts["year"] or "", parts.get("name")
    year = int(written)
    if len(written) == 2:
        year += 1900 if year >= 69 else 2000
    month = _MONTHS.index(name[:3].lower()) + 1 if name else int(parts.get("month") or 1)
    if quarter := parts.get("quarter"):
        month = 3 * int(quarter) - 2
    time = 0.0 if parts["hour"] is None else _time(parts)
    if time is None:
        return None
    try:
        day = datetime(year, month, int(parts.get("day") or 1), tzinfo=UTC)
    except ValueError:
        return None
    return (day - _EPOCH).total_seconds() + time - _offset(parts["zone"])


def _time(parts: Mapping[str, str | None]) -> float | None:
    hour, minute, second = int(parts["hour"] or 0), int(parts["minute"] or 0), int(parts["second"] or 0)
    if parts["half"]:
        if not 1 <= hour <= 12:
            return None
        hour = hour % 12 + (12 if parts["half"].lower() == "p" else 0)
    if hour > 24 or minute > 59 or second > 60:
        return None
    return 3600.0 * hour + 60.0 * minute + second + float(f"0.{parts['part'] or 0}")


def _offset(zone: str | None) -> float:
    """Return the seconds that a time zone is ahead of UTC."""
    if zone is None or not zone.startswith(("+", "-")):
        return 0.0
    hours, minutes = int(zone[1:3]), int(zone[-2:]) if len(zone) > 3 else 0
    ahead = timezone(timedelta(hours=min(hours, 23), minutes=minutes)).utcoffset(None).total_seconds()
    return -ahead if zone.startswith("-") else ahead
