"""Initial weights for the members: new draws for an untrained model, or small changes to those of a trained one."""

import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

from motet._internal.copying import copy_of

Init = Literal["fresh", "keep"]
"""Whether members draw separate initial weights, or start from the model's."""

_NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
# As a fraction of the weights' standard deviation: small enough to keep a trained model's function, large enough that
# members become different.
_NUDGE = 0.1


@torch.no_grad()
def permuted_init_like(tensor: Tensor) -> Tensor:
    """Return another draw from the distribution that initialised `tensor`: its entries in random order.

    If entries were drawn independently from one distribution, a random permutation of them has the same distribution,
    and constants (zero biases, norm scales of one) do not change. Calling the modules' `reset_parameters` instead would
    silently replace the initialisation that many models set in their constructors, and would miss parameters that
    belong to no standard layer (class tokens, position embeddings).
    """
    order = torch.randperm(tensor.numel()).to(tensor.device)
    return tensor.flatten()[order].view_as(tensor)


def fresh_stack(tensor: Tensor, members: int) -> Tensor:
    """Return `tensor` and ``members - 1`` more draws like it, ``(M, *tensor.shape)``, without a graph."""
    tensor = tensor.detach()
    return torch.stack([tensor, *(permuted_init_like(tensor) for _ in range(members - 1))])


def member_stack(tensor: Tensor, members: int, init: Init) -> Tensor:
    """Return initial weights of M members for one tensor of the model.

    Args:
        tensor: a parameter of the model.
        members: M.
        init: `motet.method.ConversionContext.init`.

    Returns:
        ``(M, *tensor.shape)``, without a graph.

    ``"fresh"``: see `fresh_stack`. ``"keep"``: the tensor plus a tenth of `permuted_init_like` draws that add up to
    zero over the members. The members' mean is then the tensor, and so is the mean of anything that is linear in it
    (the logits of M heads).
    """
    stack = fresh_stack(tensor, members)
    return stack if init == "fresh" else tensor.detach() + _NUDGE * _centred(stack)


@torch.no_grad()
def head_stack(weight: Tensor, members: int, init: Init) -> Tensor:
    """Return initial weights of M output layers on the same features, which always differ.

    The weights are those of `member_stack`, except if all entries of `weight` are equal (zeros, in torchvision's vision
    transformers). Heads that start from such a constant would get equal gradients from the same batch and stay equal.
    Random differences are then added: a tenth of torch's uniform initialisation, minus the mean over the members, so
    that the members' mean is still the model's weight.

    Args:
        weight: the weight of the model's output layer.
        members: M.
        init: `motet.method.ConversionContext.init`.

    Returns:
        ``(M, *weight.shape)``, without a graph.
    """
    stack = member_stack(weight, members, init)
    if members == 1 or weight.is_meta or bool((weight != weight.flatten()[0]).any()):
        return stack
    bound = _NUDGE / math.sqrt(weight[0].numel())
    noise = torch.empty(stack.shape, dtype=stack.dtype).uniform_(-bound, bound)  # the same random numbers on any device
    return stack + _centred(noise.to(stack.device))


def split_kernel(weight: Tensor, members: int) -> Tensor:
    """Return initial kernels for M inputs from a layer's weight for one; they add up to `weight`.

    Args:
        weight: the weight of the layer that reads the model's input.
        members: M.

    Returns:
        ``(M, *weight.shape)``, without a graph.

    An input that is passed to all members therefore gives the layer's previous output, and a trained model keeps its
    function. Each kernel is ``W / M + (G_m - mean G) / sqrt(M)`` with `permuted_init_like` draws G. For independent
    Gaussian entries these are M independent draws with 1 / sqrt(M) of W's standard deviation, conditioned on their sum:
    the initialisation of one layer over M inputs, whose fan-in is M times as large [uncertainty-baselines,
    wide_resnet_mimo.py].
    """
    draws = torch.stack([permuted_init_like(weight.detach()) for _ in range(members)])
    return weight.detach() / members + _centred(draws) / math.sqrt(members)


def split_table(layer: nn.Embedding, members: int, *, separate: bool = False) -> Tensor:
    """Return M tables for the tokens of M inputs, ``(M, tokens, features)``, which add up to the embedding's.

    Args:
        layer: the embedding.
        members: M.
        separate: whether each table has draws of its own on the scale of the embedding's, as M layers have them, so
            that they do not add up to it.

    Returns:
        The tables. A padding row has 1 / M of the embedding's in each of them, so that zeros stay zeros.
    """
    weight = layer.weight.detach()
    tables = member_stack(weight, members, "fresh") if separate else split_kernel(weight, members)
    if layer.padding_idx is not None:
        others = torch.arange(len(weight), device=weight.device) != layer.padding_idx
        own = weight[others]
        tables = weight.unsqueeze(0).repeat(members, 1, 1) / members
        tables[:, others] = member_stack(own, members, "fresh") if separate else split_kernel(own, members)
    return tables.detach()


def looks_trained(model: nn.Module) -> bool:
    """Whether a norm of the model has running statistics or parameters other than initial ones.

    A model without norms counts as untrained.
    """
    for module in model.modules():
        if not isinstance(module, _NORMS) or any(value.is_meta for value in module.state_dict().values()):
            continue
        batches = getattr(module, "num_batches_tracked", None)
        if batches is not None and bool(batches > 0):
            return True
        weight = module.weight
        # Zero is a common initial scale for the last norm of a residual branch.
        if isinstance(weight, Tensor) and not bool((weight == weight.flatten()[0]).all()):
            return True
    return False


def _centred(stack: Tensor) -> Tensor:
    return stack - stack.mean(dim=0)


def fresh_copy(model: nn.Module) -> nn.Module:
    """Return a copy of a model with new draws of its trainable parameters.

    Args:
        model: the model; not changed.

    Returns:
        The copy, with each parameter drawn by `permuted_init_like`.
    """
    twin = copy_of(model)
    with torch.no_grad():
        for parameter in twin.parameters():
            if parameter.requires_grad:
                parameter.copy_(permuted_init_like(parameter))
        for name, layer in twin.named_modules():
            if isinstance(layer, nn.Embedding | nn.EmbeddingBag) and layer.weight.requires_grad:
                _keep_padding(layer, model.get_parameter(f"{name}.weight".lstrip(".")))
    return twin


def _keep_padding(layer: nn.Embedding | nn.EmbeddingBag, before: Tensor) -> None:
    # The padding row gets no gradient: a value there would never change, and its zeros would move to other rows.
    if layer.padding_idx is None:
        return
    others = torch.arange(len(before), device=before.device) != layer.padding_idx
    layer.weight[others] = permuted_init_like(before[others])
    layer.weight[~others] = before[~others]
