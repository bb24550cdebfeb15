"""Determine what a column of text contains: numbers, dates, truth values or words."""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, final

import numpy as np

from motet.data.formats.dates import DateOrder, is_date, seconds
from motet.errors import InputError

MISSING = frozenset(
    {"", "na", "n/a", "n.a.", "#n/a", "#na", "#n/a n/a", "<na>", "nan", "-nan", "1.#qnan", "-1.#ind", "1.#ind", "nat"}
    | {"null", "(null)", "nil", "none", "\\n", "?", "#value!", "#ref!", "#div/0!", "#num!", "#name?", "#null!"}
)
"""How spreadsheets, R, pandas and databases write missing values, in lower case."""
MISSING_NUMBERS = frozenset({".", "-", "--"})
"""How numbers and dates are marked as missing besides; in columns of words these are words."""

_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[+-]?inf(?:inity)?", re.IGNORECASE)
_COMMA = re.compile(r"[+-]?[0-9]+(?:,[0-9]+)?")
_THOUSANDS = re.compile(r"[+-]?[0-9]{1,3}(?:,[0-9]{3})*")
_SIGNS = str.maketrans("", "", "%$\u20ac\u00a3\u00a5\u00a0 '")
_SHOWN = 5

Column = Any
"""A column: float64 with NaN for missing values, or objects (str) with None."""


@final
@dataclass(frozen=True, kw_only=True)
class Spelling:
    """How the fields of a table are written.

    Attributes:
        missing: words that mark missing values besides the usual ones.
        dates: the order of day and month.
        decimal_comma: whether numbers may have a comma for the decimal point, because another sign separates fields.
    """

    missing: tuple[str, ...] = ()
    dates: DateOrder | None = None
    decimal_comma: bool = False


@final
@dataclass(frozen=True)
class ReadColumn:
    """A column that was read.

    Attributes:
        values: float64 with NaN for missing values, or objects (str) with None.
        kind: what the texts were.
    """

    values: Column
    kind: Literal["numbers", "decimal commas", "dates", "words"]


def tidy(text: str) -> str:
    """Return the text without spaces and line breaks around it, with one space for those inside."""
    return " ".join(text.split())


def text_values(column: Any, spelling: Spelling) -> Column:
    """Return an Arrow column of text as objects, tidied, with None for missing values.

    Args:
        column: an Arrow array of strings.
        spelling: what else is missing.
    """
    words, codes = _distinct(column, spelling)
    return np.array([*words, None], dtype=object)[codes]


def read_column(name: str, column: Any, spelling: Spelling) -> ReadColumn:
    """Infer the type of a text column, and return it as numbers, dates or words.

    It is numbers or dates if all of its values that are not missing are. A value is compared with the spellings of
    missing values after spaces around it are removed.

    Args:
        name: the column's name, for errors.
        column: an Arrow array of strings.
        spelling: how fields are written.

    Raises:
        InputError: if at least half of the values are numbers (or dates) but not all, if they are numbers with signs
            (5%, $3) or thousands separators, for dates of unclear order, and for infinite numbers.
    """
    plain = _plain_numbers(column, spelling)
    if plain is not None:
        return ReadColumn(_finite(name, plain), "numbers")
    words, codes = _distinct(column, spelling)
    is_number = [_NUMBER.fullmatch(word) is not None for word in words]
    absent = [word in MISSING_NUMBERS for word in words]
    numbers = [word for word, fits in zip(words, is_number, strict=True) if fits]
    if all(a or b for a, b in zip(is_number, absent, strict=True)) and (numbers or not words):
        found = [float(word) if fits else np.nan for word, fits in zip(words, is_number, strict=True)]
        return ReadColumn(_finite(name, np.array([*found, np.nan])[codes]), "numbers")
    if spelling.decimal_comma and _decimal_commas(words, absent):
        found = [np.nan if gone else _comma_number(word) for word, gone in zip(words, absent, strict=True)]
        return ReadColumn(_finite(name, np.array([*found, np.nan])[codes]), "decimal commas")
    truth = {"true", "false"}
    if words and {word.lower() for word in words} <= truth:
        words = [word.lower() for word in words]
        return ReadColumn(np.array([*words, None], dtype=object)[codes], "words")
    counts = np.bincount(codes, minlength=len(words) + 1)[: len(words)]
    dates = [is_date(word) for word in words]
    if all(a or b for a, b in zip(dates, absent, strict=True)) and any(dates):
        known = iter(seconds(name, [word for word, fits in zip(words, dates, strict=True) if fits], spelling.dates))
        found = [next(known) if fits else np.nan for fits in dates]
        return ReadColumn(np.array([*found, np.nan])[codes], "dates")
    _check_unmixed(name, words, counts, is_number, kind="numbers", codes=codes)
    _check_unmixed(name, words, counts, dates, kind="dates", codes=codes)
    return ReadColumn(np.array([*words, None], dtype=object)[codes], "words")


def _plain_numbers(column: Any, spelling: Spelling) -> Column | None:
    """Return the numbers of a column in which all values that are not missing are numbers, otherwise None.

    The same as the slower way over the different texts, for columns whose numbers are nearly all different.
    """
    import pyarrow
    from pyarrow import compute

    trimmed = compute.utf8_trim_whitespace(column.cast(pyarrow.large_string()))
    kind = trimmed.type
    usual = pyarrow.array(sorted(MISSING | MISSING_NUMBERS), type=kind)
    gone = compute.is_in(compute.utf8_lower(trimmed), value_set=usual)
    if spelling.missing:
        extra = pyarrow.array([tidy(word) for word in spelling.missing], type=kind)
        gone = compute.or_(gone, compute.is_in(trimmed, value_set=extra))
    known = compute.if_else(gone, pyarrow.scalar(None, type=kind), trimmed)
    if known.null_count == len(known):
        return None
    try:
        numbers = known.cast(pyarrow.float64())
    except pyarrow.ArrowInvalid:
        return None
    return np.array(numbers, dtype=np.float64)


def _distinct(column: Any, spelling: Spelling) -> tuple[list[str], Any]:
    """Return the different tidied texts, and the index of each row's; the last index is that of missing values."""
    import pyarrow
    from pyarrow import compute

    trimmed = compute.utf8_trim_whitespace(column.cast(pyarrow.large_string()))
    encoded = compute.dictionary_encode(trimmed, null_encoding="mask")
    chunk = encoded.combine_chunks() if hasattr(encoded, "combine_chunks") else encoded
    if hasattr(chunk, "chunks"):  # an empty table has no chunk
        chunk = chunk.chunk(0)
    indices = chunk.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)
    extra = {tidy(word) for word in spelling.missing}
    places: dict[str, int] = {}
    of_text = []
    for text in chunk.dictionary.to_pylist():
        word = tidy(text)
        gone = word.lower() in MISSING or word in extra
        of_text.append(-1 if gone else places.setdefault(word, len(places)))
    codes = np.array([*of_text, -1], dtype=np.int64)[indices]
    return list(places), np.where(codes < 0, len(places), codes)


def _decimal_commas(words: Sequence[str], absent: Sequence[bool]) -> bool:
    known = [word for word, gone in zip(words, absent, strict=True) if not gone]
    if not any("," in word for word in known):
        return False
    fits = all(_COMMA.fullmatch(word) or _NUMBER.fullmatch(word) for word in known)
    points = any("." in word for word in known)
    return fits and not points and not all(_THOUSANDS.fullmatch(word) for word in known)


def _comma_number(word: str) -> float:
    return float(word.replace(",", "."))


def _check_unmixed(
    name: str, words: Sequence[str], counts: Any, fits: Sequence[bool], *, kind: str, codes: Any
) -> None:
    """Refuse a column that looks like numbers or dates with some mistakes."""
    odd = [index for index, right in enumerate(fits) if not right]
    known, wrong = int(counts.sum()), int(counts[odd].sum())
    disguised = kind == "numbers" and all(_disguised(words[index]) for index in odd)
    if 2 * wrong > known and not disguised:
        return
    if not any(fits) and not disguised:
        return
    frequent = Counter({words[index]: int(counts[index]) for index in odd}).most_common(_SHOWN)
    row = int(np.flatnonzero(np.isin(codes, odd))[0]) + 1
    listed = ", ".join(f"{word!r} ({count})" for word, count in frequent) + (", ..." if len(odd) > _SHOWN else "")
    if disguised:
        fix = (
            "Write a point for the decimal comma, remove signs and thousands separators, leave unknown numbers empty, "
            f"or leave the column out with --drop {_quoted(name)}"
        )
    else:
        some = " ".join(_quoted(word) for word, _ in frequent)
        fix = (
            f"Pass --missing {some} if that means missing, --category {_quoted(name)} if all of them are codes, or "
            f"--drop {_quoted(name)}"
        )
    raise InputError(
        f"column {name!r} must hold {kind} or words, not both",
        got=f"{wrong} of {known} that are not {kind}: {listed}, the first {words[int(codes[row - 1])]!r} in row {row}",
        fix=fix,
    )


def _disguised(text: str) -> bool:
    """Whether it is a number in another notation: 1,5 or 1,000.5 or 5% or $3."""
    return _NUMBER.fullmatch(text.translate(_SIGNS).replace(",", "")) is not None


def _quoted(text: str) -> str:
    return f"'{text}'" if re.search(r"[^\w.+-]", text) else text


def _finite(name: str, values: Column) -> Column:
    check_finite(name, values)
    return values


def check_finite(name: str, values: Column) -> None:
    """Check that no number is infinite.

    Args:
        name: the column's name, for errors.
        values: numbers.

    Raises:
        InputError: with the first row, if one is.
    """
    infinite = np.isinf(values)
    if infinite.any():
        raise InputError(
            f"column {name!r} must hold finite numbers",
            got=f"{int(infinite.sum())} infinite, the first in row {int(infinite.argmax()) + 1}",
            fix="Leave these fields empty, or remove the rows",
        )
