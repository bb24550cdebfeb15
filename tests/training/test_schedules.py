"""Learning rates against values worked out by hand."""

import itertools
import math

import pytest

from motet import Training
from motet.training.steps import learning_rate


def rates(training: Training, steps_per_epoch: int) -> list[float]:
    steps = training.epochs * steps_per_epoch
    return [learning_rate(training, step=step, steps_per_epoch=steps_per_epoch) for step in range(steps)]


def test_warm_up_rises_by_equal_parts_from_zero_at_every_step() -> None:
    training = Training(epochs=3, learning_rate=0.8, schedule="constant", warmup_epochs=1.0)
    assert rates(training, 4) == pytest.approx([0.0, 0.2, 0.4, 0.6] + [0.8] * 8)


def test_warm_up_may_be_a_part_of_an_epoch_or_longer_than_one() -> None:
    half = Training(epochs=1, learning_rate=1.0, schedule="constant", warmup_epochs=0.5)
    assert rates(half, 4) == pytest.approx([0.0, 0.5, 1.0, 1.0])
    long = Training(epochs=2, learning_rate=1.0, schedule="constant", warmup_epochs=1.5)
    assert rates(long, 4) == pytest.approx([0, 1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6, 1, 1])


def test_no_warm_up_starts_at_the_peak() -> None:
    for schedule in ("constant", "step", "cosine"):
        assert rates(Training(epochs=2, learning_rate=0.3, schedule=schedule), 5)[0] == 0.3


def test_cosine_by_hand() -> None:
    """Peak after warm-up; half the peak midway; after the last step it would be zero."""
    training = Training(epochs=3, learning_rate=2.0, schedule="cosine", warmup_epochs=1.0)
    found = rates(training, 4)
    assert found[4:] == pytest.approx([1 + math.cos(math.pi * part / 8) for part in range(8)])
    assert found[4] == 2.0
    assert found[8] == pytest.approx(1.0)
    assert learning_rate(training, step=12, steps_per_epoch=4) == pytest.approx(0.0, abs=1e-15)


def test_cosine_ends_near_zero_and_never_rises() -> None:
    found = rates(Training(epochs=10, learning_rate=0.1, schedule="cosine"), 100)
    assert 0 < found[-1] < 1e-6
    assert all(later <= earlier for earlier, later in itertools.pairwise(found))


def test_steps_fall_at_the_milestones_counted_from_the_start() -> None:
    training = Training(
        epochs=6, learning_rate=1.0, schedule="step", milestones=(2.0, 4.5), decay_factor=0.1, warmup_epochs=1.0
    )
    assert rates(training, 2) == pytest.approx([0.0, 0.5, 1.0, 1.0, 0.1, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01])


def test_step_without_milestones_is_constant() -> None:
    assert set(rates(Training(epochs=3, learning_rate=0.2, schedule="step"), 4)) == {0.2}


@pytest.mark.parametrize("schedule", ["cosine", "step", "constant"])
def test_a_warm_up_longer_than_the_training_never_exceeds_the_peak(schedule: str) -> None:
    training = Training(epochs=1, learning_rate=0.5, schedule=schedule, warmup_epochs=4.0)  # type: ignore[arg-type]
    assert rates(training, 4) == pytest.approx([0.0, 0.03125, 0.0625, 0.09375])
