"""The optimiser that the settings ask for."""

from functools import cache

import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from motet.ensemble import Ensemble
from motet.training.settings import Training


def make_optimizer(ensemble: Ensemble, training: Training) -> Optimizer:
    """SGD or AdamW over the ensemble's parameter groups, which must be on the device they are trained on."""
    groups = ensemble.parameter_groups(
        weight_decay=training.weight_decay,
        decay_norm_and_bias=training.decay_norm_and_bias,
        learning_rate=training.learning_rate,
    )
    # One kernel for all parameters: the same arithmetic, and on small networks a step costs a third less.
    fused = all(parameter.device.type in ("cpu", "cuda") for parameter in ensemble.parameters()) or None
    if training.optimizer == "adamw":
        betas = (training.beta1, training.beta2)
        return AdamW(groups, lr=training.learning_rate, betas=betas, fused=fused)
    momentum, nesterov = training.momentum, training.nesterov
    return SGD(groups, lr=training.learning_rate, momentum=momentum, nesterov=nesterov, fused=fused)


def set_learning_rate(optimizer: Optimizer, rate: float) -> None:
    """Give every group the rate, times its own ``lr_scale`` where the method set one."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("lr_scale", 1.0)


@cache
def warm_up() -> None:
    """Make a process's first optimiser step, which imports torch's compiler, seconds before it is measured."""
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = SGD([parameter], lr=0.0)
    parameter.grad = torch.zeros(1)
    optimizer.step()
    optimizer.zero_grad()
