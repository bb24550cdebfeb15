"""Numbers out of tables whose holes are None or NaN."""

import math
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray


def number(value: float | int | None) -> float:
    """`value` as a float; None, infinities and numbers of 1e100 and more, which no axis can show, are NaN.

    >>> number(None), number(2)
    (nan, 2.0)
    """
    return float(value) if value is not None and abs(value) < 1e100 else math.nan


def numbers(values: Iterable[float | int | None]) -> NDArray[np.float64]:
    """`values` as an array with NaN where there is no number."""
    return np.array([number(value) for value in values], dtype=np.float64)


def wants_log(values: NDArray[np.float64], factor: float = 8.0) -> bool:
    """Whether the finite `values` are all positive and span more than `factor`."""
    finite = values[np.isfinite(values)]
    return bool(finite.size and finite.min() > 0 and finite.max() > factor * finite.min())
