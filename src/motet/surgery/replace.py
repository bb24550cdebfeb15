"""Put another module in a module's place."""

from torch import nn


def replace_module(model: nn.Module, old: nn.Module, new: nn.Module) -> nn.Module:
    """`model` with `new` wherever it held `old`, under however many names; `new` itself if `old` is the model."""
    if model is old:
        return new
    for parent in list(model.modules()):
        for name, child in list(parent._modules.items()):
            if child is old:
                setattr(parent, name, new)
    return model
