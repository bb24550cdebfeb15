"""Scores of many positions, computed part by part, are those of all positions at once."""

import pytest
import torch

import motet
from motet import Bernoulli, Categorical, Gaussian, HeteroscedasticGaussian, InputError, Likelihood, Poisson, Prediction
from motet.metrics import parts

LIKELIHOODS = [
    Categorical(class_axis=1), Bernoulli(class_axis=1), Gaussian(class_axis=1), HeteroscedasticGaussian(class_axis=1),
    Poisson(class_axis=1),
]  # fmt: skip


def make(likelihood: Likelihood, members: int, combination: motet.likelihoods.Combination = "mixture") -> Prediction:
    outputs = torch.randn(7, members, 4, 3, 4, dtype=torch.float64)
    kind = likelihood.target_kind
    if kind == "class":
        y = torch.randint(4, (7, 4, 3)).masked_fill(torch.rand(7, 4, 3) < 0.3, -100)
        y[:2] = -100
    else:
        y = torch.randn(7, 4, 3, 2 if isinstance(likelihood, HeteroscedasticGaussian) else 4, dtype=torch.float64)
        y = y if kind == "real" else (y > 0).double() if kind == "binary" else y.square().floor()
    if kind == "binary":
        y[:2] = -100
    return Prediction(outputs_BMC=outputs, likelihood=likelihood, targets=y, combination=combination)


@pytest.mark.parametrize("combination", ["mixture", "geometric"])
@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("likelihood", LIKELIHOODS, ids=repr)
def test_scores_by_part(
    likelihood: Likelihood, members: int, combination: motet.likelihoods.Combination, monkeypatch: pytest.MonkeyPatch
) -> None:
    prediction = make(likelihood, members, combination)
    whole, own = motet.metrics.score(prediction), motet.metrics.member_scores(prediction)
    monkeypatch.setattr(parts, "AT_ONCE", 2 * prediction.outputs_BMC[0].numel())
    assert len(list(parts.parts_of(prediction))) == (3 if likelihood.target_kind in ("class", "binary") else 4)
    assert motet.metrics.score(prediction) == pytest.approx(whole, nan_ok=True)
    found = motet.metrics.member_scores(prediction)
    assert found.keys() == own.keys()
    for name, values in own.items():
        assert found[name] == pytest.approx(values), name


def test_an_error_is_the_same_by_part(monkeypatch: pytest.MonkeyPatch) -> None:
    prediction = make(Categorical(class_axis=1), 2)
    prediction.targets.fill_(-100)
    messages = []
    for at_once in (10**6, 1):
        monkeypatch.setattr(parts, "AT_ONCE", at_once)
        with pytest.raises(InputError, match="at least one row") as caught:
            motet.metrics.score(prediction)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]


def test_running_scores_leave_out_batches_without_labels() -> None:
    prediction = make(Categorical(class_axis=1), 2)
    scores = motet.metrics.RunningScores()
    for outputs, y in zip(prediction.outputs_BMC.split(2), prediction.targets.split(2), strict=True):
        scores.add(Prediction(outputs_BMC=outputs, likelihood=prediction.likelihood, targets=y))
    whole = motet.metrics.score(prediction)
    assert {name: scores.result()[name] for name in ("accuracy", "nll", "brier")} == pytest.approx(
        {name: whole[name] for name in ("accuracy", "nll", "brier")}
    )
