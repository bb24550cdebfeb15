"""What a module declares about its parameters, and the optimiser's parameter groups that follow from it."""

from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

_NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


class ParameterRoles(nn.Module):
    """Base class of modules that declare something about their parameters.

    Every property has a default. A subclass overrides those that it needs, with a class attribute or with a property.
    `motet.Ensemble.parameter_groups` and `motet.Ensemble.summary` read them from modules of this class only: a
    module of another class that has an attribute with one of these names is treated like any other module.

    Layers with a member axis derive from `motet.layers.MemberLayer` instead, which extends this class. To add the
    declarations to an existing layer, derive from both: ``class MyConv(ParameterRoles, nn.Conv2d)``.
    """

    @property
    def undecayed_parameters(self) -> frozenset[str]:
        """Names of the module's own parameters that are never decayed. Default: none."""
        return frozenset()

    @property
    def learning_rate_scales(self) -> Mapping[str, float]:
        """Learning rates of the module's own parameters, by name, as multiples of the optimiser's. Default: all 1."""
        return {}

    @property
    def is_norm(self) -> bool:
        """Whether the module's own parameters are decayed like those of norms. Default: False."""
        return False

    @property
    def member_parameters(self) -> frozenset[str]:
        """Names, as in ``named_parameters()``, of parameters that belong to individual members. Default: none."""
        return frozenset()

    @property
    def shared_parameters(self) -> frozenset[str]:
        """Names of parameters in submodules that all members share and that are counted with this module.

        The module's own parameters that are not in `member_parameters` are shared in any case. Default: none.
        """
        return frozenset()

    @property
    def summary_note(self) -> str:
        """What `motet.Ensemble.summary` says about the module, in one line. Default: nothing."""
        return ""


def parameter_groups(
    module: nn.Module, *, weight_decay: float, decay_norm_and_bias: bool, learning_rate: float | None = None
) -> list[dict[str, Any]]:
    """Parameter groups for a torch optimiser: one for every pair of decay and learning-rate scale that occurs.

    Args:
        module: whose trainable parameters; each is listed once. Its submodules declare what is special about their
            own parameters as `ParameterRoles`.
        weight_decay: the coefficient of the decayed groups.
        decay_norm_and_bias: whether norm scales and shifts and all biases are decayed as well.
        learning_rate: the optimiser's; given, groups with a scale of their own carry their ``lr``. Such groups also
            carry ``lr_scale``, which `motet.training.fit` multiplies every scheduled rate by.
    """
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    seen: set[int] = set()
    nothing = ParameterRoles()
    for part in module.modules():
        roles = part if isinstance(part, ParameterRoles) else nothing
        never, scales = roles.undecayed_parameters, roles.learning_rate_scales
        is_norm = isinstance(part, _NORMS) or roles.is_norm
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
