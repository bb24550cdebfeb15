"""M inputs and M heads in place of a model's input and output layers: the shared parts of MIMO, MixMo and others."""

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn

from motet.errors import InputError
from motet.layers import Layout, MultiEmbedding, MultiHead, MultiInput, Ordinary
from motet.method import ConversionContext, Method, Model, instance_of
from motet.methods.heads import with_heads
from motet.methods.separate_inputs import with_separate_inputs
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
    split_table,
)

InputLayer = Callable[[Any, Tensor], nn.Module]
"""A function that makes a layer for M inputs from the model's layer and the members' kernels ``(M, *kernel)``, or from
an embedding and the members' tables ``(M, tokens, features)``.
"""


def multi_input(layer: Ordinary | nn.Embedding, kernels: Tensor, layout: Layout, *, scale: float = 1.0) -> nn.Module:
    """Return a layer that reads M inputs and adds what it makes of them: see `motet.layers.MultiInput`.

    Args:
        layer: the layer to replace.
        kernels: the members' kernels, or tables of an embedding.
        layout: the ensemble's layout.
        scale: multiplies the sum if inputs are not mixed.
    """
    if isinstance(layer, nn.Embedding):
        return MultiEmbedding(layer, kernels, layout=layout, scale=scale)
    return MultiInput(layer, kernels, layout=layout, scale=scale)


def member_heads(layer: Ordinary, members: int, init: Init) -> MultiHead:
    """Return M heads like `layer`.

    Args:
        layer: the model's output layer, Linear or a convolution.
        members: M.
        init: ``"fresh"``: the first head has the layer's weights, the others have new draws from their distribution.
            ``"keep"``: all heads are near the layer's weights, and their mean is the layer's.

    Returns:
        A layer from rows ``(B, ...)`` or ``(M B, ...)`` to rows ``(M B, ...)``, member-major.
    """
    biases = None if layer.bias is None else member_stack(layer.bias, members, init)
    return MultiHead(layer, head_stack(layer.weight, members, init), biases)


def with_member_inputs_and_heads(
    method: Method, model: Model, context: ConversionContext, input_layer: InputLayer, *, separate: bool = False
) -> nn.Module:
    """Return the model with M heads in place of its output layer, and new layers in place of those that read the input.

    Args:
        method: the method, for its number of members, and for its name in errors.
        model: the model, which is not changed.
        context: what `Method.convert` is passed.
        input_layer: makes a layer for M inputs.
        separate: whether its kernels start as M ordinary layers, each with its own draws on the scale of the model's
            layer, as MixMo has them; by default as one layer over M inputs, whose kernels add up to the model's
            (`motet.surgery.split_kernel`). With ``init="keep"`` they always add up to it.

    Returns:
        The converted network.

    Raises:
        InputError: if input and output layers are ambiguous, the same, or cannot be replaced.
    """
    network = instance_of(model)
    probed = probe(network, context.example)
    return replace_inputs_and_heads(method, network, probed, context, input_layer, separate=separate, exits=False)


def replace_inputs_and_heads(
    method: Method,
    network: nn.Module,
    probed: Probe,
    context: ConversionContext,
    input_layer: InputLayer,
    *,
    separate: bool = False,
    exits: bool = True,
) -> nn.Module:
    """Like `with_member_inputs_and_heads`, for a network that has already been probed. Changes the network in place.

    Args:
        method, context, input_layer, separate: see `with_member_inputs_and_heads`.
        exits: whether exits will share the heads, which must then return rows.
        network: the network to change, from `motet.method.instance_of`.
        probed: the result of `motet.surgery.probe` for this network.

    Returns:
        The converted network. It is `network` itself, unless `network` is a layer that is replaced.

    Raises:
        InputError: see `with_member_inputs_and_heads`.
    """
    readers = input_layers(network, probed, context.first)
    makers = output_layers(network, probed, context.last)
    if any(reader is maker for reader in readers for maker in makers):
        raise InputError(
            f"{method.label} needs a body between the input layer and the output layer",
            got="a model whose input layer is also its output layer",
            fix="Use a model with at least two layers",
        )
    fresh = separate and context.init == "fresh"
    names = {name: module for name, module in network.named_modules() if any(module is each for each in readers)}
    for layer in readers:
        weight, members = layer.weight, method.members
        if isinstance(layer, nn.Embedding):
            kernels = split_table(layer, members, separate=fresh)
        else:
            kernels = member_stack(weight, members, "fresh") if fresh else split_kernel(weight, members)
        network = replace_module(network, layer, input_layer(layer, kernels))
    for layer in makers:
        network = replace_module(network, layer, member_heads(layer, method.members, context.init))
    network = network if exits else with_heads(network, context, method.members)
    return with_separate_inputs(network, context, method.members, tuple(names))
