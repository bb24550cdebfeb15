"""How good distributions over real numbers and counts are: CRPS, deviance, and the coverage of central intervals."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from motet.errors import InputError
from motet.likelihoods import Bernoulli, Gaussian, HeteroscedasticGaussian, Likelihood, Poisson
from motet.metrics._checks import check_filled, check_not_nan
from motet.metrics._counts import count_crps, count_quantiles
from motet.prediction import Prediction

LEVELS = (0.5, 0.8, 0.9, 0.95)
"""Levels of the central intervals that are scored."""

WIDTH_LEVEL = 0.9
"""Level of the interval whose width is scored."""

_HALVINGS = 60


def gaussian_crps(
    mean_BMK: Float[Tensor, "batch member target"],
    std_BMK: Float[Tensor, "batch member target"],
    y_BK: Float[Tensor, "batch target"],
) -> Float[Tensor, "batch target"]:
    """Continuous ranked probability score of equally weighted mixtures of normal distributions, in closed form.

    ``mean_i A(y - mu_i, s_i^2) - mean_ij A(mu_i - mu_j, s_i^2 + s_j^2) / 2`` with
    ``A(mu, s^2) = 2 s phi(mu / s) + mu (2 Phi(mu / s) - 1)``: Grimit, Gneiting, Berrocal & Johnson 2006, The continuous
    ranked probability score for circular variables, equation (5). In the unit of the targets; lower is better.

    Args:
        mean_BMK: the components' means.
        std_BMK: their standard deviations, above 0.
        y_BK: what was observed.

    >>> one = torch.ones(1, 1, 1)
    >>> gaussian_crps(0 * one, one, torch.zeros(1, 1)).item().__round__(4)
    0.2337
    """
    members = mean_BMK.shape[1]
    score = _absolute(y_BK.unsqueeze(1) - mean_BMK, std_BMK).mean(dim=1)
    for member in range(members):  # all pairs at once would take M times the memory
        apart = mean_BMK - mean_BMK[:, member : member + 1]
        both = torch.hypot(std_BMK, std_BMK[:, member : member + 1])
        score = score - _absolute(apart, both).mean(dim=1) / (2 * members)
    return score


def crps(prediction: Prediction) -> Float[Tensor, ""]:
    """Continuous ranked probability score, ``integral (F(x) - 1{x >= y})^2 dx``, a mean over rows and targets.

    In the unit of the targets, and for a distribution without spread the absolute error. Exact for every combination:
    `gaussian_crps`; for counts the sum over whole numbers, cut where the tails are below 1e-12 (from rates of a million
    on the normal distribution of that mean and variance); ``(p - y)^2`` for labels in {0, 1}.

    Raises:
        InputError: no targets, no rows, NaN, targets that do not fit, classes.
    """
    components_BMC, y_BK = _components(prediction)
    return crps_of(prediction.likelihood, components_BMC, y_BK).mean()


def crps_of(
    likelihood: Likelihood,
    components_BMC: Float[Tensor, "batch member out"],
    y_BK: Float[Tensor, "batch target"],
) -> Float[Tensor, "batch target"]:
    """`crps` of mixtures of the components, one number a row and target, in double precision."""
    if isinstance(likelihood, Poisson):
        rate = likelihood.mean(components_BMC)
        normal = gaussian_crps(rate, rate.sqrt().clamp_min(1e-3), y_BK)
        return count_crps(rate, y_BK, beyond=normal)
    if isinstance(likelihood, Bernoulli):
        return (likelihood.mixture(components_BMC) - y_BK).square()
    return gaussian_crps(likelihood.mean(components_BMC), likelihood.variance(components_BMC).sqrt(), y_BK)


def pit(prediction: Prediction) -> Float[Tensor, "batch target"]:
    """Probability integral transform ``F(y)``; of counts and labels its mid-p version ``(F(y - 1) + F(y)) / 2``.

    Of a calibrated prediction ``F(y)`` is uniform on [0, 1] (Dawid 1984); the mid-p version has mean 1/2, but is not
    uniform where single counts have much probability: `coverage` therefore does not use it.
    """
    low, high = _pit_between(prediction)
    return (low + high) / 2


def coverage(prediction: Prediction, levels: Sequence[float] = LEVELS) -> Float[Tensor, "level"]:
    """Share of targets in the central interval of each level, ``(L,)``; best is the level itself.

    A real target counts where ``|F(y) - 1/2| <= level / 2``. A count counts by the part of ``[F(y - 1), F(y)]`` that
    lies in ``[(1 - level) / 2, (1 + level) / 2]``: the non-randomised probability integral transform of Czado,
    Gneiting & Held 2009 (Predictive model assessment for count data, equation 2), the expected coverage were F(y) drawn
    between the two. So a calibrated prediction has exactly the level's coverage, which an interval of whole numbers
    could not. A mean over rows and targets.

    Raises:
        InputError: levels outside 0..1; no targets, no rows, NaN, targets that do not fit, classes.
    """
    if not all(0 < level < 1 for level in levels):
        raise InputError("levels must lie between 0 and 1", got=f"levels={tuple(levels)}", fix="Pass 0.9 for 90 %")
    below, at = _pit_between(prediction)
    covered = []
    for level in levels:
        low, high = (1 - level) / 2, (1 + level) / 2
        mass = at - below
        inside = (at.clamp(low, high) - below.clamp(low, high)) / mass
        covered.append(torch.where(mass > 0, inside, ((at >= low) & (at <= high)).to(at)).mean())
    return torch.stack(covered)


def coverage_error(covered: Float[Tensor, "level"], levels: Sequence[float] = LEVELS) -> Float[Tensor, ""]:
    """Calibration error of intervals: the mean over the levels of ``|coverage - level|``; from 0 (best).

    The absolute version of the calibration error of Kuleshov, Fenner & Ermon 2018 (Accurate uncertainties for deep
    learning using calibrated regression, equation 9), of central intervals.
    """
    error: Tensor = (covered - torch.tensor(levels).to(covered)).abs().mean()
    return error


def interval_width(prediction: Prediction, level: float = WIDTH_LEVEL) -> Float[Tensor, ""]:
    """Mean width of the central interval of that level, in the unit of the targets.

    Its ends are the quantiles at ``(1 - level) / 2`` and ``(1 + level) / 2``; of counts the smallest counts with at
    least that probability. Narrow is good where the coverage is right.
    """
    components, _ = _components(prediction)
    ends = [quantile_of(prediction.likelihood, components, at) for at in ((1 - level) / 2, (1 + level) / 2)]
    return (ends[1] - ends[0]).mean()


def quantile_of(
    likelihood: Likelihood, components_BMC: Float[Tensor, "batch member out"], at: float
) -> Float[Tensor, "batch target"]:
    """Quantiles of mixtures of the components, by bisection between the components' quantiles."""
    if isinstance(likelihood, Poisson):
        return count_quantiles(likelihood.mean(components_BMC), at)
    if isinstance(likelihood, Bernoulli):
        one: Tensor = 1 - likelihood.mixture(components_BMC) < at
        return one.to(components_BMC)
    mean, std = likelihood.mean(components_BMC), likelihood.variance(components_BMC).sqrt()
    own = mean + std * torch.special.ndtri(torch.tensor(at, dtype=mean.dtype))
    low: Tensor = own.amin(dim=1)
    high: Tensor = own.amax(dim=1)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        reached = torch.special.ndtr((middle.unsqueeze(1) - mean) / std).mean(dim=1) >= at
        low, high = torch.where(reached, low, middle), torch.where(reached, middle, high)
    return (low + high) / 2


def deviance(mean_BK: Float[Tensor, "batch target"], y: Shaped[Tensor, "batch ..."]) -> Float[Tensor, ""]:
    """Poisson deviance ``2 (y log(y / mean) - y + mean)``, ``2 mean`` where y is 0; a mean over rows and targets.

    Twice what the log-likelihood lacks to that of a prediction of exactly y; 0 is best.

    Args:
        mean_BK: expected counts, at least 0.
        y: counts, ``(B, K)``, or ``(B,)`` if K is 1.

    Raises:
        InputError: no rows, NaN, targets that are no counts.

    >>> deviance(torch.tensor([[2.0]]), torch.tensor([[0.0]]))
    tensor(4.)
    """
    check_filled(mean_BK)
    check_not_nan(mean_BK)
    Poisson().check_targets(y, outputs=mean_BK.shape[1])
    counts = y.reshape(mean_BK.shape).to(mean_BK)
    log_ratio = torch.special.xlogy(counts, counts) - torch.special.xlogy(counts, mean_BK)
    mean: Tensor = 2 * (log_ratio - counts + mean_BK).mean()
    return mean


def has_order(likelihood: Likelihood) -> bool:
    """Whether targets are numbers, with quantiles and intervals."""
    return isinstance(likelihood, Gaussian | HeteroscedasticGaussian | Poisson)


def _pit_between(prediction: Prediction) -> tuple[Tensor, Tensor]:
    """F just below y and at y, under the combined distribution."""
    components, y = _components(prediction)
    likelihood = prediction.likelihood
    at = likelihood.combined_cdf(components, y, "mixture")
    if isinstance(likelihood, Bernoulli | Poisson):
        return likelihood.combined_cdf(components, y - 1, "mixture"), at
    return at, at


def _components(prediction: Prediction) -> tuple[Tensor, Tensor]:
    """The combined distribution as a mixture, and the targets ``(B, K)``: on the CPU, in double precision."""
    outputs = prediction.outputs_BMC.detach().cpu().double()
    likelihood, y = prediction.likelihood, prediction.targets
    if y is None:
        raise InputError(
            "a prediction needs targets to be scored",
            got="a prediction without targets",
            fix="Pass them: ensemble.predict(x, targets=y)",
        )
    check_filled(outputs)
    check_not_nan(outputs)
    likelihood.check_targets(y, outputs=outputs.shape[-1])
    likelihood.cdf(outputs[:0, 0], outputs[:0, 0, : y[:1].numel()])  # raises for classes, which have no order
    components = outputs if prediction.combination == "mixture" else likelihood.geometric(outputs).unsqueeze(1)
    return components, y.detach().cpu().double().reshape(len(outputs), -1)


def _absolute(mean: Tensor, std: Tensor) -> Tensor:
    """Expected absolute value of a normal variable."""
    z = mean / std
    density = torch.exp(-0.5 * z.square()) / (2 * torch.pi) ** 0.5
    absolute: Tensor = 2 * std * density + mean * (2 * torch.special.ndtr(z) - 1)
    return absolute
