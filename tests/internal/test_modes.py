import pytest
import torch
from torch import nn

from motet._internal.evaluation_mode import evaluating


class KeepsEvaluating(nn.BatchNorm1d):
    """As users freeze norms: training mode does not reach it."""

    def train(self, mode: bool = True) -> "KeepsEvaluating":
        return super().train(False)


def some() -> nn.Sequential:
    model = nn.Sequential(nn.Dropout(), nn.Sequential(nn.BatchNorm1d(2), nn.Dropout()), KeepsEvaluating(2))
    model[1][0].eval()
    return model


def flags(model: nn.Module) -> list[bool]:
    return [part.training for part in model.modules()]


def test_every_part_gets_its_own_mode_back() -> None:
    model = some()
    before = flags(model)
    assert len(set(before)) == 2
    with evaluating(model):
        assert not any(flags(model))
    assert flags(model) == before


def test_also_after_an_error_and_where_training_mode_is_refused() -> None:
    model = some()
    model[2].training = True
    before = flags(model)
    with pytest.raises(KeyError), evaluating(model):
        raise KeyError
    assert flags(model) == before


def test_a_model_in_evaluation_mode_stays_there() -> None:
    model = some().eval()
    with evaluating(model):
        model(torch.zeros(3, 2))
    assert not any(flags(model))
