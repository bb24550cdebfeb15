"""All layers of a model that can be given a member axis."""

from torch import nn

from motet.layers import Ordinary
from motet.surgery.ends import unusual


def ordinary_layers(model: nn.Module) -> tuple[dict[str, Ordinary], dict[str, str]]:
    """The model's Linear, Conv1d and Conv2d layers, and what keeps other layers with a weight matrix from being one.

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
            reason = unusual(module)
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
