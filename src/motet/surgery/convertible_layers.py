"""Find all layers of a model that can get a member axis."""

from collections import Counter
from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch.nn.utils.parametrize import is_parametrized

from motet.layers import RECURRENT, TRANSPOSED, Attention, Ordinary
from motet.surgery.replace import replace_module

KINDS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def ordinary_layers(model: nn.Module) -> tuple[dict[str, Ordinary], dict[str, str]]:
    """Return the model's Linear layers and convolutions, and the reasons why other layers cannot be converted.

    Args:
        model: the model.

    Returns:
        The layers by name, each once, under its first name; and the names of layers that combine features with a weight
        matrix but cannot be replaced by an equivalent layer, with the reasons. Layers that torch computes only as part
        of a whole (the projections of ``nn.MultiheadAttention``) are not in either; the whole is.
    """
    layers, others = convertible_layers(model, KINDS)
    return {name: layer for name, layer in layers.items() if isinstance(layer, KINDS)}, others


def convertible_layers(
    model: nn.Module, kinds: Sequence[type[nn.Module]]
) -> tuple[dict[str, nn.Module], dict[str, str]]:
    """Like `ordinary_layers`, for other kinds of layers too.

    Args:
        model: the model.
        kinds: among `KINDS`, and the kinds of transposed convolutions and recurrent layers.
    """
    layers: dict[str, nn.Module] = {}
    others: dict[str, str] = {}
    whole: tuple[str, ...] = ()
    owners: dict[int, str] = {}
    known = tuple(kinds)
    for name, module in model.named_modules():
        if whole and name.startswith(whole):
            continue
        if isinstance(module, nn.MultiheadAttention | nn.RNNBase):
            whole = (*whole, f"{name}.")
        if isinstance(module, known):
            reason = reason_not_convertible(module)
            own = [module.weight] if hasattr(module, "weight") else list(module.parameters())
            owner = (
                name
                if reason is not None
                else next((first for each in own if (first := owners.setdefault(id(each), name)) != name), name)
            )
            if reason is not None:
                others[name] = f"{type(module).__name__}{reason}"
            elif owner != name:
                others[name] = f"{type(module).__name__} that shares its weight with {owner!r}"
            else:
                layers[name] = module
        elif isinstance(module, nn.MultiheadAttention):
            others[name] = f"{type(module).__name__}{reason_not_split(module) or ''}"
        elif not any(True for _ in module.children()) and any(
            parameter.ndim >= 2 for parameter in module.parameters(recurse=False)
        ):
            others[name] = type(module).__name__
    return layers, others


def split_attention(model: nn.Module) -> nn.Module:
    """Return the model with the projections of its ``nn.MultiheadAttention`` as Linear layers, where that is possible.

    Args:
        model: the model; it is changed.
    """
    users = Counter(id(value) for module in model.modules() for value in module.parameters(recurse=False))
    for module in list(model.modules()):
        if isinstance(module, nn.MultiheadAttention) and reason_not_split(module) is None:
            own = (value for value in module.parameters() if users[id(value)] > 1)
            if next(own, None) is None:
                model = replace_module(model, module, Attention(module))
    return model


def reason_not_split(attention: nn.MultiheadAttention) -> str | None:
    """Return why `split_attention` leaves a module as it is; None if it replaces it by one that computes the same."""
    if type(attention) is not nn.MultiheadAttention or "forward" in vars(attention):
        return " with its own forward"
    if any(is_parametrized(part) or part._forward_hooks or part._forward_pre_hooks for part in attention.modules()):
        return " with hooks or computed weights"
    return None if attention.batch_first else " with batch_first=False, whose rows are on axis 1"


def reason_not_convertible(layer: nn.Module) -> str | None:
    """Return why `layer` cannot be replaced by a layer that computes the same; None if it can.

    A layer that computes something else (its own padding, standardised, normalised or pruned weights) is not replaced.
    A Linear layer whose class has its own forward, as timm's have, is compared with torch's.
    """
    kind = next((kind for kind in (*KINDS, *TRANSPOSED, *RECURRENT) if isinstance(layer, kind)), None)
    if kind is None or is_parametrized(layer):
        return ""
    for method in ("forward", "_conv_forward"):
        own = method in vars(layer) or getattr(type(layer), method, None) is not getattr(kind, method, None)
        if own and not (isinstance(layer, nn.Linear) and _computes_what_linear_does(layer)):
            return f" with its own {method}"
    if isinstance(layer, RECURRENT):
        names = (name for names in layer._all_weights for name in names)
        if any(name not in layer._parameters for name in names):
            return " whose weights are computed"
    elif "weight" not in layer._parameters:
        return " whose weight is computed"  # by weight_norm, spectral_norm or the older form of pruning
    return " with hooks" if layer._forward_hooks or layer._forward_pre_hooks else None


@torch.no_grad()
def _computes_what_linear_does(layer: nn.Linear) -> bool:
    """Whether a Linear layer of another class has torch's outputs, in training and in evaluation, bit for bit.

    Only for Linear layers, which treat all rows alike. The output of a convolution may depend on the input's size.
    """
    if set(layer.state_dict()) - {"weight", "bias"} or layer.weight.is_meta or any(True for _ in layer.children()):
        return False
    x = torch.linspace(-2, 2, 3 * layer.in_features, device=layer.weight.device, dtype=layer.weight.dtype)
    x = x.sin().view(3, -1)
    wanted, was_training = F.linear(x, layer.weight, layer.bias), layer.training
    try:
        return all(torch.equal(layer.train(mode)(x), wanted) for mode in (True, False))
    except Exception:  # another class's forward may raise any error
        return False
    finally:
        layer.train(was_training)
