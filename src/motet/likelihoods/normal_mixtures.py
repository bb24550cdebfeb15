"""CRPS and quantiles of equally weighted mixtures of normal distributions."""

import torch
from jaxtyping import Float
from torch import Tensor

_HALVINGS = 60  # steps of the bisection


def gaussian_crps(
    mean_BMK: Float[Tensor, "batch member target"],
    std_BMK: Float[Tensor, "batch member target"],
    y_BK: Float[Tensor, "batch target"],
) -> Float[Tensor, "batch target"]:
    """Continuous ranked probability score of equally weighted mixtures of normal distributions, in closed form.

    ``mean_i A(y - mu_i, s_i^2) - mean_ij A(mu_i - mu_j, s_i^2 + s_j^2) / 2`` with ``A(mu, s^2) = 2 s phi(mu / s) + mu
    (2 Phi(mu / s) - 1)``: Grimit, Gneiting, Berrocal & Johnson 2006, The continuous ranked probability score for
    circular variables, equation (5). The unit is that of the targets. Lower is better.

    Args:
        mean_BMK: the means of the components, ``(B, M, K)``.
        std_BMK: the standard deviations of the components, above 0, ``(B, M, K)``.
        y_BK: the observed values, ``(B, K)``.

    >>> one = torch.ones(1, 1, 1)
    >>> gaussian_crps(0 * one, one, torch.zeros(1, 1)).item().__round__(4)
    0.2337
    """
    members = mean_BMK.shape[1]
    score = _absolute(y_BK.unsqueeze(1) - mean_BMK, std_BMK).mean(dim=1)
    for member in range(members):  # all pairs at once would need M times the memory
        apart = mean_BMK - mean_BMK[:, member : member + 1]
        both = torch.hypot(std_BMK, std_BMK[:, member : member + 1])
        score = score - _absolute(apart, both).mean(dim=1) / (2 * members)
    return score


def gaussian_quantile(
    mean_BMK: Float[Tensor, "batch member target"], std_BMK: Float[Tensor, "batch member target"], at: float
) -> Float[Tensor, "batch target"]:
    """Return quantiles of the mixtures, by bisection between the quantiles of the components.

    Args:
        mean_BMK: the means of the components, ``(B, M, K)``.
        std_BMK: the standard deviations of the components, above 0, ``(B, M, K)``.
        at: a probability between 0 and 1.
    """
    # A scalar on the CPU works with tensors on any device.
    own = mean_BMK + std_BMK * torch.special.ndtri(torch.tensor(at, dtype=mean_BMK.dtype, device="cpu"))
    low: Tensor = own.amin(dim=1)
    high: Tensor = own.amax(dim=1)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        reached = torch.special.ndtr((middle.unsqueeze(1) - mean_BMK) / std_BMK).mean(dim=1) >= at
        low, high = torch.where(reached, low, middle), torch.where(reached, middle, high)
    return (low + high) / 2


def _absolute(mean: Tensor, std: Tensor) -> Tensor:
    """Return the expected absolute value of a normal random variable."""
    z = mean / std
    density = torch.exp(-0.5 * z.square()) / (2 * torch.pi) ** 0.5
    absolute: Tensor = 2 * std * density + mean * (2 * torch.special.ndtr(z) - 1)
    return absolute
