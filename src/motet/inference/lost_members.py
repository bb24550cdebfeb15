"""The effect of losing members on an ensemble's scores (Joint training, section 4.1, figure 4)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import torch
from jaxtyping import Float
from torch import Generator, Tensor

from motet.errors import InputError
from motet.inference.additive_outputs import Target, additive
from motet.inference.specialists import draw_members
from motet.prediction import Prediction


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Dropped:
    """Scores of ensembles that have lost members.

    Attributes:
        lost: the horizontal axis: the number of lost members, ``M - N``; for `drop_at_random` the expected number,
            ``M (1 - p)``, which counts all M where the draw kept none.
        scores_TKD: scores of T trials (predictions), for each of K numbers, in D draws.
    """

    lost: tuple[float, ...]
    scores_TKD: Float[Tensor, "trial number draw"]

    @property
    def mean(self) -> Float[Tensor, "number"]:
        """The mean over trials and draws."""
        mean: Tensor = self.scores_TKD.mean(dim=(0, 2))
        return mean

    @property
    def standard_error(self) -> Float[Tensor, "number"]:
        """The standard error of the mean, over trials (each the mean of its draws); with one trial, over its draws. NaN
        if there is only one value.
        """
        trials, _, draws = self.scores_TKD.shape
        if trials == draws == 1:
            return torch.full_like(self.mean, torch.nan)
        samples_NK = self.scores_TKD.mean(dim=2) if trials > 1 else self.scores_TKD[0].T
        error: Tensor = samples_NK.std(dim=0) / len(samples_NK) ** 0.5
        return error


def drop_numbers(
    predictions: Prediction | Sequence[Prediction],
    kept: Sequence[int] | None = None,
    *,
    target: Target = "accuracy",
    draws: int = 20,
    generator: Generator | None = None,
) -> Dropped:
    """Keep N random members and drop the others, `draws` times for each N.

    Args:
        predictions: predictions with targets; one, or several trials with the same number of members. Members are
            combined by each prediction's own combination; ``"geometric"`` is the paper's.
        kept: the numbers N; if None the authors' numbers: 1, 1 + M // 20, 1 + 2 (M // 20), ..., and M.
        target: the score, see `motet.analyses.best_of_random`.
        draws: the number of random subsets for each N, drawn without replacement; 20 in the paper.
        generator: random numbers; torch's default generator if None.

    Raises:
        InputError: for numbers outside 1 to M, no draws or trials, trials with different M, and an undefined score.
    """
    trials, members = _checked(predictions, draws)
    if kept is None:
        kept = sorted({*range(1, members + 1, max(1, members // 20)), members})
    if len(kept) == 0 or not all(hasattr(number, "__index__") and 1 <= number <= members for number in kept):
        raise InputError(
            f"the numbers of members that are kept must lie in 1..{members}",
            got=f"kept={list(kept)}",
            fix=f"Pass numbers from 1 to {members}",
        )
    which = [[draw_members(members, number, draws=draws, generator=generator) for number in kept] for _ in trials]
    scores_TKD = _scored(trials, which, target)
    return Dropped(lost=tuple(float(members - number) for number in kept), scores_TKD=scores_TKD)


def drop_at_random(
    predictions: Prediction | Sequence[Prediction],
    probabilities: Sequence[float] | None = None,
    *,
    target: Target = "accuracy",
    draws: int = 1,
    generator: Generator | None = None,
) -> Dropped:
    """Keep each member with probability p, independently, in one draw for each trial.

    As in the authors' code, the mean and its standard error are over T trials: ensembles that were trained
    independently, each with its own draw. They are not over many draws of the members of one ensemble, which say
    nothing about another training run.

    Two things are different here. If a draw keeps no member, one random member is kept, so that there is a prediction.
    And `draws` above 1 first averages over several draws for each trial, which makes the mean more precise; with one
    trial, the standard error is then over its draws, and describes this ensemble only.

    Args:
        predictions: one for each trial, see `drop_numbers`.
        probabilities: probabilities of keeping a member, in (0, 1]. If None, 20 values from ``1 - (1 - 0.999^(1 /
            T))^(1 / M)`` to 1, as in the authors' code: at the lowest, one draw for each of the T trials keeps at least
            one member in all trials with probability 0.999.
        target, generator: see `drop_numbers`.
        draws: the number of draws for each trial and probability.

    Raises:
        InputError: as in `drop_numbers`, and for probabilities outside (0, 1].
    """
    trials, members = _checked(predictions, draws)
    if probabilities is None:
        lowest = 1 - (1 - 0.999 ** (1 / len(trials))) ** (1 / members)
        probabilities = torch.linspace(lowest, 1.0, 20, dtype=torch.float64).tolist()
    if len(probabilities) == 0 or not all(0 < p <= 1 for p in probabilities):
        raise InputError(
            "probabilities of keeping a member must lie in (0, 1]",
            got=f"probabilities={list(probabilities)}",
            fix="Pass [0.5, 1.0], for example",
        )
    device = torch.device("cpu") if generator is None else generator.device

    def draw(p: float) -> Tensor:
        own = torch.rand(draws, members, generator=generator, device=device, dtype=torch.float64)
        return (own < p).scatter(1, own.argmin(dim=1, keepdim=True), True).float().cpu()

    scores_TKD = _scored(trials, [[draw(p) for p in probabilities] for _ in trials], target)
    return Dropped(lost=tuple(members * (1 - p) for p in probabilities), scores_TKD=scores_TKD)


def _checked(predictions: Prediction | Sequence[Prediction], draws: int) -> tuple[list[Prediction], int]:
    trials = [predictions] if isinstance(predictions, Prediction) else list(predictions)
    sizes = {trial.members for trial in trials}
    if len(sizes) != 1:
        raise InputError(
            "predictions must all have the same number of members",
            got=f"{sorted(sizes)} in {len(trials)} predictions",
            fix="Pass predictions of ensembles of equal size",
        )
    if not hasattr(draws, "__index__") or draws < 1:
        raise InputError("draws must be an integer of at least 1", got=f"draws={draws}", fix="Pass 20")
    return trials, sizes.pop()


def _scored(trials: list[Prediction], which: list[list[Tensor]], target: Target) -> Tensor:
    found = []
    for trial, numbers in zip(trials, which, strict=True):
        worth = additive(trial, target)
        members_SM = torch.cat(numbers).to(worth.values_MBV.device)
        found.append(worth.scores(members_SM).view(len(numbers), -1))
    return torch.stack(found).cpu()
