"""Scores of each target against slow references."""

from typing import Any

import pytest
import torch

from motet.errors import InputError
from motet.likelihoods import Bernoulli, Categorical, Gaussian, HeteroscedasticGaussian, Likelihood, Poisson
from motet.likelihoods.target_scale import TargetScale
from motet.metrics import RunningScores, crps, interval_width, member_scores, score, target_scores
from motet.prediction import Prediction

ROWS = 12
STDS = (200.0, 1e-3, 1.0)


def numbers(likelihood: Likelihood, **options: Any) -> Prediction:
    torch.manual_seed(0)
    scale = TargetScale(mean=(1e3, 5.0, 0.0), std=STDS)
    return Prediction(
        outputs_BMC=torch.randn(ROWS, 2, likelihood.outputs(3)),
        likelihood=likelihood,
        targets=scale.restore(torch.randn(ROWS, 3)),
        target_scale=scale,
        **options,
    )


@pytest.mark.parametrize("combination", ["mixture", "geometric"])
@pytest.mark.parametrize("likelihood", [Gaussian(), HeteroscedasticGaussian()], ids=lambda each: type(each).__name__)
def test_numbers(likelihood: Likelihood, combination: Any) -> None:
    prediction = numbers(likelihood, combination=combination)
    found = target_scores(prediction)
    y = prediction.targets
    assert y is not None
    low, high = prediction.interval(0.9)
    for k in range(3):
        error = sum(float(prediction.mean[row, k] - y[row, k]) ** 2 for row in range(ROWS)) / ROWS
        assert found["rmse"][k] == pytest.approx(error**0.5, rel=1e-5)
        inside = sum(float(low[row, k] <= y[row, k] <= high[row, k]) for row in range(ROWS)) / ROWS
        assert found["coverage_90"][k] == pytest.approx(inside)
        assert found["interval_width"][k] == pytest.approx(float((high - low)[:, k].mean()), rel=1e-4)
        # The CRPS of one target by itself.
        index = [k] if isinstance(likelihood, Gaussian) else [k, 3 + k]
        alone = Prediction(
            outputs_BMC=prediction.outputs_BMC[..., index],
            likelihood=likelihood,
            combination=prediction.combination,
            targets=y[:, k : k + 1],
            target_scale=TargetScale(mean=((1e3, 5.0, 0.0)[k],), std=(STDS[k],)),
        )
        assert found["crps"][k] == pytest.approx(float(crps(alone)), rel=1e-5)
        assert found["interval_width"][k] == pytest.approx(float(interval_width(alone)), rel=1e-5)
        assert found["rmse"][k] == pytest.approx(score(alone)["rmse"], rel=1e-5)


def test_the_score_of_all_is_in_standard_deviations() -> None:
    prediction = numbers(Gaussian())
    plain = prediction.standardised()
    found, stored = score(prediction), score(plain)
    for name, value in stored.items():
        shift = sum(torch.tensor(STDS, dtype=torch.float64).log().tolist()) if name.endswith("nll") else 0.0
        assert found[name] == pytest.approx(value + shift)
    assert found["nll"] == pytest.approx(float(prediction.nll().mean()), rel=1e-6)
    assert member_scores(prediction)["rmse"] == pytest.approx(member_scores(plain)["rmse"])
    assert float(crps(prediction)) == pytest.approx(float(crps(plain)))
    running = RunningScores()
    for part in range(0, ROWS, 5):
        rows = slice(part, part + 5)
        running.add(
            Prediction(
                outputs_BMC=prediction.outputs_BMC[rows],
                likelihood=Gaussian(),
                targets=prediction.targets[rows],  # type: ignore[index]
                target_scale=prediction.target_scale,
            )
        )
    assert running.result() == pytest.approx({name: found[name] for name in ("rmse", "nll", "crps")}, rel=1e-5)
    with pytest.raises(InputError, match="same scale of targets"):
        running.add(plain)


def test_labels() -> None:
    torch.manual_seed(0)
    y = torch.randint(2, (ROWS, 3)).float()
    prediction = Prediction(outputs_BMC=torch.randn(ROWS, 2, 3), likelihood=Bernoulli(), targets=y)
    found = target_scores(prediction)
    p = prediction.mean
    for k in range(3):
        right = sum(float((p[row, k] > 0.5) == (y[row, k] == 1)) for row in range(ROWS)) / ROWS
        assert found["accuracy"][k] == pytest.approx(right)
        brier = sum(2 * float(p[row, k] - y[row, k]) ** 2 for row in range(ROWS)) / ROWS
        assert found["brier"][k] == pytest.approx(brier, rel=1e-5)
        nll = -sum(float((p if y[row, k] else 1 - p)[row, k].log()) for row in range(ROWS)) / ROWS
        assert found["nll"][k] == pytest.approx(nll, rel=1e-5)
    assert sum(found["accuracy"]) / 3 == pytest.approx(score(prediction)["accuracy"])
    assert set(found) == {"accuracy", "nll", "ece", "brier"}


def test_counts_one_row_and_classes() -> None:
    counts = Prediction(outputs_BMC=torch.zeros(1, 1, 2), likelihood=Poisson(), targets=torch.tensor([[1.0, 4.0]]))
    assert target_scores(counts)["rmse"] == pytest.approx([0.0, 3.0])
    classes = Prediction(outputs_BMC=torch.zeros(1, 1, 2), likelihood=Categorical(), targets=torch.tensor([0]))
    assert target_scores(classes) == {}
    with pytest.raises(InputError, match="needs targets"):
        target_scores(Prediction(outputs_BMC=torch.zeros(1, 1, 2), likelihood=Gaussian()))
    with pytest.raises(InputError):
        target_scores(
            Prediction(outputs_BMC=torch.zeros(1, 1, 1), likelihood=Gaussian(), targets=torch.tensor([[float("nan")]]))
        )
