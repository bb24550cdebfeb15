"""How good distributions over real numbers and counts are: CRPS, deviance, and the coverage of central intervals."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from motet.errors import InputError
from motet.likelihoods import Poisson
from motet.metrics._checks import check_filled, check_not_nan
from motet.prediction import Prediction

LEVELS = (0.5, 0.8, 0.9, 0.95)
"""Levels of the central intervals that are scored."""

WIDTH_LEVEL = 0.9
"""Level of the interval whose width is scored."""


def crps(prediction: Prediction) -> Float[Tensor, ""]:
    """Continuous ranked probability score, ``integral (F(x) - 1{x >= y})^2 dx``, a mean over rows and targets.

    In the unit of the targets, and for a distribution without spread the absolute error. Exact for every combination:
    `gaussian_crps`; for counts the sum over whole numbers, cut where the tails are below 1e-12 (from rates of a million
    on the normal distribution of that mean and variance); ``(p - y)^2`` for labels in {0, 1}. Of a likelihood outside
    motet it is found numerically, see `motet.likelihoods.Likelihood.mixture_crps`.

    Raises:
        InputError: no targets, no rows, NaN, targets that do not fit, classes.
    """
    components_BMC, y_BK = _components(prediction)
    return prediction.likelihood.mixture_crps(components_BMC, y_BK).mean()


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
    ends = [prediction.likelihood.mixture_quantile(components, at) for at in ((1 - level) / 2, (1 + level) / 2)]
    return (ends[1] - ends[0]).mean()


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


def _pit_between(prediction: Prediction) -> tuple[Tensor, Tensor]:
    """F just below y and at y, under the combined distribution."""
    components, y = _components(prediction)
    likelihood = prediction.likelihood
    at = likelihood.combined_cdf(components, y, "mixture")
    if likelihood.target_kind in ("binary", "count"):
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
