"""Replace a module of a model."""

from torch import nn


def replace_module(model: nn.Module, old: nn.Module, new: nn.Module) -> nn.Module:
    """Replace `old` by `new` in `model`, under all its names.

    Args:
        model: the network; it is changed.
        old: a module in it, or the model itself.
        new: the replacement.

    Returns:
        The model, or `new` if `old` is the model. Use the returned module.

    A ``nn.TransformerEncoderLayer`` that holds `new` no longer uses torch's fused kernel in evaluation, because that
    kernel reads the weights of the layer's parts directly and ignores what their replacements compute.
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
                # the value that torch sets if it has no such kernel for the activation
                layer.activation_relu_or_gelu = 0
            elif isinstance(layer, nn.TransformerEncoder) and any(part is new for part in layer.modules()):
                layer.use_nested_tensor = False  # padded batches stay ordinary tensors, which other layers can read
    return model
