"""The optimiser that the settings ask for."""

from torch.optim import SGD, AdamW, Optimizer

from motet.ensemble import Ensemble
from motet.training.settings import Training


def make_optimizer(ensemble: Ensemble, training: Training) -> Optimizer:
    """SGD or AdamW over the ensemble's parameter groups."""
    groups = ensemble.parameter_groups(
        weight_decay=training.weight_decay, decay_norm_and_bias=training.decay_norm_and_bias
    )
    if training.optimizer == "adamw":
        return AdamW(groups, lr=training.learning_rate, betas=(training.beta1, training.beta2))
    return SGD(groups, lr=training.learning_rate, momentum=training.momentum, nesterov=training.nesterov)


def set_learning_rate(optimizer: Optimizer, rate: float) -> None:
    """Give every group the rate, times its own ``lr_scale`` where the method set one."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group.get("lr_scale", 1.0)
