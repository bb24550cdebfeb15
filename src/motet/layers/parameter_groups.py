"""Which parameters are decayed, and which learn at a rate of their own."""

from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

_NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


def parameter_groups(
    module: nn.Module, *, weight_decay: float, decay_norm_and_bias: bool, learning_rate: float | None = None
) -> list[dict[str, Any]]:
    """Parameter groups for a torch optimiser: one for every pair of decay and learning-rate scale that occurs.

    A layer declares what is special about its own parameters, by name: ``undecayed_parameters`` are never decayed,
    and ``lr_scales`` maps names to multiples of the learning rate. A layer with ``is_norm`` set counts as a norm.

    Args:
        module: whose trainable parameters; each is listed once.
        weight_decay: the coefficient of the decayed groups.
        decay_norm_and_bias: whether norm scales and shifts and all biases are decayed as well.
        learning_rate: the optimiser's; given, groups with a scale of their own carry their ``lr``. Such groups also
            carry ``lr_scale``, which `motet.training.fit` multiplies every scheduled rate by.
    """
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    seen: set[int] = set()
    for part in module.modules():
        never: frozenset[str] = getattr(part, "undecayed_parameters", frozenset())
        scales: Mapping[str, float] = getattr(part, "lr_scales", {})
        is_norm = isinstance(part, _NORMS) or getattr(part, "is_norm", False) is True
        for name, parameter in part.named_parameters(recurse=False):
            if id(parameter) in seen or not parameter.requires_grad:
                continue
            seen.add(id(parameter))
            # "bias" in the name: recurrent and attention layers have in_proj_bias, bias_ih_l0 and the like.
            norm_or_bias = is_norm or "bias" in name
            spare = name in never or (norm_or_bias and not decay_norm_and_bias)
            groups.setdefault((scales.get(name, 1.0), spare), []).append(parameter)
    return [
        {"params": parameters, "weight_decay": 0.0 if spare else weight_decay} | _rate(scale, learning_rate)
        for (scale, spare), parameters in sorted(groups.items(), key=lambda item: (item[0][0] != 1.0, item[0]))
    ]


def _rate(scale: float, learning_rate: float | None) -> dict[str, float]:
    if scale == 1.0:
        return {}
    return {"lr_scale": scale} | ({} if learning_rate is None else {"lr": learning_rate * scale})
