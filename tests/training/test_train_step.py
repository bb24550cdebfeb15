"""One training step, against the same step written out in plain torch."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812

from motet import Dataset, Ensemble, InputError, Training
from motet.training.checkpoint import Position
from motet.training.devices import make_fabric
from motet.training.optimizers import make_optimizer
from motet.training.steps import Steps
from motet.training.train_step import TrainStep
from motet.training.training_rows import TrainingRows

Make = Callable[..., Ensemble]
CPU = torch.device("cpu")


def step_of(ensemble: Ensemble, data: Dataset, training: Training, position: Position) -> TrainStep:
    fabric = make_fabric(CPU, "32-true")
    model, optimizer = fabric.setup(ensemble, make_optimizer(ensemble, training))
    model.mark_forward_method("loss")
    rows = TrainingRows(data, training, seed=0, device=CPU)
    steps = Steps(training, position, per_epoch=rows.steps_per_epoch, examples=len(rows))
    return TrainStep(ensemble, model, optimizer, fabric, rows=rows, steps=steps)


def test_steps_follow_the_schedule(make: Make, blobs: Dataset) -> None:
    """Two of the four steps of a warm-up from 0: the first changes nothing, the second is one at a quarter."""
    training = Training(batch_size=16, learning_rate=0.4, warmup_epochs=1.0, momentum=0.0, nesterov=False)
    ensemble = make("single", model=lambda: nn.Linear(4, 3))
    plain = copy.deepcopy(ensemble.network)
    position = Position()
    step = step_of(ensemble, blobs, training, position)
    x, y = blobs.train.inputs[:16], blobs.train.targets[:16]
    start = copy.deepcopy(plain.state_dict())
    first = step(x, y)
    assert all(torch.equal(value, start[name]) for name, value in ensemble.network.state_dict().items())
    second = step(x, y)
    assert (position.epoch, position.step_in_epoch) == (0, 2)
    assert not first.requires_grad
    loss = F.cross_entropy(plain(blobs.prepare(x)), y)
    torch.testing.assert_close(torch.stack([first, second]), loss.detach().expand(2))
    loss.backward()
    for (name, weight), trained in zip(plain.named_parameters(), ensemble.network.parameters(), strict=True):
        expected = weight - 0.1 * (weight.grad + training.weight_decay * start[name])
        torch.testing.assert_close(trained, expected)
    assert all(parameter.grad is None for parameter in ensemble.parameters())


@pytest.mark.usefixtures("unchecked")
def test_too_few_rows_for_batch_normalisation(make: Make, blobs: Dataset) -> None:
    position = Position()
    step = step_of(make(), blobs, Training(batch_size=1), position)
    with pytest.raises(InputError, match="needs at least 2 rows in a training step, but got batch_size=1"):
        step(blobs.train.inputs[:1], blobs.train.targets[:1])
    assert position == Position(), "no step was made"


@pytest.mark.usefixtures("unchecked")
def test_other_errors_of_the_network_are_not_changed(make: Make, blobs: Dataset, monkeypatch: Any) -> None:
    ensemble = make()
    step = step_of(ensemble, blobs, Training(batch_size=16), Position())

    def fail(*_: object) -> None:
        raise ValueError("of the user's network")

    ensemble.network.register_forward_pre_hook(fail)
    with pytest.raises(ValueError, match=r"^of the user's network$"):
        step(blobs.train.inputs[:16], blobs.train.targets[:16])
