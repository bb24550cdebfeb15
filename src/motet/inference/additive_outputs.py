"""Scores of many sub-ensembles at once, computed from the sums of their members' outputs."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, final, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from motet.errors import InputError, nearest
from motet.likelihoods import Categorical, NaturalExponentialFamily
from motet.prediction import Prediction

Metric = Literal["accuracy", "error", "nll", "rmse"]
Target = int | Metric
"""A class index, for the F1 score of that class against the rest; or the name of a metric."""
LARGEST = 2**24
"""The largest number of entries of one tensor with values of many sub-ensembles: 128 MB."""


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Additive:
    """A score as a function of the mean over members of a value for each example.

    Attributes:
        values_MBV: every member's values, in double precision.
        finish: a function from the means of S sub-ensembles ``(S, B, V)`` to their scores ``(S,)``.
        higher_is_better: whether higher scores are better.
    """

    values_MBV: Float[Tensor, "member batch value"]
    finish: Callable[[Tensor], Tensor]
    higher_is_better: bool

    def scores(self, members_SM: Float[Tensor, "subset member"]) -> Float[Tensor, "subset"]:
        """Return the scores of sub-ensembles; each row is 1 for their members and 0 for the others."""
        members, rows, width = self.values_MBV.shape
        shares_SM = members_SM.to(self.values_MBV) / members_SM.sum(dim=1, keepdim=True).to(self.values_MBV)
        parts = shares_SM.split(max(1, LARGEST // (rows * width)))
        flat = self.values_MBV.view(members, -1)
        return torch.cat([self.finish((part @ flat).view(-1, rows, width)) for part in parts])


def additive(prediction: Prediction, target: Target) -> Additive:
    """Return how to compute the score `target` of sub-ensembles of `prediction`'s members.

    Raises:
        InputError: without targets, for a target that the likelihood does not have, for a class without examples, and
            if the members' geometric mean is not a mean of their outputs.
    """
    scale, prediction = prediction.target_scale, prediction.standardised().by_row()
    y, likelihood = prediction.targets, prediction.likelihood
    if y is None:
        raise InputError(
            "scores of sub-ensembles need targets",
            got="a prediction without targets",
            fix="Pass the targets: ensemble.predict(x, targets=y)",
        )
    likelihood.check_targets(y, outputs=prediction.outputs_BMC.shape[-1])
    geometric = prediction.combination == "geometric"
    if geometric and not isinstance(likelihood, NaturalExponentialFamily):
        raise InputError(
            "the geometric mean of members needs a natural exponential family",
            got=type(likelihood).__name__,
            fix="Combine the prediction as a mixture",
        )
    eta_BMC = prediction.outputs_BMC.detach().double()
    if isinstance(target, bool) or not (isinstance(target, int) or target in get_args(Metric)):
        raise InputError(
            "target must be the index of a class or the name of a metric",
            got=repr(target),
            fix=f"Pass the index of a class, or the name of a metric. {nearest(str(target), get_args(Metric))}",
        )
    if target == "nll":
        return _nll(prediction, eta_BMC, y, 0.0 if scale is None else scale.log_volume(y[:1].numel()))
    values_MBV = (eta_BMC if geometric else likelihood.mean(eta_BMC)).transpose(0, 1).contiguous()
    if target == "rmse":
        y_BC = y.double().reshape(len(y), -1)
        if y_BC.shape[1] != values_MBV.shape[2] or isinstance(likelihood, Categorical):
            raise InputError(
                "target='rmse' needs regression", got=type(likelihood).__name__, fix="Pass target='accuracy'"
            )

        def rmse(mean_SBV: Tensor) -> Tensor:
            mean = likelihood.mean(mean_SBV) if geometric else mean_SBV
            error_S = (mean - y_BC).square().mean(dim=(1, 2)).sqrt()
            return error_S if scale is None else (scale.common or 1.0) * error_S

        return Additive(values_MBV=values_MBV, finish=rmse, higher_is_better=False)
    if not isinstance(likelihood, Categorical) or y.is_floating_point():
        raise InputError(
            f"target={target!r} needs classes", got=f"{type(likelihood).__name__} and {y.dtype}", fix="Pass 'nll'"
        )
    if isinstance(target, int):
        return Additive(values_MBV=values_MBV, finish=_f1(y, target, values_MBV.shape[2]), higher_is_better=True)
    right = target == "accuracy"

    def fraction(mean_SBV: Tensor) -> Tensor:
        return ((mean_SBV.argmax(dim=-1) == y) == right).double().mean(dim=1)

    return Additive(values_MBV=values_MBV, finish=fraction, higher_is_better=right)


def _f1(y: Tensor, label: int, classes: int) -> Callable[[Tensor], Tensor]:
    if not 0 <= label < classes or not bool((y == label).any()):
        raise InputError(
            "the class of a specialist must occur among the targets",
            got=f"class {label} of {classes}",
            fix="Pass a class that has examples",
        )
    truth = y == label

    def f1(mean_SBV: Tensor) -> Tensor:
        said = mean_SBV.argmax(dim=-1) == label
        right = (said & truth).sum(dim=1).double()
        return 2 * right / (said.sum(dim=1) + truth.sum())

    return f1


def _nll(prediction: Prediction, eta_BMC: Tensor, y: Tensor, shift: float) -> Additive:
    """Return the NLL, which is `shift` larger in the targets' own units."""
    likelihood = prediction.likelihood
    if prediction.combination == "geometric":
        return Additive(
            values_MBV=eta_BMC.transpose(0, 1).contiguous(),
            finish=lambda eta_SBV: torch.stack([likelihood.nll(eta, y).mean() + shift for eta in eta_SBV]),
            higher_is_better=False,
        )
    members = eta_BMC.shape[1]
    log_BM = -likelihood.nll(eta_BMC, y.unsqueeze(1).expand(-1, members, *y.shape[1:]))
    # Relative to the most likely member in each row, so that nothing overflows; only values 700 nats below it are lost.
    top_B1 = log_BM.amax(dim=1, keepdim=True)
    return Additive(
        values_MBV=(log_BM - top_B1).exp().T.unsqueeze(-1).contiguous(),
        finish=lambda mean_SBV: shift - (mean_SBV[..., 0].log() + top_B1[:, 0]).mean(dim=1),
        higher_is_better=False,
    )
