"""CRPS and quantiles of any distribution of numbers, computed from its cumulative distribution function."""

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

Distribution = Callable[[Tensor], Tensor]
"""A cumulative distribution function, from numbers ``(B, K)`` to probabilities ``(B, K)``."""

_HALVINGS = 60  # steps of the bisection
_DOUBLINGS = 60  # steps of the search for an interval that contains the quantile
# Levels of quantiles below 1/2, and the number of quadrature nodes between two quantiles. For 2,000 random mixtures of
# three normal distributions whose standard deviations differ by a factor of up to 8, the relative error is below 7e-6.
_LEVELS = (1e-12, 1e-9, 1e-6, 1e-4, 1e-3, 0.01, 0.03, 0.06, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.45)
_NODES = 8
# The sum over counts ends at the quantile 1 - _TAIL. Each count above it adds less than _TAIL to the CRPS.
_TAIL = 1e-9
_MOST_COUNTS = 1_000_000  # the largest count in the sum


def quantile(distribution: Distribution, start_BK: Tensor, spread_BK: Tensor, at: Tensor) -> Tensor:
    """Return the quantiles at the probabilities `at`, ``(B, K)``, by bisection.

    Args:
        distribution: the cumulative distribution function.
        start_BK: numbers near the centre of each distribution, ``(B, K)``.
        spread_BK: the approximate spread of each distribution, ``(B, K)``. Values that are not positive numbers are
            replaced by 1.
        at: probabilities between 0 and 1, ``(B, K)`` or a scalar.
    """
    low, high = _around(distribution, start_BK, spread_BK, at)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        reached = distribution(middle) >= at
        low, high = torch.where(reached, low, middle), torch.where(reached, middle, high)
    return (low + high) / 2


def crps(distribution: Distribution, start_BK: Tensor, spread_BK: Tensor, y_BK: Tensor) -> Tensor:
    """Return the CRPS ``integral (F(x) - 1{x >= y})^2 dx``, ``(B, K)``.

    It is computed by Gauss-Legendre quadrature on the intervals between `y_BK` and the quantiles of many levels.

    Args:
        distribution, start_BK, spread_BK: see `quantile`.
        y_BK: the observed values, ``(B, K)``.
    """
    # Scalars on the CPU work with tensors on any device.
    levels = torch.tensor([*_LEVELS, 0.5, *(1 - level for level in reversed(_LEVELS))], dtype=y_BK.dtype, device="cpu")
    ends = [quantile(distribution, start_BK, spread_BK, level) for level in levels]
    edges, _ = torch.stack([*ends, y_BK]).sort(dim=0)
    nodes, weights = np.polynomial.legendre.leggauss(_NODES)
    total = torch.zeros_like(y_BK)
    for low, high in pairwise(edges):
        for node, weight in zip((nodes + 1) / 2, weights / 2, strict=True):
            x = low + (high - low) * node
            total = total + weight * (high - low) * (distribution(x) - (x >= y_BK).to(y_BK)).square()
    return total


def count_quantile(distribution: Distribution, start_BK: Tensor, spread_BK: Tensor, at: Tensor) -> Tensor:
    """Return the smallest integers of at least 0 whose cumulative probability is at least `at`, ``(B, K)``.

    Args:
        distribution, start_BK, spread_BK, at: see `quantile`.
    """
    low, high = _around(distribution, start_BK, spread_BK, at)
    low, high = low.floor().clamp_min(-1.0), high.ceil().clamp_min(0.0)
    while bool((high - low > 1).any()):
        middle = ((low + high) / 2).floor()
        reached = distribution(middle) >= at
        low, high = torch.where(reached, low, middle), torch.where(reached, middle, high)
    return high


def count_crps(distribution: Distribution, start_BK: Tensor, spread_BK: Tensor, y_BK: Tensor) -> Tensor:
    """Return the CRPS ``sum_k (F(k) - 1{k >= y})^2`` over the integers k >= 0, ``(B, K)``.

    Args:
        distribution, start_BK, spread_BK: see `quantile`.
        y_BK: the observed counts, ``(B, K)``.
    """
    last = count_quantile(distribution, start_BK, spread_BK, torch.tensor(1 - _TAIL, dtype=y_BK.dtype, device="cpu"))
    most = min(int(torch.maximum(last, y_BK).max()), _MOST_COUNTS)
    total = torch.zeros_like(y_BK)
    for k in range(most + 1):
        at = torch.full_like(y_BK, float(k))
        total = total + (distribution(at) - (at >= y_BK).to(y_BK)).square()
    return total


def _around(distribution: Distribution, start: Tensor, spread: Tensor, at: Tensor) -> tuple[Tensor, Tensor]:
    """Return numbers below and above the quantile. The distance from `start` is doubled until they enclose it."""
    start = torch.where(torch.isfinite(start), start, 0.0)
    step = torch.where(torch.isfinite(spread) & (spread > 0), spread, 1.0)
    low, high = start - step, start + step
    for _ in range(_DOUBLINGS):
        above, below = distribution(low) >= at, distribution(high) < at
        if not bool((above | below).any()):
            break
        step = 2 * step
        low, high = torch.where(above, start - step, low), torch.where(below, start + step, high)
    return low, high
