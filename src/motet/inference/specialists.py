"""Specialists: sub-ensembles that are best for one class or one metric (Joint training, section 4.1, figure 5)."""

from dataclasses import dataclass
from itertools import islice
from typing import final

import torch
from torch import Generator, Tensor

from motet.errors import InputError
from motet.inference.additive_outputs import LARGEST, Target, additive
from motet.inference.subset import chosen_members
from motet.prediction import Prediction


@final
@dataclass(frozen=True, kw_only=True)
class Specialist:
    """A sub-ensemble chosen for one target.

    Attributes:
        members: the members' indices, for `Ensemble.subset`; in ascending order, or in the order of selection for
            `greedy`.
        score: the score on the prediction that was used for the selection.
        target: the class or metric.
    """

    members: tuple[int, ...]
    score: float
    target: Target


def best_of_random(
    prediction: Prediction,
    size: int,
    target: Target,
    *,
    candidates: int = 200,
    generator: Generator | None = None,
) -> Specialist:
    """Return the best of random sub-ensembles: 200 draws as in the paper, each without replacement.

    A class counts as predicted if it is the most probable class under the sub-ensemble's combined prediction; the paper
    says only "one-vs-all". The first of equally good candidates is returned. If there are at most `candidates`
    sub-ensembles of this size, some are drawn twice.

    Args:
        prediction: a prediction on validation data, with targets. Members are combined by its own combination.
        size: the number of members of the sub-ensemble.
        target: a class, for the F1 score of that class against the rest; or "accuracy", "error", "nll" or "rmse".
        candidates: the number of draws.
        generator: random numbers; torch's default generator if None.

    Raises:
        InputError: for a size outside 1 to M, fewer than one candidate, and an undefined score.
    """
    _check_size(size, prediction.members)
    if not hasattr(candidates, "__index__") or candidates < 1:
        raise InputError("candidates must be an integer of at least 1", got=f"candidates={candidates}", fix="Pass 200")
    worth = additive(prediction, target)
    members_SM = draw_members(prediction.members, size, draws=candidates, generator=generator)
    scores = worth.scores(members_SM.to(worth.values_MBV.device))
    best = int(scores.argmax() if worth.higher_is_better else scores.argmin())
    members = members_SM[best].nonzero().flatten().tolist()
    return Specialist(members=tuple(members), score=float(scores[best]), target=target)


def greedy(prediction: Prediction, size: int, target: Target) -> Specialist:
    """Return a sub-ensemble by forward selection: the best member, then repeatedly the one that improves the score
    most.

    The first of equally good members is chosen.

    Args:
        prediction: a prediction on validation data, with targets. Members are combined by its own combination.
        size: the number of members of the sub-ensemble.
        target: a class, for the F1 score of that class against the rest; or "accuracy", "error", "nll" or "rmse".

    Raises:
        InputError: for a size outside 1 to M, and an undefined score.
    """
    _check_size(size, prediction.members)
    worth = additive(prediction, target)
    values_MBV = worth.values_MBV
    total_BV = torch.zeros_like(values_MBV[0])
    chosen: list[int] = []
    score = 0.0
    parts = max(1, LARGEST // total_BV.numel())
    while len(chosen) < size:
        means = ((total_BV + some) / (len(chosen) + 1) for some in values_MBV.split(parts))
        scores = torch.cat([worth.finish(mean_SBV) for mean_SBV in means])
        worst = -torch.inf if worth.higher_is_better else torch.inf
        scores[chosen] = worst
        best = int(scores.argmax() if worth.higher_is_better else scores.argmin())
        if best in chosen:  # if all other members are equally bad
            best = next(islice((member for member in range(len(values_MBV)) if member not in chosen), 1))
        score = float(scores[best])
        chosen.append(best)
        total_BV = total_BV + values_MBV[best]
    return Specialist(members=tuple(chosen), score=score, target=target)


def evaluate(specialist: Specialist, prediction: Prediction) -> float:
    """Return the specialist's score on another prediction of the same ensemble, such as that on test data.

    Raises:
        InputError: if the prediction has no such members, or the score is undefined.
    """
    members_M = torch.zeros(1, prediction.members)
    members_M[0, list(chosen_members(specialist.members, prediction.members))] = 1
    worth = additive(prediction, specialist.target)
    return float(worth.scores(members_M.to(worth.values_MBV.device)))


def draw_members(members: int, size: int, *, draws: int, generator: Generator | None = None) -> Tensor:
    """Return random sub-ensembles of one size, drawn without replacement: ``(draws, M)``, 1 for their members.

    Args:
        members: M.
        size: the number of members of each.
        draws: the number of sub-ensembles.
        generator: random numbers; torch's default generator if None.

    Raises:
        InputError: for a size outside 1 to M.
    """
    device = torch.device("cpu") if generator is None else generator.device
    order = torch.rand(draws, members, generator=generator, device=device).argsort(dim=1)[:, :size]
    return torch.zeros(draws, members, device=device).scatter(1, order, 1.0).cpu()


def _check_size(size: int, members: int) -> None:
    if isinstance(size, bool) or not hasattr(size, "__index__") or not 1 <= size <= members:
        raise InputError(
            f"the size of a sub-ensemble must lie in 1..{members}", got=f"size={size!r}", fix=f"Pass at most {members}"
        )
