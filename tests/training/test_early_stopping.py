"""Early stopping: which epoch is the best, and when the waiting is over."""

import pytest
import torch
from torch import nn

from motet import Training
from motet.training.checkpoint import Position
from motet.training.validation import EarlyStopping


def scores(nll: float, accuracy: float) -> dict[str, float]:
    return {"validation_nll": nll, "validation_accuracy": accuracy}


def run(stopping: EarlyStopping, position: Position, model: nn.Linear, epochs: list[dict[str, float]]) -> list[bool]:
    """Show it epochs in which the model's bias is 1, 2, ... Returns after which of them the patience is over."""
    over = []
    for each in epochs:
        position.epoch += 1
        with torch.no_grad():
            model.bias.fill_(float(position.epoch))
        stopping.update(model, each)
        over.append(stopping.patience_is_over)
    return over


NLL_IS_BEST_AT_2_AND_ERROR_AT_3 = [scores(1.0, 0.5), scores(0.5, 0.6), scores(0.5, 0.9), scores(0.7, 0.9)]


@pytest.mark.parametrize(
    ("monitor", "best", "over"),
    [("nll", 2, [False, False, False, True]), ("error", 3, [False, False, False, False])],
)
def test_the_first_of_equally_good_epochs_is_the_best(monitor: str, best: int, over: list[bool]) -> None:
    model, position = nn.Linear(1, 1), Position()
    stopping = EarlyStopping(Training(early_stopping=2, monitor=monitor), position, {})  # type: ignore[arg-type]
    assert run(stopping, position, model, NLL_IS_BEST_AT_2_AND_ERROR_AT_3) == over
    assert position.best_epoch == best
    assert stopping.best["bias"].item() == best, "a copy of the weights of then"
    stopping.load_best(model)
    assert model.bias.item() == best


def test_the_error_of_a_regression() -> None:
    model, position = nn.Linear(1, 1), Position()
    stopping = EarlyStopping(Training(early_stopping=1, monitor="error"), position, {})
    rows = [{"validation_nll": 1.0, "validation_rmse": value} for value in (3.0, 2.0, 2.5)]
    assert run(stopping, position, model, rows) == [False, False, True]
    assert (position.best_error, position.best_epoch) == (2.0, 2)


def test_without_it_nothing_is_kept() -> None:
    model, position = nn.Linear(1, 1), Position()
    stopping = EarlyStopping(Training(), position, {})
    assert run(stopping, position, model, NLL_IS_BEST_AT_2_AND_ERROR_AT_3) == [False] * 4
    assert (stopping.best, position.best_epoch) == ({}, 0)
    stopping.load_best(model)
    assert model.bias.item() == 4


def test_it_goes_on_from_a_checkpoints_position_and_weights() -> None:
    model, position = nn.Linear(1, 1), Position(epoch=5, best_nll=0.5, best_error=0.4, best_epoch=4)
    best = {name: value.clone() for name, value in model.state_dict().items()}
    stopping = EarlyStopping(Training(early_stopping=2), position, best)
    assert run(stopping, position, model, [scores(0.6, 0.9)]) == [True]
    stopping.load_best(model)
    assert all(torch.equal(value, best[name]) for name, value in model.state_dict().items())
