"""M inputs and M heads in place of a model's own input and output layers: what MIMO, MixMo and others share."""

from collections.abc import Callable

from torch import Tensor, nn

from motet.errors import InputError
from motet.layers import MultiHead, Ordinary
from motet.method import Given, Method, Model, instance_of
from motet.surgery import (
    Init,
    Probe,
    head_stack,
    input_layers,
    member_stack,
    output_layers,
    probe,
    replace_module,
    split_kernel,
)

InputLayer = Callable[[Ordinary, Tensor], nn.Module]
"""Makes a layer for M inputs from the model's own and the members' kernels ``(M, *kernel)``, which add up to its."""


def member_heads(layer: Ordinary, members: int, init: Init) -> MultiHead:
    """M heads like `layer`.

    Args:
        layer: the model's output layer, Linear or a convolution.
        members: M.
        init: ``"fresh"``: the first head has the layer's weights, the others new draws like them. ``"keep"``: all are
            near the layer's, and their mean is the layer's.

    Returns:
        A layer from rows ``(B, ...)`` or ``(M B, ...)`` to rows ``(M B, ...)``, member-major.
    """
    biases = None if layer.bias is None else member_stack(layer.bias, members, init)
    return MultiHead(layer, head_stack(layer.weight, members, init), biases)


def with_member_inputs_and_heads(method: Method, model: Model, given: Given, input_layer: InputLayer) -> nn.Module:
    """The model with M heads in place of its output layer, and new layers in place of those that read the input.

    Args:
        method: the method, for its number of members, and for its name in errors.
        model: the model, which is left as it is.
        given: what the conversion is given.
        input_layer: makes a layer for M inputs.

    Returns:
        The converted network.

    Raises:
        InputError: if input and output layers are ambiguous, the same, or cannot be replaced.
    """
    network = instance_of(model)
    return replace_inputs_and_heads(method, network, probe(network, given.example), given, input_layer)


def replace_inputs_and_heads(
    method: Method, network: nn.Module, probed: Probe, given: Given, input_layer: InputLayer
) -> nn.Module:
    """As `with_member_inputs_and_heads`, of a network that was probed before and is changed.

    Args:
        method, given, input_layer: see `with_member_inputs_and_heads`.
        network: from `motet.method.instance_of`.
        probed: from `motet.surgery.probe`.

    Returns:
        The converted network: the one given, unless that is itself a layer that was replaced.

    Raises:
        InputError: see `with_member_inputs_and_heads`.
    """
    readers = input_layers(network, probed, given.first)
    makers = output_layers(network, probed, given.last)
    if any(reader is maker for reader in readers for maker in makers):
        raise InputError(
            f"{method.label} needs a body between the input layer and the output layer",
            got="a model whose input layer is also its output layer",
            fix="Use a model with at least two layers",
        )
    for layer in readers:
        network = replace_module(network, layer, input_layer(layer, split_kernel(layer.weight, method.size)))
    for layer in makers:
        network = replace_module(network, layer, member_heads(layer, method.size, given.init))
    return network
