"""All layers of a model that can be given a member axis."""

import torch
from torch import nn
from torch.nn import functional as F  # noqa: N812
from torch.nn.utils.parametrize import is_parametrized

from motet.layers import Ordinary

KINDS = (nn.Linear, nn.Conv1d, nn.Conv2d)


def ordinary_layers(model: nn.Module) -> tuple[dict[str, Ordinary], dict[str, str]]:
    """The model's Linear, Conv1d and Conv2d layers, and what keeps other layers with a weight matrix from being one.

    Args:
        model: the model.

    Returns:
        The layers by name, each once, under its first name; and the names of layers that combine features with a
        weight matrix but cannot be replaced faithfully, with the reason. A layer that is part of another layer that
        torch computes as a whole (the projections of ``nn.MultiheadAttention``) is left out of both: the whole is
        named.
    """
    layers: dict[str, Ordinary] = {}
    others: dict[str, str] = {}
    whole: tuple[str, ...] = ()
    owners: dict[int, str] = {}
    for name, module in model.named_modules():
        if whole and name.startswith(whole):
            continue
        if isinstance(module, nn.MultiheadAttention | nn.RNNBase):
            others[name], whole = type(module).__name__, (*whole, f"{name}.")
        elif isinstance(module, nn.Linear | nn.Conv1d | nn.Conv2d):
            reason = reason_not_convertible(module)
            owner = None if reason is not None else owners.setdefault(id(module.weight), name)
            if reason is not None:
                others[name] = f"{type(module).__name__}{reason}"
            elif owner != name:
                others[name] = f"{type(module).__name__} that shares its weight with {owner!r}"
            else:
                layers[name] = module
        elif not any(True for _ in module.children()) and any(
            parameter.ndim >= 2 for parameter in module.parameters(recurse=False)
        ):
            others[name] = type(module).__name__
    return layers, others


def reason_not_convertible(layer: nn.Module) -> str | None:
    """What keeps `layer` from being replaced by one that computes the same, if anything does.

    A layer that computes something else (padding of its own, standardised, normalised or pruned weights) is not
    replaced silently. A Linear layer whose class has a forward of its own, as timm's have, is tried out.
    """
    kind = next((kind for kind in KINDS if isinstance(layer, kind)), None)
    if kind is None or is_parametrized(layer):
        return ""
    for method in ("forward", "_conv_forward"):
        own = method in vars(layer) or getattr(type(layer), method, None) is not getattr(kind, method, None)
        if own and not (isinstance(layer, nn.Linear) and _computes_what_linear_does(layer)):
            return f" with a {method} of its own"
    if "weight" not in layer._parameters:
        return " whose weight is computed"  # by weight_norm, spectral_norm or pruning of the older kind
    return " with hooks" if layer._forward_hooks or layer._forward_pre_hooks else None


@torch.no_grad()
def _computes_what_linear_does(layer: nn.Linear) -> bool:
    """Whether a Linear layer of another class gives what torch's gives, in training and in evaluation, to the bit.

    Only Linear layers, which do the same to every row: what a convolution does may depend on the input's size.
    """
    if set(layer.state_dict()) - {"weight", "bias"} or layer.weight.is_meta or any(True for _ in layer.children()):
        return False
    x = torch.linspace(-2, 2, 3 * layer.in_features, device=layer.weight.device, dtype=layer.weight.dtype)
    x = x.sin().view(3, -1)
    wanted, was_training = F.linear(x, layer.weight, layer.bias), layer.training
    try:
        return all(torch.equal(layer.train(mode)(x), wanted) for mode in (True, False))
    except Exception:  # whatever somebody else's forward may raise
        return False
    finally:
        layer.train(was_training)
