"""CRPS and quantiles of mixtures of Poisson distributions, by summation over integers."""

import torch
from torch import Tensor

# Tails below exp(-_TAIL) = 1e-12 are ignored, by the tail bounds of the Poisson distribution: P(X >= rate + x) is at
# most exp(-x^2 / (2 (rate + x / 3))), and P(X <= rate - x) at most exp(-x^2 / (2 rate)).
_TAIL = 27.64
# For larger rates a mixture of normal distributions is used. Its CRPS differs by less than 1e-3 standard deviations.
# The table of a row whose members disagree can be as long as the largest rate.
_LARGE = 1e6
_ENTRIES = 2_000_000  # approximate number of table entries that are computed at once


def count_crps(rate_BMK: Tensor, y_BK: Tensor, *, beyond: Tensor) -> Tensor:
    """Return the CRPS ``sum_k (F(k) - 1{k >= y})^2`` for each row and target, ``(B, K)``.

    Args:
        rate_BMK: the members' rates, ``(B, M, K)``.
        y_BK: counts, ``(B, K)``.
        beyond: the CRPS to return for rates above a million, ``(B, K)``.
    """
    rows, members, targets = rate_BMK.shape
    rate_NM, y_N = rate_BMK.transpose(1, 2).reshape(rows * targets, members), y_BK.reshape(-1)
    score_N = beyond.reshape(-1).clone()
    score_N[rate_NM.isinf().any(dim=1)] = torch.inf
    summed = (rate_NM.amax(dim=1) <= _LARGE).nonzero().flatten()
    low_N, high_N = _bounds(rate_NM)
    width_N = high_N - low_N
    order = summed[width_N[summed].argsort()]
    start = 0
    while start < len(order):
        # Rows are sorted by the length of their tables. All tables of a part have the length of the last one, so the
        # part is shortened until they fit.
        end = start + 1
        step = max(1, int(_ENTRIES // max(1.0, float(width_N[order[start]]))))
        end = min(len(order), start + step)
        while end > start + 1 and (end - start) * float(width_N[order[end - 1]]) > 2 * _ENTRIES:
            end = start + max(1, (end - start) // 2)
        part = order[start:end]
        score_N[part] = _summed(rate_NM[part], y_N[part], low_N[part], int(width_N[part].max())).to(score_N)
        start = end
    return score_N.reshape(rows, targets)


def count_quantiles(rate_BMK: Tensor, at: float) -> Tensor:
    """Return the smallest counts whose cumulative probability is at least `at`, ``(B, K)``."""
    low_BK, high_BK = (bound.amin(dim=1) if i == 0 else bound.amax(dim=1) for i, bound in enumerate(_limits(rate_BMK)))
    low_BK = low_BK - 1  # F(low) is below `at`, F(high) is not
    while bool((high_BK - low_BK > 1).any()):
        middle = ((low_BK + high_BK) / 2).floor()
        k = middle.clamp_min(0).unsqueeze(1).expand_as(rate_BMK)
        reached = (torch.special.gammaincc(k + 1, rate_BMK).mean(dim=1) >= at) & (middle >= 0)
        low_BK, high_BK = torch.where(reached, low_BK, middle), torch.where(reached, middle, high_BK)
        if not bool(torch.isfinite(high_BK).all()):
            return torch.where(torch.isfinite(high_BK), high_BK, torch.nan)
        if bool((high_BK > 2**52).any()):  # double precision does not represent larger integers exactly
            return high_BK
    return high_BK


def _summed(rate_NM: Tensor, y_N: Tensor, low_N: Tensor, width: int) -> Tensor:
    k_NW = low_N.unsqueeze(1) + torch.arange(width, dtype=torch.float64, device=low_N.device)
    log_factorial = torch.lgamma(k_NW + 1)
    below_NW = torch.zeros_like(k_NW)
    for rate_N in rate_NM.unbind(dim=1):
        rate_N1 = rate_N.unsqueeze(1)
        mass_NW = torch.exp(torch.special.xlogy(k_NW, rate_N1) - rate_N1 - log_factorial)
        below_NW += mass_NW.cumsum(dim=1)
    below_NW /= rate_NM.shape[1]
    inside = (below_NW - (k_NW >= y_N.unsqueeze(1)).to(below_NW)).square().sum(dim=1)
    # F is 0 below the table and 1 above it.
    high_N = low_N + width
    return inside + (low_N - y_N).clamp_min(0) + (y_N - high_N).clamp_min(0)


def _bounds(rate_NM: Tensor) -> tuple[Tensor, Tensor]:
    low, high = _limits(rate_NM)
    return low.amin(dim=1), high.amax(dim=1)


def _limits(rate: Tensor) -> tuple[Tensor, Tensor]:
    """Return integers below and above which each Poisson distribution has a probability of less than 1e-12."""
    low = (rate - (2 * _TAIL * rate).sqrt()).floor().clamp_min(0)
    high = (rate + _TAIL / 3 + ((_TAIL / 3) ** 2 + 2 * _TAIL * rate).sqrt()).ceil() + 1
    return low, high
