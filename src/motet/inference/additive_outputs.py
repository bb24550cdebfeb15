"""Scores of many sub-ensembles at once: what members add up, and what a mean of it is worth."""

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
"""A class, for the F1 score of that class against the rest; or a metric."""
LARGEST = 2**24
"""Entries of one tensor of many sub-ensembles' values: 128 MB."""


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Additive:
    """What a sub-ensemble's score is a function of: the mean over its members of a value for each example.

    Attributes:
        values_MBV: every member's values, in double precision.
        finish: from the means of S sub-ensembles ``(S, B, V)`` to their scores ``(S,)``.
        higher_is_better: which scores are the better ones.
    """

    values_MBV: Float[Tensor, "member batch value"]
    finish: Callable[[Tensor], Tensor]
    higher_is_better: bool

    def scores(self, members_SM: Float[Tensor, "subset member"]) -> Float[Tensor, "subset"]:
        """Scores of sub-ensembles; each row is 1 for their members and 0 for the others."""
        members, rows, width = self.values_MBV.shape
        shares_SM = members_SM.to(self.values_MBV) / members_SM.sum(dim=1, keepdim=True).to(self.values_MBV)
        parts = shares_SM.split(max(1, LARGEST // (rows * width)))
        flat = self.values_MBV.view(members, -1)
        return torch.cat([self.finish((part @ flat).view(-1, rows, width)) for part in parts])


def additive(prediction: Prediction, target: Target) -> Additive:
    """How `prediction`'s members add up to `target`'s score.

    Raises:
        InputError: without targets, for a target that the likelihood does not have, for a class without examples, and
            where the geometric mean of members is not a mean of their outputs.
    """
    y, likelihood = prediction.targets, prediction.likelihood
    if y is None:
        raise InputError(
            "sub-ensembles are scored against targets",
            got="a prediction without targets",
            fix="Pass them: ensemble.predict(x, targets=y)",
        )
    likelihood.check_targets(y, outputs=prediction.outputs_BMC.shape[-1])
    geometric = prediction.combination == "geometric"
    if geometric and not isinstance(likelihood, NaturalExponentialFamily):
        raise InputError(
            "geometric means of members are taken for natural exponential families",
            got=type(likelihood).__name__,
            fix="Combine the prediction as a mixture",
        )
    eta_BMC = prediction.outputs_BMC.detach().double()
    if isinstance(target, bool) or not (isinstance(target, int) or target in get_args(Metric)):
        raise InputError(
            "a sub-ensemble is chosen for a class or a metric",
            got=repr(target),
            fix=f"Pass a class's number, or a metric's name. {nearest(str(target), get_args(Metric))}",
        )
    if target == "nll":
        return _nll(prediction, eta_BMC, y)
    values_MBV = (eta_BMC if geometric else likelihood.mean(eta_BMC)).transpose(0, 1).contiguous()
    if target == "rmse":
        y_BC = y.double().reshape(len(y), -1)
        if y_BC.shape[1] != values_MBV.shape[2] or isinstance(likelihood, Categorical):
            raise InputError("an RMSE needs regression", got=type(likelihood).__name__, fix="Pass target='accuracy'")

        def rmse(mean_SBV: Tensor) -> Tensor:
            mean = likelihood.mean(mean_SBV) if geometric else mean_SBV
            return (mean - y_BC).square().mean(dim=(1, 2)).sqrt()

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
            "a specialist's class must occur among the targets",
            got=f"class {label} of {classes}",
            fix="Pass a class that has examples",
        )
    truth = y == label

    def f1(mean_SBV: Tensor) -> Tensor:
        said = mean_SBV.argmax(dim=-1) == label
        right = (said & truth).sum(dim=1).double()
        return 2 * right / (said.sum(dim=1) + truth.sum())

    return f1


def _nll(prediction: Prediction, eta_BMC: Tensor, y: Tensor) -> Additive:
    likelihood = prediction.likelihood
    if prediction.combination == "geometric":
        return Additive(
            values_MBV=eta_BMC.transpose(0, 1).contiguous(),
            finish=lambda eta_SBV: torch.stack([likelihood.nll(eta, y).mean() for eta in eta_SBV]),
            higher_is_better=False,
        )
    members = eta_BMC.shape[1]
    log_BM = -likelihood.nll(eta_BMC, y.unsqueeze(1).expand(-1, members, *y.shape[1:]))
    # Of the likeliest member in each row, so that nothing overflows, and only what is 700 nats below it is lost.
    top_B1 = log_BM.amax(dim=1, keepdim=True)
    return Additive(
        values_MBV=(log_BM - top_B1).exp().T.unsqueeze(-1).contiguous(),
        finish=lambda mean_SBV: -(mean_SBV[..., 0].log() + top_B1[:, 0]).mean(dim=1),
        higher_is_better=False,
    )
