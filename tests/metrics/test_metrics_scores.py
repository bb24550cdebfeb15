import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from motet import metrics
from motet.errors import InputError
from motet.likelihoods import Categorical, Combination, Gaussian, Likelihood
from motet.metrics import member_scores, score
from motet.prediction import Prediction


@pytest.fixture
def classes(logits_BMC: Tensor, y_B: Tensor) -> Prediction:
    return Prediction(outputs_BMC=logits_BMC, likelihood=Categorical(), targets=y_B)


@pytest.fixture
def numbers() -> Prediction:
    return Prediction(outputs_BMC=torch.randn(20, 3, 2), likelihood=Gaussian(), targets=torch.randn(20, 2))


@pytest.mark.parametrize("combination", ["mixture", "geometric"])
def test_class_scores_are_those_of_the_functions(classes: Prediction, combination: Combination) -> None:
    prediction = replace(classes, combination=combination)
    outputs_BMC, y_B = prediction.outputs_BMC, prediction.targets
    assert y_B is not None
    mean_BMC = outputs_BMC if combination == "mixture" else outputs_BMC.mean(dim=1, keepdim=True)
    expected = {
        "accuracy": metrics.accuracy(prediction.probs, y_B),
        "nll": metrics.nll(mean_BMC, y_B),
        "ece": metrics.ece(prediction.probs, y_B),
        "brier": metrics.brier(prediction.probs, y_B),
        "disagreement": metrics.disagreement(outputs_BMC),
        "pairwise_kl": metrics.pairwise_kl(outputs_BMC),
        "disagreement_over_error": metrics.disagreement_over_error(outputs_BMC, y_B, combination=combination),
        "member_accuracy": metrics.member_accuracy(outputs_BMC, y_B).mean(),
        "member_nll": metrics.member_nll(outputs_BMC, y_B).mean(),
    }
    scores = score(prediction)
    assert list(scores) == list(expected)
    assert scores == pytest.approx({name: value.item() for name, value in expected.items()})
    assert scores["disagreement_over_error"] == pytest.approx(scores["disagreement"] / (1 - scores["accuracy"]))
    assert all(type(value) is float for value in scores.values())


def test_members_scored_by_themselves_are_predictions_of_one_member(classes: Prediction, numbers: Prediction) -> None:
    for prediction in (classes, numbers):
        by_member = member_scores(prediction)
        for member in range(prediction.members):
            alone = score(replace(prediction, outputs_BMC=prediction.outputs_BMC[:, member : member + 1]))
            for name, values in by_member.items():
                assert len(values) == prediction.members
                assert values[member] == pytest.approx(alone[name], rel=1e-5)


def test_member_scores_have_the_means_that_score_reports(classes: Prediction, numbers: Prediction) -> None:
    for prediction, names in ((classes, ["accuracy", "nll"]), (numbers, ["rmse", "nll"])):
        scores, by_member = score(prediction), member_scores(prediction)
        for name in names:
            assert scores[f"member_{name}"] == pytest.approx(sum(by_member[name]) / prediction.members, rel=1e-5)


def test_regression_scores_agree_with_loops(numbers: Prediction) -> None:
    outputs, targets = numbers.outputs_BMC.double().tolist(), numbers.targets
    assert targets is not None
    rows = list(zip(outputs, targets.double().tolist(), strict=True))

    def density(means: list[float], y: list[float]) -> float:
        return math.prod(math.exp(-((m - t) ** 2) / 2) / math.sqrt(2 * math.pi) for m, t in zip(means, y, strict=True))

    squares = [(sum(m[c] for m in members) / 3 - y[c]) ** 2 for members, y in rows for c in range(2)]
    nlls = [-math.log(sum(density(m, y) for m in members) / 3) for members, y in rows]
    member_nlls = [[-math.log(density(members[m], y)) for members, y in rows] for m in range(3)]
    member_squares = [[(members[m][c] - y[c]) ** 2 for members, y in rows for c in range(2)] for m in range(3)]
    expected = {
        "rmse": math.sqrt(sum(squares) / 40),
        "nll": sum(nlls) / 20,
        "member_rmse": sum(math.sqrt(sum(own) / 40) for own in member_squares) / 3,
        "member_nll": sum(sum(own) / 20 for own in member_nlls) / 3,
    }
    assert {name: score(numbers)[name] for name in expected} == pytest.approx(expected, rel=1e-5)
    assert list(score(numbers)) == [
        *("rmse", "nll", "crps", "coverage_50", "coverage_80", "coverage_90", "coverage_95", "coverage_error"),
        *("interval_width", "member_rmse", "member_nll", "member_crps"),
    ]


@pytest.mark.parametrize("combination", ["mixture", "geometric"])
def test_one_target_may_come_without_its_axis(combination: Combination) -> None:
    y_B = torch.randn(20)
    flat = Prediction(outputs_BMC=torch.randn(20, 3, 1), likelihood=Gaussian(), targets=y_B, combination=combination)
    column = replace(flat, targets=y_B.unsqueeze(1))
    assert score(flat) == score(column)
    assert member_scores(flat) == member_scores(column)


def test_one_member_has_scores_but_no_diversity() -> None:
    scores = score(Prediction(outputs_BMC=torch.zeros(2, 1, 3), likelihood=Categorical(), targets=torch.tensor([0, 1])))
    unknown = {name for name, value in scores.items() if math.isnan(value)}
    assert unknown == {"disagreement", "pairwise_kl", "disagreement_over_error"}
    assert scores["accuracy"] == scores["member_accuracy"] == 0.5
    assert scores["nll"] == scores["member_nll"] == pytest.approx(math.log(3))


def test_a_prediction_that_still_has_a_graph(classes: Prediction) -> None:
    attached = replace(classes, outputs_BMC=classes.outputs_BMC.clone().requires_grad_())
    assert score(attached) == score(classes)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_scored_in_single(dtype: torch.dtype, classes: Prediction) -> None:
    half = replace(classes, outputs_BMC=classes.outputs_BMC.to(dtype))
    assert score(half) == score(replace(half, outputs_BMC=half.outputs_BMC.float()))


def test_labels_of_any_integer_type(classes: Prediction) -> None:
    assert classes.targets is not None
    assert score(replace(classes, targets=classes.targets.int())) == score(classes)


class Neither(Likelihood):
    """A likelihood that the metrics do not know."""

    def nll(self, eta: Tensor, y: Tensor) -> Tensor:
        raise NotImplementedError

    mean = geometric = mixture = average = check_targets = variance = sample = nll


@pytest.mark.parametrize("metric", [score, member_scores])
def test_bad_input(metric, classes: Prediction, numbers: Prediction) -> None:
    with pytest.raises(InputError, match="needs targets to be scored"):
        metric(replace(classes, targets=None))
    with pytest.raises(InputError, match="40 rows need class labels"):
        metric(replace(classes, targets=torch.zeros(40, 1, dtype=torch.long)))
    with pytest.raises(InputError, match=r"lie in 0\.\.4"):
        metric(replace(classes, targets=classes.targets + 5))
    with pytest.raises(InputError, match="in 40 of 40 rows"):
        metric(replace(classes, outputs_BMC=classes.outputs_BMC * math.nan))
    with pytest.raises(InputError, match="at least one row"):
        metric(replace(classes, outputs_BMC=torch.zeros(0, 2, 3), targets=torch.zeros(0, dtype=torch.long)))
    with pytest.raises(InputError, match="20 rows of 2 outputs need targets"):
        metric(replace(numbers, targets=torch.zeros(20)))
    with pytest.raises(InputError, match="NaN in 20 of 20 rows"):
        metric(replace(numbers, outputs_BMC=numbers.outputs_BMC * math.nan))
    with pytest.raises(InputError, match="under Neither"):
        metric(replace(classes, likelihood=Neither()))


def test_members_that_leave_no_class_in_common_have_no_geometric_mean() -> None:
    opposed = Prediction(
        outputs_BMC=torch.tensor([[[0.0, -torch.inf], [-torch.inf, 0.0]]]),
        likelihood=Categorical(),
        combination="geometric",
        targets=torch.tensor([0]),
    )
    with pytest.raises(InputError, match="NaN in 1 of 1 rows"):
        score(opposed)
    assert score(replace(opposed, combination="mixture"))["nll"] == pytest.approx(math.log(2))
