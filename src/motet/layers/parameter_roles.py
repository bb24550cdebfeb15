"""What modules declare about their parameters, and the optimiser's parameter groups that follow from it."""

from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from motet._internal.renamed_settings import adopt_old_properties, renamed_property

_NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


class ParameterRoles(nn.Module):
    """Base class of modules that declare something about their parameters.

    Every property has a default. A subclass overrides those that it needs, with a class attribute or with a property.
    `motet.Ensemble.parameter_groups` and `motet.Ensemble.summary` read them from modules of this class only: a
    module of another class that has an attribute with one of these names is treated like any other module.

    Layers with a member axis derive from `motet.layers.MemberLayer` instead, which extends this class. To add the
    declarations to an existing layer, derive from both: ``class MyConv(ParameterRoles, nn.Conv2d)``.
    """

    learning_rate_scales = renamed_property("learning_rate_scales", "parameter_lr_scales")

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        adopt_old_properties(cls, ParameterRoles, learning_rate_scales="parameter_lr_scales")

    @property
    def undecayed_parameters(self) -> frozenset[str]:
        """Names of the module's own parameters that are never decayed. Default: none."""
        return frozenset()

    @property
    def parameter_lr_scales(self) -> Mapping[str, float]:
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
        """The module's line in `motet.Ensemble.summary`. Default: nothing."""
        return ""


def parameter_groups(
    module: nn.Module, *, weight_decay: float, decay_norm_and_bias: bool, learning_rate: float | None = None
) -> list[dict[str, Any]]:
    """Return parameter groups for a torch optimiser: one for every pair of weight decay and learning-rate scale.

    Args:
        module: the module; each trainable parameter is listed once. Its submodules declare exceptions as
            `ParameterRoles`.
        weight_decay: the coefficient of the decayed groups.
        decay_norm_and_bias: whether norm scales and shifts and all biases are decayed as well.
        learning_rate: the optimiser's learning rate. If given, groups with another scale than 1 get their ``lr``. They
            always get ``lr_scale``, by which `motet.training.fit` multiplies every scheduled rate.
    """
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    seen: set[int] = set()
    nothing = ParameterRoles()
    for part in module.modules():
        roles = part if isinstance(part, ParameterRoles) else nothing
        never, scales = roles.undecayed_parameters, roles.parameter_lr_scales
        is_norm = isinstance(part, _NORMS) or roles.is_norm
        for name, parameter in part.named_parameters(recurse=False):
            if id(parameter) in seen or not parameter.requires_grad:
                continue
            seen.add(id(parameter))
            # "bias" anywhere in the name, because recurrent and attention layers have in_proj_bias, bias_ih_l0 and the
            # like.
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
