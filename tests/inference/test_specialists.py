"""Specialists and dropped members, against every sub-ensemble scored one by one."""

import math
from dataclasses import replace
from itertools import combinations

import pytest
import torch
from torch import Tensor

import motet
from motet.analyses import best_of_random, drop_at_random, drop_numbers, evaluate, greedy
from motet.errors import InputError
from motet.inference.specialists import draw_members
from motet.prediction import Prediction

MEMBERS, ROWS, CLASSES = 6, 40, 4
TARGETS = [0, 3, "accuracy", "error", "nll"]


def prediction(seed: int, combination: str = "mixture", members: int = MEMBERS) -> Prediction:
    generator = torch.Generator().manual_seed(seed)
    y = torch.randint(CLASSES, (ROWS,), generator=generator)
    eta = torch.randn(ROWS, members, CLASSES, generator=generator) * 2
    eta += torch.nn.functional.one_hot(y, CLASSES).unsqueeze(1)
    return Prediction(outputs_BMC=eta, likelihood=motet.Categorical(), combination=combination, targets=y)


def slow(whole: Prediction, members: tuple[int, ...], target: int | str) -> float:
    part = replace(whole, outputs_BMC=whole.outputs_BMC[:, list(members)].double())
    if target == "nll":
        return float(part.nll().mean())
    right = wrong = missed = said_so = 0
    for label, truth in zip(part.labels.tolist(), whole.targets.tolist(), strict=True):
        right += label == truth
        if label == target == truth:
            said_so += 1
        elif label == target:
            wrong += 1
        elif truth == target:
            missed += 1
    if target in ("accuracy", "error"):
        return right / ROWS if target == "accuracy" else 1 - right / ROWS
    return 2 * said_so / (2 * said_so + wrong + missed)


@pytest.mark.parametrize("combination", ["mixture", "geometric"])
@pytest.mark.parametrize("target", TARGETS)
def test_the_best_of_enough_candidates_is_the_best_of_all(combination: str, target: int | str) -> None:
    validation, test = prediction(0, combination), prediction(1, combination)
    better = max if target not in ("error", "nll") else min
    for size in (1, 2, 5, 6):
        everyone = list(combinations(range(MEMBERS), size))
        best = better(slow(validation, members, target) for members in everyone)
        # 20 sub-ensembles at most: 400 draws miss one of them with probability 1e-8.
        found = best_of_random(validation, size, target, candidates=400, generator=torch.Generator().manual_seed(0))
        assert found.score == pytest.approx(best)
        assert len(set(found.members)) == size
        assert found.score == pytest.approx(slow(validation, found.members, target))
        assert evaluate(found, test) == pytest.approx(slow(test, found.members, target))
        few = best_of_random(validation, size, target, candidates=2, generator=torch.Generator().manual_seed(0))
        assert better(few.score, found.score) == pytest.approx(found.score)


@pytest.mark.parametrize("combination", ["mixture", "geometric"])
@pytest.mark.parametrize("target", TARGETS)
def test_greedy_takes_the_best_member_each_time(combination: str, target: int | str) -> None:
    validation = prediction(2, combination)
    better = max if target not in ("error", "nll") else min
    chosen: tuple[int, ...] = ()
    for size in range(1, MEMBERS + 1):
        left = [member for member in range(MEMBERS) if member not in chosen]
        scores = [round(slow(validation, (*chosen, member), target), 12) for member in left]
        chosen = (*chosen, left[scores.index(better(scores))])
        found = greedy(validation, size, target)
        assert found.members == chosen
        assert found.score == pytest.approx(slow(validation, chosen, target))


def test_regression_specialists() -> None:
    outputs, y = torch.randn(30, 5, 2).double(), torch.randn(30, 2).double()
    whole = Prediction(outputs_BMC=outputs, likelihood=motet.Gaussian(), targets=y)

    def rmse(members: tuple[int, ...]) -> float:
        return float((outputs[:, list(members)].mean(dim=1) - y).square().mean().sqrt())

    def nll(members: tuple[int, ...]) -> float:
        return float(replace(whole, outputs_BMC=outputs[:, list(members)]).nll().mean())

    for target, by_hand in (("rmse", rmse), ("nll", nll)):
        best = min(by_hand(members) for members in combinations(range(5), 2))
        found = best_of_random(whole, 2, target, candidates=300, generator=torch.Generator().manual_seed(0))
        assert found.score == pytest.approx(best)
        assert greedy(whole, 1, target).score == pytest.approx(min(by_hand((member,)) for member in range(5)))
    with pytest.raises(InputError, match="'accuracy' needs classes"):
        greedy(whole, 1, "accuracy")


def test_far_too_sure_members_have_a_finite_nll() -> None:
    eta = torch.tensor([[[500.0, 0.0], [0.0, 500.0]]])
    sure = Prediction(outputs_BMC=eta, likelihood=motet.Categorical(), targets=torch.tensor([0]))
    assert greedy(sure, 1, "nll").members == (0,)
    assert evaluate(replace(greedy(sure, 1, "nll"), members=(1,)), sure) == pytest.approx(500)
    assert evaluate(replace(greedy(sure, 1, "nll"), members=(1, 0)), sure) == pytest.approx(math.log(2))


def test_specialists_name_members_of_the_ensemble() -> None:
    net = motet.models.mlp(input_shape=(4,), num_classes=3, hidden=(8,))
    x, y = torch.randn(50, 4), torch.randint(3, (50,))
    ensemble = motet.DeepEnsemble(members=5).wrap(net, example=x[:1])
    found = greedy(ensemble.predict(x, targets=y), 2, "nll")
    sub = ensemble.subset(found.members).predict(x, targets=y)
    assert float(sub.nll().mean()) == pytest.approx(found.score, rel=1e-5)


def test_random_members_are_uniform_and_without_replacement() -> None:
    drawn = draw_members(5, 2, draws=4000, generator=torch.Generator().manual_seed(0))
    assert (drawn.sum(dim=1) == 2).all()
    torch.testing.assert_close(drawn.mean(dim=0), torch.full((5,), 0.4), atol=0.03, rtol=0)


@pytest.mark.parametrize("combination", ["mixture", "geometric"])
def test_dropped_members_stand_where_they_belong(combination: str) -> None:
    trials = [prediction(seed, combination) for seed in (0, 1, 2)]
    dropped = drop_numbers(trials, [1, 3, 6], draws=50, generator=torch.Generator().manual_seed(0))
    assert dropped.lost == (5.0, 3.0, 0.0)
    assert dropped.scores_TKD.shape == (3, 3, 50)
    whole = [slow(trial, tuple(range(MEMBERS)), "accuracy") for trial in trials]
    assert dropped.mean[2].item() == pytest.approx(sum(whole) / 3)
    expected = torch.tensor(whole, dtype=torch.float64).std() / 3**0.5
    assert dropped.standard_error[2].item() == pytest.approx(expected.item())
    alone = [slow(trials[0], (member,), "accuracy") for member in range(MEMBERS)]
    assert all(min(abs(score - one) for one in alone) < 1e-12 for score in dropped.scores_TKD[0, 0].tolist())
    one = drop_numbers(trials[0], [3, 6], draws=50, generator=torch.Generator().manual_seed(0))
    assert one.standard_error[1] == 0
    assert one.standard_error[0].item() == pytest.approx(one.scores_TKD[0, 0].std().item() / 50**0.5)
    assert drop_numbers(trials[0], [3], draws=1).standard_error.isnan().all()


def test_the_authors_numbers() -> None:
    whole = prediction(0, members=256)
    dropped = drop_numbers(whole, draws=2)
    assert [256 - lost for lost in dropped.lost] == [*range(1, 254, 12), 256]
    assert drop_numbers(prediction(0), draws=2).lost == (5.0, 4.0, 3.0, 2.0, 1.0, 0.0)


def test_one_member_survives_every_draw() -> None:
    whole = prediction(0)
    alone = {round(slow(whole, (member,), "accuracy"), 9) for member in range(MEMBERS)}
    scores = drop_at_random(whole, [1e-12], draws=40, generator=torch.Generator().manual_seed(0)).scores_TKD
    assert {round(score, 9) for score in scores.flatten().tolist()} == alone


def _bad(call: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        call()  # type: ignore[operator]


def test_bad_input_is_named() -> None:
    whole: Prediction = prediction(0)
    labels: Tensor = whole.targets
    _bad(lambda: greedy(replace(whole, targets=None), 1, 0), "without targets")
    _bad(lambda: greedy(whole, 0, 0), r"1\.\.6.*size=0")
    _bad(lambda: best_of_random(whole, 7, 0), r"1\.\.6.*size=7")
    _bad(lambda: best_of_random(whole, 2, 0, candidates=0), "candidates=0")
    _bad(lambda: greedy(whole, 1, CLASSES), "class 4 of 4")
    _bad(lambda: greedy(replace(whole, targets=torch.zeros_like(labels)), 1, 1), "must occur")
    _bad(lambda: greedy(whole, 1, "rmse"), "needs regression")
    _bad(lambda: evaluate(greedy(whole, 6, 0), prediction(0, members=5)), "index 5")
    _bad(lambda: drop_numbers(whole, [0]), r"1\.\.6")
    _bad(lambda: drop_numbers(whole, []), r"1\.\.6")
    _bad(lambda: drop_numbers(whole, draws=0), "draws=0")
    _bad(lambda: drop_numbers([]), "the same number of members")
    _bad(lambda: drop_numbers([whole, prediction(0, members=3)]), r"\[3, 6\]")
    _bad(lambda: drop_at_random(whole, [0.0]), r"\(0, 1\]")


def test_unknown_metrics_are_named(unchecked: None) -> None:

    _bad(lambda: greedy(prediction(0), 1, "acuracy"), "Did you mean 'accuracy'")
    _bad(lambda: greedy(prediction(0), 1, True), "the index of a class or the name of a metric")


def test_numbers_that_are_not_whole_are_named(unchecked: None) -> None:

    whole = prediction(0)
    for size in (2.5, "2"):
        _bad(lambda size=size: greedy(whole, size, 0), r"1\.\.6.*size=")
        _bad(lambda size=size: best_of_random(whole, size, 0), r"1\.\.6.*size=")
    _bad(lambda: best_of_random(whole, 2, 0, candidates=1.5), "candidates=1.5")
    _bad(lambda: drop_numbers(whole, [1.5]), r"1\.\.6.*1\.5")
    _bad(lambda: drop_numbers(whole, draws=1.5), "draws=1.5")
