"""All scores of a prediction in one dictionary."""

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
from motet.metrics.parts import has_parts, member_score_parts, parts_of, score_parts
from motet.metrics.regression import check_shape, member_rmse, rmse
from motet.metrics.segmentation import mean_iou
from motet.prediction import Prediction


def score(prediction: Prediction) -> dict[str, float]:
    """Return the scores of a prediction with targets.

    For classes and binary labels:

    - accuracy, nll, ece and brier of the combined prediction (with ``prediction.combination``);
    - disagreement, pairwise_kl and disagreement_over_error between members. They are NaN for one member;
      disagreement_over_error is also NaN if there are no errors;
    - member_accuracy and member_nll, means over members;
    - mean_iou for labels of positions (pixels, tokens), see `motet.metrics.mean_iou`. Every position whose label is not
      ignored counts as one row.

    Each of K binary labels counts as one row with two classes, so that its Brier score is ``2 (p - y)^2``. The NLL is
    summed over the K labels.

    For numbers:

    - rmse, nll, crps, and for counts deviance;
    - coverage_50, coverage_80, coverage_90 and coverage_95 of the central intervals, coverage_error, and
      interval_width of the 90 % interval;
    - member_rmse, member_nll and member_crps, means over members.

    See `motet.metrics.numbers`. Every NLL is in nats, includes all constants, and is a mean over rows.

    All are in the targets' own units, see `Prediction.target_scale`. If several targets were standardised separately,
    rmse, crps and interval_width are in standard deviations of the targets, because a mean over numbers in different
    units has no meaning; `target_scores` has them for each target, in its own unit.

    Raises:
        InputError: for no targets, no rows, NaN, and targets that do not fit the likelihood.

    >>> import torch
    >>> two = Prediction(outputs_BMC=torch.zeros(1, 2, 2), likelihood=Categorical(), targets=torch.tensor([0]))
    >>> {name: round(value, 2) for name, value in score(two).items() if name in ("accuracy", "nll", "ece")}
    {'accuracy': 1.0, 'nll': 0.69, 'ece': 0.5}
    """
    if has_parts(prediction) and next(parts_of(prediction), None) is not None:
        return score_parts(prediction, score, member_scores, as_classes)
    scale = prediction.target_scale
    has_positions = prediction.likelihood.output_axis is not None
    prediction, y = checked(prediction.standardised())
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
            **({"mean_iou": mean_iou(prediction.labels, y, classes=outputs_BMC.shape[2])} if has_positions else {}),
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
    found = {name: float(value) for name, value in scores.items()}
    return found if scale is None else scale.in_own_units(found, targets=y.shape[1])


def member_scores(prediction: Prediction) -> dict[str, list[float]]:
    """Return the scores of each member: a list of M values for each metric.

    For classes and binary labels: accuracy, nll, ece, brier. For numbers: rmse, nll, crps, coverage_error. Units: see
    `score`.

    Raises:
        InputError: for no targets, no rows, NaN, and targets that do not fit the likelihood.

    >>> import torch
    >>> two = Prediction(outputs_BMC=torch.eye(2)[None], likelihood=Categorical(), targets=torch.tensor([0]))
    >>> member_scores(two)["accuracy"]
    [1.0, 0.0]
    """
    if has_parts(prediction) and next(parts_of(prediction), None) is not None:
        return member_score_parts(prediction, member_scores, as_classes)
    scale = prediction.target_scale
    prediction, y = checked(prediction.standardised())
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
    found = {
        "rmse": member_rmse(prediction.member_means, y).tolist(),
        "nll": own_nll,
        "crps": [float(crps(member)) for member in members],
        "coverage_error": [float(coverage_error(coverage(member))) for member in members],
    }
    if scale is None:
        return found
    by_member = [
        scale.in_own_units(dict(zip(found, each, strict=True)), targets=y.shape[1])
        for each in zip(*found.values(), strict=True)
    ]
    return {name: [each[name] for each in by_member] for name in found}


def checked(prediction: Prediction) -> tuple[Prediction, Tensor]:
    """Return the prediction in at least single precision with checked targets, and these targets.

    Targets are class labels ``(B,)`` or numbers ``(B, K)``. Scored positions become rows (`Prediction.by_row`).

    Raises:
        InputError: for no targets, no rows, NaN, and targets that do not fit the likelihood.
    """
    if prediction.targets is None:
        raise InputError(
            "a prediction needs targets to be scored",
            got="a prediction without targets",
            fix="Pass the targets: ensemble.predict(x, targets=y)",
        )
    prediction = prediction.by_row()
    assert prediction.targets is not None
    outputs_BMC, y = widen(prediction.outputs_BMC.detach()), prediction.targets
    rows, _, outputs = outputs_BMC.shape
    kind = prediction.likelihood.target_kind
    if kind is None:
        raise InputError(
            "a likelihood must declare its kind of targets for its predictions to be scored",
            got=f"a prediction under {type(prediction.likelihood).__name__}, which does not",
            fix='Define target_kind = "class", "binary", "real" or "count" in the class, or use only prediction.nll()',
        )
    if kind == "class":
        check_logits(outputs_BMC)
        check_labels(y, rows=rows, classes=prediction.likelihood.mean(outputs_BMC[:1, 0]).shape[-1])
        y = y.long()  # torch's cross-entropy accepts only this type
    else:
        check_filled(outputs_BMC)
        check_not_nan(outputs_BMC)
        targets = prediction.likelihood.mean(outputs_BMC[:1, 0]).shape[-1]
        check_shape(y, rows=rows, targets=targets)
        prediction.likelihood.check_targets(y, outputs=outputs)
        y = y.reshape(rows, targets).to(outputs_BMC.dtype)
    prediction = replace(prediction, outputs_BMC=outputs_BMC, targets=y)
    if kind == "class":
        # The geometric mean is not a distribution if each class is excluded (logit -inf) by at least one member.
        check_probs(prediction.mean)
    return prediction, y


def as_classes(prediction: Prediction, y: Tensor) -> tuple[Prediction, Tensor]:
    """Return a prediction of classes or binary labels as a prediction under `Categorical`, and its labels.

    Each binary label becomes a separate row with two classes. For classes under a likelihood outside motet, the logits
    are the logarithms of the members' probabilities.
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
    """Return the prediction of each member."""
    return [replace(prediction, outputs_BMC=member.unsqueeze(1)) for member in prediction.outputs_BMC.unbind(dim=1)]


def _own_nll(prediction: Prediction, y: Tensor) -> Tensor:
    """Return each member's NLL, a mean over rows, ``(M,)``."""
    members = prediction.members
    y_BM = y.unsqueeze(1).expand(-1, members, *y.shape[1:])
    return prediction.likelihood.nll(prediction.outputs_BMC, y_BM).mean(dim=0)
