"""A budget shared unevenly over a batch."""

import math
from dataclasses import replace

import pytest
import torch
from test_contract import CLASSES
from test_subset import data, trained
from torch import Tensor, nn

import motet
from motet.analyses import fit_budget
from motet.analyses.fit_budget import best_threshold, confidences
from motet.ensemble import Ensemble
from motet.errors import InputError
from motet.inference.budget import Budget
from motet.methods import DUN, MIMMO, MIMO, BatchEnsemble, DeepEnsemble, EarlyExit, MixMo, TreeNet
from motet.metrics import flops, score
from motet.testing import MODELS

METHODS = [
    DeepEnsemble(members=4),
    DeepEnsemble(members=4, execution="stacked"),
    BatchEnsemble(members=3),
    TreeNet(members=3),
    EarlyExit(),
    DUN(),
    MIMMO(members=2),
    MIMO(members=3),
    MixMo(members=2),
]
every = pytest.mark.parametrize("method", METHODS, ids=lambda method: method.label)
CASE = MODELS["conv2d"]


def spent_by_hand(ensemble: Ensemble, x: Tensor, budget: Budget) -> tuple[Tensor, list[int], list[float]]:
    """Row by row, from all predictions of each."""
    probs, steps, costs = [], [], []
    for row in range(len(x)):
        for step, prediction in enumerate(ensemble.anytime(x[row : row + 1]), start=1):
            if step == len(budget.costs) or prediction.confidence.item() >= budget.thresholds[step - 1]:
                break
        probs.append(prediction.probs)
        steps.append(step)
        costs.append(sum(budget.costs[:step]))
    return torch.cat(probs), steps, costs


def sharp(method: motet.Method) -> Ensemble:
    """With confidences far from equal."""
    ensemble = trained(method, CASE).eval()
    with torch.no_grad():
        for value in ensemble.parameters():
            value.mul_(1.5)
    return ensemble


@every
@pytest.mark.slow
def test_each_example_has_what_it_would_have_alone(method: motet.Method) -> None:
    ensemble, (x, y) = sharp(method), data(CASE, 24)
    full = ensemble.predict(x)
    lowest, *_, all_of_it = _cost_range(ensemble, x)
    had = torch.zeros(24, dtype=torch.long)
    for share in (0.0, 0.3, 0.7, 1.0, 2.0):
        wanted = lowest + share * (all_of_it - lowest)
        budget = fit_budget(ensemble, x, budget=wanted)
        assert budget.unit == "flops"
        assert budget.expected_cost <= wanted + 1e-9
        spent = ensemble.budgeted(x, budget, targets=y)
        probs, steps, costs = spent_by_hand(ensemble, x, budget)
        assert spent.steps_B.tolist() == steps
        assert spent.cost_B.tolist() == pytest.approx(costs)
        assert spent.cost == pytest.approx(sum(costs))
        torch.testing.assert_close(spent.prediction.probs, probs, rtol=1e-10, atol=1e-12)
        # On the data that it was fitted on, the expected cost is the cost.
        assert spent.cost / len(x) == pytest.approx(budget.expected_cost)
        assert (spent.steps_B >= had).all()  # a larger budget never takes a step from any example
        had = spent.steps_B
        assert score(spent.prediction).keys() == score(replace(full, targets=y)).keys()
    assert (had == ensemble.steps).all()
    torch.testing.assert_close(spent.prediction.probs, full.probs, rtol=1e-10, atol=1e-12)


def _cost_range(ensemble: Ensemble, x: Tensor) -> list[float]:
    budget = fit_budget(ensemble, x, budget=math.inf)
    return [budget.costs[0], sum(budget.costs)]


def test_steps_cost_what_members_and_exits_cost() -> None:
    model = motet.models.mlp(input_shape=(8,), num_classes=3, hidden=(16, 16))
    x = torch.randn(5, 8)
    one = flops(model, x)
    for method in (DeepEnsemble(members=3), BatchEnsemble(members=3)):
        ensemble = method.wrap(model, example=x).fold()
        assert fit_budget(ensemble, x, budget=math.inf).costs == (one, one, one)
    ensemble = EarlyExit(gamma=0.0).wrap(model, example=x)
    costs = fit_budget(ensemble, x, budget=math.inf).costs
    assert len(costs) == ensemble.steps > 1
    assert sum(costs) == flops(ensemble, x)
    assert costs[0] < one
    ensemble = MIMO(members=3).wrap(model, example=x)
    assert fit_budget(ensemble, x, budget=math.inf).costs == (flops(ensemble, x),)


def test_the_threshold_is_the_highest_that_is_affordable() -> None:
    torch.manual_seed(3)
    confidence_SB = torch.rand(4, 30, dtype=torch.float64).mul(10).round() / 10  # with ties
    costs = [1.0, 2.0, 0.5, 3.0]

    def cost(threshold: float) -> float:
        total = 0.0
        for column in confidence_SB.T.tolist():
            for step in range(4):
                total += costs[step]
                if step == 3 or column[step] >= threshold:
                    break
        return total / 30

    # To the last digit: counts times costs, in double precision.
    even_SB = torch.arange(10, dtype=torch.float64).div(10).expand(2, -1)
    assert best_threshold(even_SB, [112.0, 112.0], 112.0 + 112.0 * 9 / 10)[1] == 112.0 + 112.0 * 9 / 10
    levels = sorted({*confidence_SB.flatten().tolist(), math.inf})
    for budget in (1.0, 1.5, 2.0, 3.3, 5.0, 6.4999, 6.5, 100.0):
        threshold, expected = best_threshold(confidence_SB, costs, budget)
        assert expected == pytest.approx(cost(threshold))
        assert expected <= budget
        higher = [level for level in levels if level > threshold]
        assert all(cost(level) > budget or cost(level) == pytest.approx(expected) for level in higher)


@pytest.mark.parametrize("method", [DeepEnsemble(members=3), EarlyExit()], ids=lambda method: method.label)
def test_an_example_with_exactly_the_threshold_as_its_confidence_stops(method: motet.Method) -> None:
    ensemble, (x, _) = sharp(method), data(CASE, 8)
    confidence_B = next(iter(ensemble.anytime(x))).confidence.tolist()
    steps = ensemble.steps
    for row, threshold in enumerate(confidence_B):
        at, above = (
            Budget(
                thresholds=(first, *(math.inf,) * (steps - 2)), costs=(1.0,) * steps, unit="flops", expected_cost=1.0
            )
            for first in (threshold, math.nextafter(threshold, math.inf))
        )
        spent = ensemble.budgeted(x, at)
        assert spent.steps_B.tolist() == [1 if confidence >= threshold else steps for confidence in confidence_B]
        assert spent.steps_B[row] == 1
        assert ensemble.budgeted(x, above).steps_B[row] == steps


def test_fitting_counts_an_example_with_exactly_the_threshold_as_its_confidence_as_stopping() -> None:
    confidence_SB = torch.tensor([[0.5, 0.75, 0.5, 0.25], [1.0, 1.0, 1.0, 1.0]], dtype=torch.float64)
    # The threshold lies above the examples that continue, and at or below those that stop; the two at 0.5 do the same.
    for budget, low, high, cost in (
        (1.0, 0.0, 0.25, 1.0),
        (1.25, 0.25, 0.5, 1.25),
        (1.74, 0.25, 0.5, 1.25),
        (1.75, 0.5, 0.75, 1.75),
        (1.99, 0.5, 0.75, 1.75),
        (2.0, math.inf, math.inf, 2.0),
    ):
        threshold, expected = best_threshold(confidence_SB, [1.0, 1.0], budget)
        assert expected == cost
        assert low < threshold <= high or threshold == low == high

    # The threshold that a budget is fitted to may be moved up to the lowest confidence that stops: nothing changes.
    ensemble, (x, _) = sharp(DeepEnsemble(members=2)), data(CASE, 24)
    first, both = _cost_range(ensemble, x)
    fitted = fit_budget(ensemble, x, budget=(first + both) / 2)
    spent = ensemble.budgeted(x, fitted)
    assert set(spent.steps_B.tolist()) == {1, 2}
    lowest = next(iter(ensemble.anytime(x))).confidence[spent.steps_B == 1].min().item()
    assert lowest > fitted.thresholds[0]
    exact = ensemble.budgeted(x, replace(fitted, thresholds=(lowest,)))
    assert torch.equal(exact.steps_B, spent.steps_B)
    assert exact.cost / len(x) == pytest.approx(fitted.expected_cost)


def test_seconds_are_measured() -> None:
    ensemble, (x, _) = sharp(DeepEnsemble(members=3)), data(CASE, 32)
    budget = fit_budget(ensemble, x, budget=10.0, unit="seconds", batch_size=16)
    assert budget.unit == "seconds"
    assert all(0 < cost < 1 for cost in budget.costs)
    assert ensemble.budgeted(x, budget).steps_B.tolist() == [3] * 32
    few = fit_budget(ensemble, x, budget=10 * budget.costs[0], unit="seconds")
    assert few.expected_cost <= 10 * budget.costs[0]
    assert confidences(ensemble, x, batch_size=7).shape == (3, 32)


def test_bad_budgets_are_named() -> None:
    ensemble, (x, _) = sharp(DeepEnsemble(members=3)), data(CASE)
    first = fit_budget(ensemble, x, budget=math.inf).costs[0]
    for bad in (first - 1, 0.0, -1.0, math.nan):
        with pytest.raises(InputError, match=rf"cover the first step, {first:g} flops.*all 3 steps"):
            fit_budget(ensemble, x, budget=float(bad))
    with pytest.raises(InputError, match="0 inputs"):
        fit_budget(ensemble, x[:0], budget=1e9)
    with pytest.raises(InputError, match="batch_size=0"):
        fit_budget(ensemble, x, budget=1e9, batch_size=0)
    budget = fit_budget(ensemble, x, budget=1e9)
    with pytest.raises(InputError, match="3 steps for an ensemble of 2"):
        ensemble.subset(2).budgeted(x, budget)
    with pytest.raises(InputError, match="2 costs and 0 thresholds"):
        Budget(thresholds=(), costs=(1.0, 2.0), unit="flops", expected_cost=1.0)
    with pytest.raises(InputError, match="an empty batch"):
        ensemble.budgeted(x[:0], budget)
    regression = DeepEnsemble().wrap(nn.Linear(4, 1), example=torch.zeros(1, 4), likelihood=motet.Gaussian())
    with pytest.raises(InputError, match=r"needs class probabilities.*Gaussian"):
        fit_budget(regression, torch.zeros(3, 4), budget=1e9)


def test_units_are_checked(unchecked: None) -> None:

    ensemble, (x, _) = sharp(DeepEnsemble(members=3)), data(CASE)
    with pytest.raises(InputError, match=r"flops, seconds.*'watts'"):
        fit_budget(ensemble, x, budget=1e9, unit="watts")
    with pytest.raises(InputError, match=r"cover the first step.*budget='1e9'"):
        fit_budget(ensemble, x, budget="1e9")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="'watts'"):
        Budget(thresholds=(), costs=(1.0,), unit="watts", expected_cost=1.0)


def test_a_model_that_goes_back_to_all_rows_is_found() -> None:
    class GoesBack(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.act, self.two, self.out = nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 6), nn.Linear(6, CLASSES)

        def forward(self, x: Tensor) -> Tensor:
            h = self.two(self.act(self.one(x)))
            return self.out(h.reshape(x.shape[0], -1))

    ensemble = EarlyExit(exits=("act",)).wrap(GoesBack(), example=torch.zeros(1, 4))
    assert len(list(ensemble.anytime(torch.randn(4, 4)))) == 2
    with pytest.raises(InputError, match=r"with only some of the rows of the batch.*needs all its input rows again"):
        fit_budget(ensemble, torch.randn(4, 4), budget=1e9)
