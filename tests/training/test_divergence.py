"""Numbers that are not finite stop a run with a message that says where it stood."""

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from motet import Dataset, Ensemble, Training
from motet.errors import TrainingDivergedError
from motet.training.checkpoint import Position
from motet.training.losses import Divergence
from motet.training.rank_sync import RankSync
from motet.training.steps import Steps
from motet.training.validation import validate

ALONE = RankSync(None)


@pytest.fixture
def steps() -> Steps:
    training = Training(epochs=3, learning_rate=0.5, schedule="constant")
    return Steps(training, Position(epoch=1, step_in_epoch=2), per_epoch=4, examples=70)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_the_message_names_value_step_epoch_rate_and_checkpoint(steps: Steps, value: float, tmp_path: Path) -> None:
    checkpoint = tmp_path / "last.safetensors"
    divergence = Divergence(steps, checkpoint)
    divergence.check("loss", 1.0, step=3)
    with pytest.raises(TrainingDivergedError) as caught:
        divergence.check("loss", value, step=3)
    told = f"the loss became {value} at step 4 of 12 (epoch 1) with learning rate 0.5. Last good checkpoint: "
    assert str(caught.value).startswith(told + "none yet.")
    checkpoint.touch()
    with pytest.raises(TrainingDivergedError) as caught:
        divergence.check("loss", value, step=3)
    assert str(caught.value).startswith(told + f"{checkpoint}.")


def test_by_default_it_is_the_last_finished_step(steps: Steps) -> None:
    with pytest.raises(TrainingDivergedError, match=r"at step 6 of 12 \(epoch 2\).*none yet"):
        Divergence(steps, None).check("loss", math.nan)


def test_weights_that_are_trained_must_be_finite(steps: Steps, make: Callable[..., Ensemble]) -> None:
    ensemble, divergence = make(), Divergence(steps, None)
    divergence.check_weights(ensemble, ALONE)
    weight = ensemble.network[0].weight
    with torch.no_grad():
        weight[0, 0] = math.inf
    with pytest.raises(TrainingDivergedError, match=r"network's weights became nan at step 6 of 12"):
        divergence.check_weights(ensemble, ALONE)
    weight.requires_grad_(False)
    divergence.check_weights(ensemble, ALONE)


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_validation_scores_are_not_computed_from_nan(
    steps: Steps, make: Callable[..., Ensemble], blobs: Dataset, regression: tuple[Ensemble, Dataset], task: str
) -> None:
    """Metrics refuse NaN as bad input; in training it means that the run has diverged."""
    ensemble, data = (make(), blobs) if task == "classification" else regression
    assert math.isfinite(validate(ensemble, data, Divergence(steps, None))["validation_nll"])
    with torch.no_grad():
        for parameter in ensemble.parameters():
            parameter.fill_(math.nan)
    with pytest.raises(TrainingDivergedError, match="the validation loss became nan at step 6"):
        validate(ensemble, data, Divergence(steps, None))
