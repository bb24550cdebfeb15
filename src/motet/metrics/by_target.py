"""Scores of each target, for predictions of several targets."""

from dataclasses import replace

from motet.likelihoods import Bernoulli
from motet.metrics.calibration import ece
from motet.metrics.classification import accuracy, brier
from motet.metrics.numbers import WIDTH_LEVEL, covered_targets, interval_widths, mixture_crps
from motet.metrics.scores import as_classes, checked
from motet.prediction import Prediction


def target_scores(prediction: Prediction) -> dict[str, list[float]]:
    """Return the scores of each target in its own unit: a list of K values for each metric.

    For numbers: rmse, crps, coverage_90 and interval_width (of the 90 % interval). For binary labels: accuracy, nll,
    ece and brier. Classes are one target, so that the result is empty.

    Raises:
        InputError: for no targets, no rows, NaN, and targets that do not fit the likelihood.

    >>> from motet import Gaussian
    >>> from motet.likelihoods.target_scale import TargetScale
    >>> scale = TargetScale(mean=(0.0, 0.0), std=(1.0, 1000.0))
    >>> two = Prediction(
    ...     outputs_BMC=torch.ones(1, 1, 2), likelihood=Gaussian(), targets=torch.zeros(1, 2), target_scale=scale
    ... )
    >>> target_scores(two)["rmse"]
    [1.0, 1000.0]
    """
    scale = prediction.target_scale
    prediction, y = checked(prediction.standardised())
    if prediction.likelihood.target_kind == "class":
        return {}
    if not prediction.likelihood.has_order:
        return _of_labels(prediction)
    found = {
        "rmse": (prediction.mean - y).square().mean(dim=0).sqrt(),
        "crps": mixture_crps(prediction).mean(dim=0),
        "coverage_90": covered_targets(prediction, [0.9])[0].mean(dim=0),
        "interval_width": interval_widths(prediction, WIDTH_LEVEL).mean(dim=0),
    }
    if scale is not None:
        found |= {name: scale.widen(value) for name, value in found.items() if name != "coverage_90"}
    return {name: value.tolist() for name, value in found.items()}


def _of_labels(prediction: Prediction) -> dict[str, list[float]]:
    """Return the scores of each binary label."""
    y_BK = prediction.targets
    assert y_BK is not None
    eta_BMK = prediction.outputs_BMC
    if prediction.likelihood != Bernoulli():
        eta_BMK = prediction.member_means.logit()
    found: dict[str, list[float]] = {"accuracy": [], "nll": [], "ece": [], "brier": []}
    for eta_BM, y_B in zip(eta_BMK.unbind(dim=-1), y_BK.unbind(dim=-1), strict=True):
        one = replace(prediction, outputs_BMC=eta_BM.unsqueeze(-1), targets=y_B.unsqueeze(-1), likelihood=Bernoulli())
        found["nll"].append(float(one.nll().mean()))
        classes, labels = as_classes(one, y_B.unsqueeze(-1))
        for name, metric in (("accuracy", accuracy), ("ece", ece), ("brier", brier)):
            found[name].append(float(metric(classes.mean, labels)))
    return found
