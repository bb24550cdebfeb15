"""Counting steps and epochs."""

from motet import Training
from motet.training import HistoryRow
from motet.training.checkpoint import Position
from motet.training.steps import Steps


def steps(**position: object) -> Steps:
    return Steps(Training(epochs=3, learning_rate=0.5), Position(**position), per_epoch=4, examples=70)  # type: ignore[arg-type]


def test_steps_and_epochs_are_counted() -> None:
    begun, within = steps(), steps(epoch=1, step_in_epoch=2)
    assert (begun.total, begun.done, begun.all_done, begun.epoch_is_over) == (12, 0, False, False)
    assert (within.total, within.done, within.all_done, within.epoch_is_over) == (12, 6, False, False)
    assert steps(epoch=1, step_in_epoch=4).epoch_is_over
    assert steps(epoch=3).all_done
    assert (within.progress.epoch, within.progress.epochs, within.progress.examples) == (1.5, 3, 70)


def test_the_end_of_an_epoch_adds_a_row_and_starts_the_next() -> None:
    first = HistoryRow(epoch=1, step=4, learning_rate=0.1, train_loss=1.0, validation_nll=0.5, seconds=2.0)
    history = [first]
    counted = steps(epoch=1, step_in_epoch=4, loss_sum=6.0, epoch_seconds=2.5, history=history)
    row = counted.end_epoch({"validation_nll": 0.25, "validation_accuracy": 0.75})
    assert counted.position.history == [first, row]
    assert row == {
        "epoch": 2,
        "step": 8,
        "learning_rate": counted.learning_rate(7),
        "train_loss": 1.5,
        "validation_nll": 0.25,
        "validation_accuracy": 0.75,
        "seconds": 2.5,
    }
    assert counted.position == Position(epoch=2, history=history)
