"""Members that are lost at random, against a loop over trials, probabilities and members."""

import math
from itertools import pairwise

import pytest
import torch
from torch import Generator

import motet
from motet.analyses import drop_at_random
from motet.errors import InputError
from motet.prediction import Prediction

ROWS, CLASSES = 30, 3


def trial(seed: int, members: int = 5) -> Prediction:
    """The prediction of a network that was trained with this seed."""
    generator = Generator().manual_seed(seed)
    y = torch.randint(CLASSES, (ROWS,), generator=generator)
    eta = 2 * torch.randn(ROWS, members, CLASSES, generator=generator) + torch.eye(CLASSES)[y].unsqueeze(1)
    return Prediction(outputs_BMC=eta, likelihood=motet.Categorical(), combination="geometric", targets=y)


def accuracy(whole: Prediction, members: list[int]) -> float:
    """The fraction of rows on which the mean of these members' logits is largest at the target."""
    right = 0
    for logits, target in zip(whole.outputs_BMC.double(), whole.targets.tolist(), strict=True):
        total = [sum(float(logits[member, label]) for member in members) for label in range(CLASSES)]
        right += total.index(max(total)) == target
    return right / ROWS


def slow(trials: list[Prediction], probabilities: list[float], generator: Generator) -> list[list[float]]:
    """Each trial's accuracy for each probability, in one draw."""
    found = []
    for whole in trials:
        scores = []
        for p in probabilities:
            own = torch.rand(1, whole.members, generator=generator, dtype=torch.float64)[0].tolist()
            kept = [member for member, value in enumerate(own) if value < p]
            scores.append(accuracy(whole, kept or [own.index(min(own))]))
        found.append(scores)
    return found


@pytest.mark.parametrize("members", [1, 2, 5])
@pytest.mark.parametrize("count", [1, 4])
def test_the_mean_is_over_trials_with_one_draw_each(members: int, count: int) -> None:
    trials = [trial(seed, members) for seed in range(count)]
    probabilities = [1e-12, 0.1, 0.5, 0.9, 1 - 1e-12, 1.0]
    found = drop_at_random(trials, probabilities, generator=Generator().manual_seed(3))
    scores = torch.tensor(slow(trials, probabilities, Generator().manual_seed(3)), dtype=torch.float64)
    assert found.scores_TKD.shape == (count, 6, 1)
    torch.testing.assert_close(found.scores_TKD[:, :, 0], scores)
    torch.testing.assert_close(found.mean, scores.mean(dim=0))
    if count == 1:
        assert found.standard_error.isnan().all()  # one network says nothing about another
    else:
        torch.testing.assert_close(found.standard_error, scores.std(dim=0) / count**0.5)


@pytest.mark.parametrize("count", [1, 5])
@pytest.mark.parametrize("draws", [1, 20])
@pytest.mark.parametrize("members", [1, 5, 256])
def test_the_authors_probabilities_depend_on_the_number_of_trials_and_not_of_draws(
    count: int, draws: int, members: int
) -> None:
    found = drop_at_random([trial(seed, members) for seed in range(count)], draws=draws)
    kept = [1 - lost / members for lost in found.lost]
    assert len(kept) == 20
    assert kept[-1] == pytest.approx(1.0)
    steps = {round(later - earlier, 9) for earlier, later in pairwise(kept)}
    assert max(steps) - min(steps) < 1e-8
    none_empty = (1 - (1 - kept[0]) ** members) ** count
    assert none_empty == pytest.approx(0.999)


def test_when_all_are_lost_one_random_member_is_kept() -> None:
    whole = trial(0)
    alone = {round(accuracy(whole, [member]), 9) for member in range(5)}
    found = drop_at_random(whole, [1e-300], draws=100, generator=Generator().manual_seed(0))
    assert {round(score, 9) for score in found.scores_TKD.flatten().tolist()} == alone
    assert found.lost == (5.0,)


def test_with_probability_one_none_is_lost() -> None:
    trials = [trial(seed) for seed in range(3)]
    found = drop_at_random(trials, [1.0, 1 - 1e-15], draws=7)
    whole = torch.tensor([accuracy(each, list(range(5))) for each in trials], dtype=torch.float64)
    torch.testing.assert_close(found.scores_TKD, whole.view(3, 1, 1).expand(3, 2, 7))


def test_one_member_is_never_lost() -> None:
    whole = trial(0, members=1)
    found = drop_at_random(whole, [1e-12, 0.5, 1.0], draws=3)
    assert found.scores_TKD.unique().tolist() == pytest.approx([accuracy(whole, [0])])


def test_more_draws_are_averaged_within_each_trial() -> None:
    trials = [trial(seed) for seed in range(3)]
    found = drop_at_random(trials, [0.3], draws=50, generator=Generator().manual_seed(0))
    of_trials = found.scores_TKD.mean(dim=2)[:, 0]
    assert found.mean.item() == pytest.approx(of_trials.mean().item())
    assert found.standard_error.item() == pytest.approx(of_trials.std().item() / math.sqrt(3))


@pytest.mark.parametrize("probabilities", [[], [0.0], [1.1], [0.5, -0.1], [math.nan]])
def test_probabilities_outside_the_range_are_refused(probabilities: list[float]) -> None:
    with pytest.raises(InputError, match=r"must lie in \(0, 1\]"):
        drop_at_random(trial(0), probabilities)
