"""Everything that a prediction's quality comes down to, in one dictionary."""

from dataclasses import replace

import torch
from torch import Tensor

from motet.errors import InputError
from motet.likelihoods import Bernoulli, Categorical
from motet.metrics._checks import check_filled, check_labels, check_logits, check_not_nan, check_probs, widen
from motet.metrics.calibration import ece
from motet.metrics.classification import accuracy, brier, member_accuracy
from motet.metrics.diversity import disagreement, disagreement_over_error, pairwise_kl
from motet.metrics.numbers import LEVELS, coverage, coverage_error, crps, deviance, interval_width
from motet.metrics.regression import check_shape, member_rmse, rmse
from motet.prediction import Prediction


def score(prediction: Prediction) -> dict[str, float]:
    """Score a prediction whose targets are known.

    Classes and binary labels: accuracy, nll, ece and brier of the combined prediction (under
    ``prediction.combination``); disagreement, pairwise_kl and disagreement_over_error between members (NaN for one
    member, the last also without errors); member_accuracy and member_nll, means over members. Each of K binary labels
    counts as a choice between two classes, in all but the NLL, which is that of all K: so the Brier score is
    ``2 (p - y)^2``, and as for two classes.

    Numbers: rmse, nll, crps, coverage_50, _80, _90, _95 (of the central intervals), coverage_error, interval_width (of
    90 %), member_rmse, member_nll, member_crps; of counts the deviance too. See `motet.metrics.numbers`.

    Every NLL is in nats with all constants, a mean over rows.

    Raises:
        InputError: no targets, no rows, NaN, targets that do not fit.

    >>> import torch
    >>> two = Prediction(outputs_BMC=torch.zeros(1, 2, 2), likelihood=Categorical(), targets=torch.tensor([0]))
    >>> {name: round(value, 2) for name, value in score(two).items() if name in ("accuracy", "nll", "ece")}
    {'accuracy': 1.0, 'nll': 0.69, 'ece': 0.5}
    """
    prediction, y = checked(prediction)
    nll, own_nll = prediction.nll().mean(), _own_nll(prediction, y)
    if not prediction.likelihood.has_order:
        prediction, y = as_classes(prediction, y)
        outputs_BMC = prediction.outputs_BMC
        scores = {
            "accuracy": accuracy(prediction.mean, y),
            "nll": nll,
            "ece": ece(prediction.mean, y),
            "brier": brier(prediction.mean, y),
            "disagreement": disagreement(outputs_BMC),
            "pairwise_kl": pairwise_kl(outputs_BMC),
            "disagreement_over_error": disagreement_over_error(outputs_BMC, y, combination=prediction.combination),
            "member_accuracy": member_accuracy(outputs_BMC, y).mean(),
            "member_nll": own_nll.mean(),
        }
    else:
        covered = coverage(prediction)
        scores = {
            "rmse": rmse(prediction.mean, y),
            "nll": nll,
            **({"deviance": deviance(prediction.mean, y)} if prediction.likelihood.target_kind == "count" else {}),
            "crps": crps(prediction),
            **{f"coverage_{100 * level:.0f}": share for level, share in zip(LEVELS, covered, strict=True)},
            "coverage_error": coverage_error(covered),
            "interval_width": interval_width(prediction),
            "member_rmse": member_rmse(prediction.member_means, y).mean(),
            "member_nll": own_nll.mean(),
            "member_crps": torch.stack([crps(member) for member in _alone(prediction)]).mean(),
        }
    return {name: float(value) for name, value in scores.items()}


def member_scores(prediction: Prediction) -> dict[str, list[float]]:
    """Score every member by itself: one list of M values a metric.

    Classes and binary labels: accuracy, nll, ece, brier. Numbers: rmse, nll, crps, coverage_error.

    Raises:
        InputError: no targets, no rows, NaN, targets that do not fit.

    >>> import torch
    >>> two = Prediction(outputs_BMC=torch.eye(2)[None], likelihood=Categorical(), targets=torch.tensor([0]))
    >>> member_scores(two)["accuracy"]
    [1.0, 0.0]
    """
    prediction, y = checked(prediction)
    own_nll = _own_nll(prediction, y).tolist()
    if not prediction.likelihood.has_order:
        prediction, y = as_classes(prediction, y)
        probs_by_member = prediction.member_means.unbind(dim=1)
        return {
            "accuracy": member_accuracy(prediction.outputs_BMC, y).tolist(),
            "nll": own_nll,
            "ece": [float(ece(probs_BC, y)) for probs_BC in probs_by_member],
            "brier": [float(brier(probs_BC, y)) for probs_BC in probs_by_member],
        }
    members = _alone(prediction)
    return {
        "rmse": member_rmse(prediction.member_means, y).tolist(),
        "nll": own_nll,
        "crps": [float(crps(member)) for member in members],
        "coverage_error": [float(coverage_error(coverage(member))) for member in members],
    }


def checked(prediction: Prediction) -> tuple[Prediction, Tensor]:
    """The prediction in at least single precision, with targets that fit it: labels ``(B,)``, or numbers ``(B, K)``."""
    if prediction.targets is None:
        raise InputError(
            "a prediction needs targets to be scored",
            got="a prediction without targets",
            fix="Pass them: ensemble.predict(x, targets=y)",
        )
    outputs_BMC, y = widen(prediction.outputs_BMC.detach()), prediction.targets
    rows, _, outputs = outputs_BMC.shape
    kind = prediction.likelihood.target_kind
    if kind is None:
        raise InputError(
            "a likelihood must say what its targets are for its predictions to be scored",
            got=f"a prediction under {type(prediction.likelihood).__name__}, which does not",
            fix='Define target_kind = "class", "binary", "real" or "count" in it; prediction.nll() needs none',
        )
    if kind == "class":
        check_logits(outputs_BMC)
        check_labels(y, rows=rows, classes=prediction.likelihood.mean(outputs_BMC[:1, 0]).shape[-1])
        y = y.long()  # what torch's cross-entropy takes
    else:
        check_filled(outputs_BMC)
        check_not_nan(outputs_BMC)
        targets = prediction.likelihood.mean(outputs_BMC[:1, 0]).shape[-1]
        check_shape(y, rows=rows, targets=targets)
        prediction.likelihood.check_targets(y, outputs=outputs)
        y = y.reshape(rows, targets).to(outputs_BMC.dtype)
    prediction = replace(prediction, outputs_BMC=outputs_BMC, targets=y)
    if kind == "class":
        # Members that rule out each other's classes (-inf) leave their geometric mean with no class at all.
        check_probs(prediction.mean)
    return prediction, y


def as_classes(prediction: Prediction, y: Tensor) -> tuple[Prediction, Tensor]:
    """A prediction of classes or labels in terms of logits over classes.

    Of binary labels each becomes a row of its own, one of two classes. Of classes under a likelihood outside motet the
    logits are the logarithms of the members' probabilities.
    """
    if prediction.likelihood == Categorical():
        return prediction, y
    if prediction.likelihood.target_kind == "class":
        log_probs_BMC = prediction.member_means.log()
        return replace(prediction, outputs_BMC=log_probs_BMC, likelihood=Categorical()), y
    eta_NM = prediction.outputs_BMC.transpose(1, 2).flatten(0, 1)
    if prediction.likelihood != Bernoulli():
        eta_NM = prediction.member_means.transpose(1, 2).flatten(0, 1).logit()
    logits_NMC = torch.stack([torch.zeros_like(eta_NM), eta_NM], dim=-1)
    labels_N = y.reshape(-1).long()
    return replace(prediction, outputs_BMC=logits_NMC, targets=labels_N, likelihood=Categorical()), labels_N


def _alone(prediction: Prediction) -> list[Prediction]:
    """Each member as a prediction of its own."""
    return [replace(prediction, outputs_BMC=member.unsqueeze(1)) for member in prediction.outputs_BMC.unbind(dim=1)]


def _own_nll(prediction: Prediction, y: Tensor) -> Tensor:
    """Each member's NLL, ``(M,)``."""
    members = prediction.members
    y_BM = y.unsqueeze(1).expand(-1, members, *y.shape[1:])
    return prediction.likelihood.nll(prediction.outputs_BMC, y_BM).mean(dim=0)
