"""Which parameters are decayed, and by which optimiser."""

from collections.abc import Callable

import pytest
import torch
from torch import nn

from motet import MIMO, Ensemble, Single, Training
from motet.layers import ParameterRoles
from motet.training.optimizers import make_optimizer, set_learning_rate

Make = Callable[..., Ensemble]


def decay_by_name(ensemble: Ensemble, training: Training) -> dict[str, float]:
    optimizer = make_optimizer(ensemble, training)
    decay = {id(p): group["weight_decay"] for group in optimizer.param_groups for p in group["params"]}
    count = sum(len(group["params"]) for group in optimizer.param_groups)
    names = dict(ensemble.named_parameters())
    assert count == len(decay) == len(names), "every parameter once"
    return {name: decay[id(parameter)] for name, parameter in names.items()}


def test_everything_is_decayed_by_default(make: Make) -> None:
    decay = decay_by_name(make("mimo"), Training(weight_decay=0.01))
    assert len(decay) == 5
    assert set(decay.values()) == {0.01}


def test_norms_and_biases_can_be_spared(make: Make) -> None:
    decay = decay_by_name(make("mimo"), Training(weight_decay=0.01, decay_norm_and_bias=False))
    assert {name for name, value in decay.items() if value} == {"network.0.layer.weight", "network.4.layer.weight"}


def test_what_a_layer_declares_undecayed_never_is() -> None:
    class Scaled(ParameterRoles):
        undecayed_parameters = frozenset({"scale"})

        def __init__(self) -> None:
            super().__init__()
            self.weight, self.scale = nn.Parameter(torch.ones(3, 4)), nn.Parameter(torch.ones(3, 1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x @ (self.weight * self.scale).T

    ensemble = Single().wrap(Scaled(), example=torch.zeros(1, 4))
    decay = decay_by_name(ensemble, Training(weight_decay=0.01))
    assert decay == {"network.weight": 0.01, "network.scale": 0.0}


def test_frozen_parameters_and_shared_ones(make: Make) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 3))
    model[2].weight = model[0].weight
    ensemble = Single().wrap(model, example=torch.zeros(1, 4))
    ensemble.network[4].bias.requires_grad_(False)
    groups = make_optimizer(ensemble, Training()).param_groups
    assert [len(group["params"]) for group in groups] == [4]


def test_the_optimisers_get_their_settings(make: Make) -> None:
    sgd = make_optimizer(make(), Training(learning_rate=0.2, momentum=0.8, nesterov=True)).param_groups[0]
    assert (sgd["lr"], sgd["momentum"], sgd["nesterov"], sgd["dampening"]) == (0.2, 0.8, True, 0)
    adamw = make_optimizer(make(), Training(optimizer="adamw", learning_rate=0.01, beta1=0.8, beta2=0.99))
    assert isinstance(adamw, torch.optim.AdamW)
    assert adamw.param_groups[0]["betas"] == (0.8, 0.99)


def test_groups_can_scale_the_rate(make: Make) -> None:
    optimizer = make_optimizer(make(), Training(decay_norm_and_bias=False))
    optimizer.param_groups[1]["lr_scale"] = 0.1
    set_learning_rate(optimizer, 0.5)
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.05]


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_one_step_by_hand(optimizer: str) -> None:
    """Decay enters SGD through the gradient and Nesterov's look-ahead; AdamW decouples it."""
    ensemble = Single().wrap(nn.Linear(2, 2, bias=False), example=torch.zeros(1, 2))
    weight = ensemble.network.weight
    before = weight.detach().clone()
    training = Training(
        optimizer=optimizer,  # type: ignore[arg-type]
        learning_rate=0.1,
        momentum=0.9,
        weight_decay=0.5,
    )
    weight.grad = torch.full_like(weight, 2.0)
    make_optimizer(ensemble, training).step()
    if optimizer == "sgd":
        gradient = 2.0 + 0.5 * before
        expected = before - 0.1 * (gradient + 0.9 * gradient)
    else:
        expected = before * (1 - 0.1 * 0.5) - 0.1 * torch.sign(weight.grad)
    torch.testing.assert_close(weight.detach(), expected)


def test_mimo_names_of_the_groups_cover_both_ends() -> None:
    ensemble = MIMO(members=2).wrap(
        nn.Sequential(nn.Linear(4, 5), nn.ReLU(), nn.Linear(5, 3)), example=torch.zeros(1, 4)
    )
    (group,) = ensemble.parameter_groups(weight_decay=0.1)
    assert {tuple(parameter.shape) for parameter in group["params"]} == {(5, 8), (5,), (6, 5), (6,)}
