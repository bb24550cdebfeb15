"""Put another module in a module's place."""

from torch import nn


def replace_module(model: nn.Module, old: nn.Module, new: nn.Module) -> nn.Module:
    """`model` with `new` wherever it held `old`, under however many names.

    Args:
        model: the network that is changed.
        old: a module in it, or the model itself.
        new: what takes its place.

    Returns:
        The model; `new` if `old` is the model. Go on with what is returned.

    A ``nn.TransformerEncoderLayer`` that holds `new` no longer takes torch's fused kernel in evaluation: that reads the
    weights of the layer's parts and goes past what any part but torch's own does with them.
    """
    if model is old:
        return new
    for parent in list(model.modules()):
        for name, child in list(parent._modules.items()):
            if child is old:
                setattr(parent, name, new)
    if not type(new).__module__.startswith("torch.nn."):
        for layer in model.modules():
            if isinstance(layer, nn.TransformerEncoderLayer) and any(part is new for part in layer.modules()):
                layer.activation_relu_or_gelu = 0  # what torch sets where it has no such kernel for the activation
    return model
