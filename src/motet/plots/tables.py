"""Conversion of numbers from tables, in which missing values are None or NaN."""

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


def number(value: float | int | None) -> float:
    """Return `value` as a float. None, infinities and absolute values of 1e100 and more become NaN: no axis shows them.

    >>> number(None), number(2)
    (nan, 2.0)
    """
    return float(value) if value is not None and abs(value) < 1e100 else math.nan


def numbers(values: Iterable[float | int | None]) -> NDArray[np.float64]:
    """Return `values` as an array, with NaN for missing numbers."""
    return np.array([number(value) for value in values], dtype=np.float64)


def wants_log(values: NDArray[np.float64], factor: float = 8.0) -> bool:
    """Return whether the finite `values` are all positive and span more than a factor of `factor`."""
    finite = values[np.isfinite(values)]
    return bool(finite.size and finite.min() > 0 and finite.max() > factor * finite.min())
