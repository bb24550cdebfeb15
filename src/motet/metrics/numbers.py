"""Metrics of predicted distributions of numbers and counts: CRPS, deviance, and coverage of central intervals."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from motet.errors import InputError
from motet.likelihoods import Poisson
from motet.metrics._checks import check_filled, check_not_nan
from motet.prediction import Prediction

LEVELS = (0.5, 0.8, 0.9, 0.95)
"""The levels of the central intervals that are scored."""

WIDTH_LEVEL = 0.9
"""The level of the interval whose width is scored."""


def crps(prediction: Prediction) -> Float[Tensor, ""]:
    """Continuous ranked probability score, ``integral (F(x) - 1{x >= y})^2 dx``, a mean over rows and targets.

    Lower is better. The unit is that of the targets; for several targets that were standardised separately it is their
    standard deviations (see `motet.metrics.score`). For a distribution without spread the CRPS equals the absolute
    error. Both combinations of members are scored exactly:

    - normal distributions: in closed form, see `gaussian_crps`;
    - counts: by summation over integers, without tails below 1e-12 (for rates above a million, the normal distribution
      with the same mean and variance is used);
    - labels in {0, 1}: ``(p - y)^2``.

    For a likelihood outside motet the CRPS is computed numerically, see `motet.likelihoods.Likelihood.mixture_crps`.

    Raises:
        InputError: for no targets, no rows, NaN, targets that do not fit the likelihood, and classes.
    """
    return _in_own_unit(prediction, mixture_crps(prediction).mean())


def mixture_crps(prediction: Prediction) -> Float[Tensor, "batch target"]:
    """CRPS of each row and target, for the targets as the network was trained on them. See `crps`."""
    components_BMC, y_BK = _components(prediction)
    return prediction.likelihood.mixture_crps(components_BMC, y_BK)


def pit(prediction: Prediction) -> Float[Tensor, "batch target"]:
    """Probability integral transform ``F(y)``; for counts and labels its mid-p version ``(F(y - 1) + F(y)) / 2``.

    For a calibrated prediction ``F(y)`` is uniform on [0, 1] (Dawid 1984). The mid-p version has mean 1/2, but is not
    uniform if single counts have large probabilities. `coverage` therefore does not use it.

    Raises:
        InputError: for no targets, no rows, NaN, targets that do not fit the likelihood, and classes.
    """
    low, high = _pit_between(prediction)
    return (low + high) / 2


def coverage(prediction: Prediction, levels: Sequence[float] = LEVELS) -> Float[Tensor, "level"]:
    """Fraction of targets in the central interval of each level, ``(L,)``; the best value is the level itself.

    The result is a mean over rows and targets. A real target is inside the interval if ``|F(y) - 1/2| <= level / 2``.
    For counts and labels, each target contributes the fraction of ``[F(y - 1), F(y)]`` that lies inside
    ``[(1 - level) / 2, (1 + level) / 2]``: the non-randomised probability integral transform of Czado, Gneiting & Held
    2009 (Predictive model assessment for count data, equation 2). This is the expected coverage if F(y) is drawn
    uniformly from ``[F(y - 1), F(y)]``. With this definition the coverage of a calibrated prediction equals the level,
    which is not possible with intervals whose ends are integers.

    Raises:
        InputError: for a level outside (0, 1), no targets, no rows, NaN, targets that do not fit the likelihood, and
            classes.
    """
    if not all(0 < level < 1 for level in levels):
        raise InputError("levels must lie between 0 and 1", got=f"levels={tuple(levels)}", fix="Pass [0.9] for 90 %")
    return torch.stack([inside.mean() for inside in covered_targets(prediction, levels)])


def covered_targets(prediction: Prediction, levels: Sequence[float]) -> list[Float[Tensor, "batch target"]]:
    """For each level, 1 for each target in its interval and 0 outside, or a fraction for counts. See `coverage`."""
    below, at = _pit_between(prediction)
    covered = []
    for level in levels:
        low, high = (1 - level) / 2, (1 + level) / 2
        mass = at - below
        inside = (at.clamp(low, high) - below.clamp(low, high)) / mass
        covered.append(torch.where(mass > 0, inside, ((at >= low) & (at <= high)).to(at)))
    return covered


def coverage_error(covered: Float[Tensor, "level"], levels: Sequence[float] = LEVELS) -> Float[Tensor, ""]:
    """Calibration error of intervals: the mean over the levels of ``|coverage - level|``; 0 is best.

    It is the calibration error of Kuleshov, Fenner & Ermon 2018 (Accurate uncertainties for deep learning using
    calibrated regression, https://arxiv.org/abs/1807.00263, equation 9) for central intervals, with absolute instead of
    squared differences.
    """
    error: Tensor = (covered - torch.tensor(levels).to(covered)).abs().mean()
    return error


def interval_width(prediction: Prediction, level: float = WIDTH_LEVEL) -> Float[Tensor, ""]:
    """Mean width of the central interval of the given level, in the unit of the targets (as for `crps`).

    The ends of the interval are the quantiles at ``(1 - level) / 2`` and ``(1 + level) / 2``. For counts these are the
    smallest counts with at least that cumulative probability. At equal coverage, narrow intervals are better.

    Raises:
        InputError: for no targets, no rows, NaN, targets that do not fit the likelihood, and classes.
    """
    return _in_own_unit(prediction, interval_widths(prediction, level).mean())


def interval_widths(prediction: Prediction, level: float = WIDTH_LEVEL) -> Float[Tensor, "batch target"]:
    """Width of the interval of each row and target, for the targets as the network was trained on them."""
    components, _ = _components(prediction)
    ends = [prediction.likelihood.mixture_quantile(components, at) for at in ((1 - level) / 2, (1 + level) / 2)]
    return ends[1] - ends[0]


def deviance(mean_BK: Float[Tensor, "batch target"], y: Shaped[Tensor, "batch ..."]) -> Float[Tensor, ""]:
    """Poisson deviance ``2 (y log(y / mean) - y + mean)``, ``2 mean`` for y = 0; a mean over rows and targets.

    It is twice the difference between the log-likelihood of a perfect prediction, ``mean = y``, and the log-likelihood
    of this prediction. 0 is best.

    Args:
        mean_BK: predicted means ``(B, K)``, at least 0.
        y: counts, ``(B, K)``, or ``(B,)`` if K is 1.

    Raises:
        InputError: for no rows, NaN, and targets that are not counts.

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
    """Return F(y - 1) and F(y) of the combined distribution for counts and labels; F(y) twice for real targets."""
    components, y = _components(prediction)
    likelihood = prediction.likelihood
    at = likelihood.combined_cdf(components, y, "mixture")
    if likelihood.target_kind in ("binary", "count"):
        return likelihood.combined_cdf(components, y - 1, "mixture"), at
    return at, at


def _in_own_unit(prediction: Prediction, value: Tensor) -> Tensor:
    """Return a mean over rows and targets in the targets' own unit, if they have one unit."""
    scale = prediction.target_scale
    return value if scale is None or scale.common is None else value * scale.common


def _components(prediction: Prediction) -> tuple[Tensor, Tensor]:
    """Return the outputs of a mixture that equals the combined distribution, and the targets ``(B, K)``.

    The targets are those that the network was trained on, also if their own units differ.

    Both are on the CPU in double precision. For the geometric combination the mixture has one component.
    """
    prediction = prediction.standardised()
    outputs = prediction.outputs_BMC.detach().cpu().double()
    likelihood, y = prediction.likelihood, prediction.targets
    if y is None:
        raise InputError(
            "a prediction needs targets to be scored",
            got="a prediction without targets",
            fix="Pass the targets: ensemble.predict(x, targets=y)",
        )
    check_filled(outputs)
    check_not_nan(outputs)
    likelihood.check_targets(y, outputs=outputs.shape[-1])
    likelihood.cdf(outputs[:0, 0], outputs[:0, 0, : y[:1].numel()])  # raises an InputError for classes
    components = outputs if prediction.combination == "mixture" else likelihood.geometric(outputs).unsqueeze(1)
    return components, y.detach().cpu().double().reshape(len(outputs), -1)
