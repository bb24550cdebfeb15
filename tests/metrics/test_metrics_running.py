"""Scores added up batch by batch are those of the whole."""

import pytest
import torch
from torch import Tensor

from motet import Categorical, Gaussian, InputError, Prediction
from motet.metrics import RunningScores, aurc, risk_coverage, score


@pytest.mark.parametrize("combination", ["mixture", "geometric"])
def test_classification(logits_BMC: Tensor, y_B: Tensor, combination: str) -> None:
    def prediction(rows: slice) -> Prediction:
        return Prediction(
            outputs_BMC=logits_BMC[rows], likelihood=Categorical(), combination=combination, targets=y_B[rows]
        )

    scores = RunningScores()
    for start in range(0, 40, 7):
        scores.add(prediction(slice(start, start + 7)))
    whole = prediction(slice(None))
    wanted = score(whole)
    result = scores.result()
    assert scores.rows == 40
    assert sorted(result) == ["accuracy", "aurc", "brier", "ece", "nll"]
    for name in ("accuracy", "nll", "ece", "brier"):
        assert result[name] == pytest.approx(wanted[name], abs=1e-6)
    assert result["aurc"] == pytest.approx(float(aurc(whole.confidence, whole.labels != y_B)))
    curve, wanted_curve = scores.risk_coverage(), risk_coverage(whole.confidence, whole.labels != y_B)
    assert curve is not None
    assert curve.area == result["aurc"]
    assert torch.allclose(curve.risk, wanted_curve.risk)
    assert torch.equal(curve.coverage, wanted_curve.coverage)


def test_regression() -> None:
    outputs, y = torch.randn(30, 2, 3), torch.randn(30, 3)
    scores = RunningScores()
    for part, target in zip(outputs.split(8), y.split(8), strict=True):
        scores.add(Prediction(outputs_BMC=part, likelihood=Gaussian(), targets=target))
    wanted = score(Prediction(outputs_BMC=outputs, likelihood=Gaussian(), targets=y))
    assert scores.result() == pytest.approx({name: wanted[name] for name in ("rmse", "nll", "crps")}, abs=1e-6)
    assert scores.risk_coverage() is None


def test_bad_input() -> None:
    with pytest.raises(InputError, match="at least one row"):
        RunningScores().result()
    with pytest.raises(InputError, match="at least one row"):
        RunningScores().risk_coverage()
    with pytest.raises(InputError, match="targets"):
        RunningScores().add(Prediction(outputs_BMC=torch.zeros(1, 1, 2), likelihood=Categorical()))
