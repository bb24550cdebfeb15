"""The optimiser for the training settings."""

from functools import cache

import torch
from torch import nn
from torch.optim import SGD, AdamW, Optimizer

from motet.ensemble import Ensemble
from motet.training.settings import Training


def make_optimizer(ensemble: Ensemble, training: Training) -> Optimizer:
    """Return SGD or AdamW over the ensemble's parameter groups, which must be on the device of the training."""
    groups = ensemble.parameter_groups(
        weight_decay=training.weight_decay,
        decay_norm_and_bias=training.decay_norm_and_bias,
        learning_rate=training.learning_rate,
    )
    # One kernel for all parameters: the same arithmetic, and a third less time per step on small networks.
    fused = all(parameter.device.type in ("cpu", "cuda") for parameter in ensemble.parameters()) or None
    if training.optimizer == "adamw":
        betas = (training.beta1, training.beta2)
        return AdamW(groups, lr=training.learning_rate, betas=betas, fused=fused)
    momentum, nesterov = training.momentum, training.nesterov
    return SGD(groups, lr=training.learning_rate, momentum=momentum, nesterov=nesterov, fused=fused)


def set_learning_rate(optimizer: Optimizer, rate: float) -> None:
    """Set every group's learning rate to `rate`, times the group's ``lr_scale`` if there is one."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("lr_scale", 1.0)


@cache
def warm_up() -> None:
    """Run a process's first optimiser step, which imports torch's compiler for seconds, before time is measured."""
    parameter = nn.Parameter(torch.zeros(1))
    optimizer = SGD([parameter], lr=0.0)
    parameter.grad = torch.zeros(1)
    optimizer.step()
    optimizer.zero_grad()
