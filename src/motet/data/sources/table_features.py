"""Convert a table's columns to network inputs, with statistics of the training rows."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from motet.errors import InputError

MOST_CATEGORIES = 1000
"""A column of text with more different words than this in the training rows contains names or codes, not categories."""

_ROWS_PER_WORD = 3
_FEW_WORDS = 5

_MISSING = "(missing)"


@final
@dataclass(frozen=True)
class _Numeric:
    """A column of numbers: standardised; missing values become 0, the mean, and another feature marks them."""

    name: str
    mean: float
    std: float
    flagged: bool

    @property
    def names(self) -> list[str]:
        return [self.name, f"{self.name} missing"] if self.flagged else [self.name]

    def encode(self, column: Any) -> NDArray[np.float64]:
        missing = np.isnan(column)
        value = np.where(missing, 0.0, (column - self.mean) / self.std)
        return np.stack([value, missing.astype(np.float64)], axis=1) if self.flagged else value[:, None]


@final
@dataclass(frozen=True)
class _Categorical:
    """A column of words: one feature for each word of the training rows; all 0 for other words."""

    name: str
    words: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        return [f"{self.name}={word}" for word in self.words]

    def encode(self, column: Any) -> NDArray[np.float64]:
        place = {word: index for index, word in enumerate(self.words)}
        encoded = np.zeros((len(column), len(self.words)))
        for row, word in enumerate(column):
            index = place.get(_MISSING if word is None else word)
            if index is not None:
                encoded[row, index] = 1.0
        return encoded


@final
@dataclass(frozen=True)
class Features:
    """The conversion of columns to features, fitted on training rows.

    Attributes:
        columns: the columns that are used.
        constant: the columns that are constant in the training rows, which are left out.
        different: the columns whose words are nearly all different in the training rows, which are left out.
    """

    columns: tuple[_Numeric | _Categorical, ...]
    constant: tuple[str, ...]
    different: tuple[str, ...] = ()

    @classmethod
    def fit(cls, columns: Mapping[str, Any], *, keep: Collection[str] = ()) -> "Features":
        """Fit the conversion to the training rows of each column.

        Numbers are standardised by their mean and standard deviation. Missing numbers become the mean; if the training
        rows have any, another feature marks them. Each word becomes a feature, including "missing". Columns are left
        out if they are constant, or if they have more different words than `most_categories`.

        Args:
            columns: the training rows of each column.
            keep: the columns that are not left out.

        Raises:
            InputError: if all columns are left out.
        """
        used: list[_Numeric | _Categorical] = []
        constant, different = [], []
        for name, column in columns.items():
            kept = name in keep
            if column.dtype != object:
                encoder: _Numeric | _Categorical | None = _fit_numbers(name, column, kept=kept)
            elif not kept and _too_different(column):
                different.append(name)
                continue
            else:
                encoder = _fit_words(name, column, kept=kept)
            if encoder is None:
                constant.append(name)
            else:
                used.append(encoder)
        if not used:
            found = [f"{name!r}, constant" for name in constant[:3]]
            found += [f"{name!r}, words that are nearly all different" for name in different[:3]]
            raise InputError(
                "at least one column other than the target must vary in the training rows",
                got="; ".join(found) or "none",
                fix="Provide a table with features" + (f", or pass --keep {different[0]}" if different else ""),
            )
        return cls(tuple(used), tuple(constant), tuple(different))

    @property
    def names(self) -> tuple[str, ...]:
        """One name for each feature."""
        return tuple(name for column in self.columns for name in column.names)

    def encode(self, columns: Mapping[str, Any]) -> Float[Tensor, "rows features"]:
        """Return the features of any rows, float32. Raises `InputError` for numbers that float32 cannot represent."""
        encoded = np.concatenate([single(each.name, each.encode(columns[each.name])) for each in self.columns], axis=1)
        return torch.from_numpy(encoded)


def single(name: str, values: NDArray[np.float64]) -> NDArray[np.float32]:
    """Return the standardised values of column `name` in float32.

    Raises:
        InputError: if a value is so far from the training rows' mean that float32 cannot represent it.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        narrow = values.astype(np.float32)
    far = ~np.isfinite(narrow)
    if far.any():
        raise InputError(
            f"column {name!r} must hold numbers of similar size, so that float32 can represent the standardised values",
            got=f"{int(far.sum())} beyond 3e38 standard deviations of the training rows",
            fix="Correct these values, or leave them empty",
        )
    return narrow


def _fit_numbers(name: str, column: Any, *, kept: bool) -> _Numeric | None:
    known = column[~np.isnan(column)]
    flagged = 0 < len(known) < len(column)
    if not len(known):
        return None
    mean, std = standardisation(known)
    if std == 0.0:
        # A number that is either missing or constant carries information by being missing.
        return _Numeric(name, mean, 1.0, flagged) if flagged or kept else None
    return _Numeric(name, mean, std, flagged)


def standardisation(values: Sequence[float] | NDArray[np.float64]) -> tuple[float, float]:
    """Return mean and standard deviation; 0 for the latter if values differ only by rounding."""
    numbers = np.asarray(values, dtype=np.float64)
    scale = float(np.abs(numbers).max())
    if scale == 0.0:
        return 0.0, 0.0
    scaled = numbers / scale  # squares of very large or very small numbers would overflow or underflow float64
    mean, std = float(scaled.mean()), float(scaled.std())
    return mean * scale, std * scale if std > 1e-12 * abs(mean) else 0.0


def most_categories(rows: int) -> int:
    """Return the number of different words up to which a column contains categories.

    Each one then has 3 rows on average, because fewer cannot teach what it means. 5 words are always allowed if they
    have 2 rows on average; and more than 1,000 never are.

    Args:
        rows: the number of training rows in which the column is not missing.
    """
    return min(MOST_CATEGORIES, max(rows // _ROWS_PER_WORD, min(_FEW_WORDS, rows // 2)))


def _too_different(column: Any) -> bool:
    known = [word for word in column if word is not None]
    different = len(set(known))
    return different > max(1, most_categories(len(known)))


def _fit_words(name: str, column: Any, *, kept: bool) -> _Categorical | None:
    words = sorted({_MISSING if word is None else word for word in column})
    return _Categorical(name, tuple(words)) if len(words) > 1 or kept else None
