"""Everything that a prediction's quality comes down to, in one dictionary."""

from dataclasses import replace

from torch import Tensor

from motet.errors import InputError
from motet.likelihoods import Categorical, Gaussian
from motet.metrics._checks import check_filled, check_labels, check_logits, check_not_nan, check_probs, widen
from motet.metrics.calibration import ece
from motet.metrics.classification import accuracy, brier, member_accuracy, member_nll
from motet.metrics.diversity import disagreement, disagreement_over_error, pairwise_kl
from motet.metrics.regression import check_real_targets, member_rmse, rmse
from motet.prediction import Prediction


def score(prediction: Prediction) -> dict[str, float]:
    """Score a prediction whose targets are known.

    Classification: accuracy, nll, ece and brier of the combined prediction (under ``prediction.combination``);
    disagreement, pairwise_kl and disagreement_over_error between members (NaN for one member, the last also without
    errors); member_accuracy and member_nll, means over members. Regression: rmse, nll, member_rmse, member_nll.
    Every NLL is in nats with all constants, a mean over rows.

    Raises:
        InputError: no targets, no rows, NaN, targets that do not fit, a likelihood that is neither.

    >>> import torch
    >>> two = Prediction(outputs_BMC=torch.zeros(1, 2, 2), likelihood=Categorical(), targets=torch.tensor([0]))
    >>> {name: round(value, 2) for name, value in score(two).items() if name in ("accuracy", "nll", "ece")}
    {'accuracy': 1.0, 'nll': 0.69, 'ece': 0.5}
    """
    prediction, y = checked(prediction)
    outputs_BMC = prediction.outputs_BMC
    if isinstance(prediction.likelihood, Categorical):
        scores = {
            "accuracy": accuracy(prediction.mean, y),
            "nll": prediction.nll().mean(),
            "ece": ece(prediction.mean, y),
            "brier": brier(prediction.mean, y),
            "disagreement": disagreement(outputs_BMC),
            "pairwise_kl": pairwise_kl(outputs_BMC),
            "disagreement_over_error": disagreement_over_error(outputs_BMC, y, combination=prediction.combination),
            "member_accuracy": member_accuracy(outputs_BMC, y).mean(),
            "member_nll": member_nll(outputs_BMC, y).mean(),
        }
    else:
        scores = {
            "rmse": rmse(prediction.mean, y),
            "nll": prediction.nll().mean(),
            "member_rmse": member_rmse(outputs_BMC, y).mean(),
            "member_nll": _gaussian_member_nll(prediction, y).mean(),
        }
    return {name: float(value) for name, value in scores.items()}


def member_scores(prediction: Prediction) -> dict[str, list[float]]:
    """Score every member by itself: one list of M values a metric.

    Classification: accuracy, nll, ece, brier. Regression: rmse, nll.

    Raises:
        InputError: no targets, no rows, NaN, targets that do not fit, a likelihood that is neither.

    >>> import torch
    >>> two = Prediction(outputs_BMC=torch.eye(2)[None], likelihood=Categorical(), targets=torch.tensor([0]))
    >>> member_scores(two)["accuracy"]
    [1.0, 0.0]
    """
    prediction, y = checked(prediction)
    outputs_BMC = prediction.outputs_BMC
    if isinstance(prediction.likelihood, Categorical):
        probs_by_member = prediction.member_means.unbind(dim=1)
        return {
            "accuracy": member_accuracy(outputs_BMC, y).tolist(),
            "nll": member_nll(outputs_BMC, y).tolist(),
            "ece": [float(ece(probs_BC, y)) for probs_BC in probs_by_member],
            "brier": [float(brier(probs_BC, y)) for probs_BC in probs_by_member],
        }
    return {
        "rmse": member_rmse(outputs_BMC, y).tolist(),
        "nll": _gaussian_member_nll(prediction, y).tolist(),
    }


def checked(prediction: Prediction) -> tuple[Prediction, Tensor]:
    """The prediction in at least single precision, with targets that fit it."""
    if prediction.targets is None:
        raise InputError(
            "a prediction needs targets to be scored",
            got="a prediction without targets",
            fix="Pass them: ensemble.predict(x, targets=y)",
        )
    outputs_BMC, y = widen(prediction.outputs_BMC.detach()), prediction.targets
    rows, _, outputs = outputs_BMC.shape
    if isinstance(prediction.likelihood, Categorical):
        check_logits(outputs_BMC)
        check_labels(y, rows=rows, classes=outputs)
        y = y.long()  # what torch's cross-entropy takes
    elif isinstance(prediction.likelihood, Gaussian):
        check_filled(outputs_BMC)
        check_not_nan(outputs_BMC)
        check_real_targets(y, rows=rows, outputs=outputs)
        y = y.reshape(rows, outputs)
    else:
        raise InputError(
            "only Categorical and Gaussian predictions can be scored",
            got=f"a prediction under {type(prediction.likelihood).__name__}",
            fix="Use prediction.nll(), which every likelihood has",
        )
    prediction = replace(prediction, outputs_BMC=outputs_BMC, targets=y)
    if isinstance(prediction.likelihood, Categorical):
        # Members that rule out each other's classes (-inf) leave their geometric mean with no class at all.
        check_probs(prediction.mean)
    return prediction, y


def _gaussian_member_nll(prediction: Prediction, y_BC: Tensor) -> Tensor:
    outputs_BMC = prediction.outputs_BMC
    return prediction.likelihood.nll(outputs_BMC, y_BC.unsqueeze(1).expand_as(outputs_BMC)).mean(dim=0)
