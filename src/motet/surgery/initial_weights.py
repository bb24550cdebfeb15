"""Initial weights for the members: drawn anew for a model that has not been trained, or near those of one that has."""

import copy
import math
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

Init = Literal["fresh", "keep"]
"""Whether members draw initial weights of their own, or start from the model's."""

_NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
# Of the weights' own spread: small enough to keep what a trained model knows, large enough that members part.
_NUDGE = 0.1


@torch.no_grad()
def fresh_like(tensor: Tensor) -> Tensor:
    """Another draw from the distribution that initialised `tensor`: its entries in random order.

    For entries drawn independently from one distribution, a random permutation of them has that same distribution,
    whichever it is, and constants (zero biases, norm scales of one) stay what they are. Calling the modules'
    `reset_parameters` instead would silently replace the initialisation that many models set in their
    constructors, and would miss parameters that belong to no standard layer (class tokens, position embeddings).
    """
    order = torch.randperm(tensor.numel()).to(tensor.device)
    return tensor.flatten()[order].view_as(tensor)


def fresh_stack(tensor: Tensor, members: int) -> Tensor:
    """`tensor` and ``members - 1`` more draws like it, ``(M, *tensor.shape)``. Not connected to the graph."""
    tensor = tensor.detach()
    return torch.stack([tensor, *(fresh_like(tensor) for _ in range(members - 1))])


def member_stack(tensor: Tensor, members: int, init: Init) -> Tensor:
    """Initial weights of M members for one tensor of the model.

    Args:
        tensor: a parameter of the model.
        members: M.
        init: `motet.method.Given.init`.

    Returns:
        ``(M, *tensor.shape)``, not connected to the graph.

    ``"fresh"``: see `fresh_stack`. ``"keep"``: the tensor plus a tenth of `fresh_like` draws, which add up to zero over
    the members: their mean is the tensor, and so is that of whatever is linear in it (the logits of M heads).
    """
    stack = fresh_stack(tensor, members)
    return stack if init == "fresh" else tensor.detach() + _NUDGE * _centred(stack)


@torch.no_grad()
def head_stack(weight: Tensor, members: int, init: Init) -> Tensor:
    """Initial weights of M output layers on the same features, which differ in any case.

    Args:
        weight: of the model's output layer.
        members: M.
        init: `motet.method.Given.init`.

    Returns:
        ``(M, *weight.shape)``, not connected to the graph.

    As `member_stack`; but heads that all start from one constant (zeros, in torchvision's vision transformers) would
    get the same gradients from the same batch, and stay one head for ever. They start a tenth of torch's own uniform
    initialisation away from it, and their mean is still the model's.
    """
    stack = member_stack(weight, members, init)
    if members == 1 or weight.is_meta or bool((weight != weight.flatten()[0]).any()):
        return stack
    bound = _NUDGE / math.sqrt(weight[0].numel())
    noise = torch.empty(stack.shape, dtype=stack.dtype).uniform_(-bound, bound)  # one stream of numbers on any device
    return stack + _centred(noise.to(stack.device))


def split_kernel(weight: Tensor, members: int) -> Tensor:
    """Initial kernels for M inputs from a layer's weight for one; they add up to `weight`.

    Args:
        weight: of the layer that reads the model's input.
        members: M.

    Returns:
        ``(M, *weight.shape)``, not connected to the graph.

    So an input that goes to all members gives what the layer gave before, and a trained model stays trained. Each
    kernel is ``W / M + (G_m - mean G) / sqrt(M)`` with `fresh_like` draws G. For independent Gaussian entries this is
    M independent draws with 1 / sqrt(M) of W's standard deviation, given their sum: what one layer over M inputs is
    initialised with, its fan-in being M times as large [uncertainty-baselines, wide_resnet_mimo.py].
    """
    draws = torch.stack([fresh_like(weight.detach()) for _ in range(members)])
    return weight.detach() / members + _centred(draws) / math.sqrt(members)


def looks_trained(model: nn.Module) -> bool:
    """Whether a norm of the model has seen data or moved from where norms start.

    A model without norms cannot show it, and counts as not trained.
    """
    for module in model.modules():
        if not isinstance(module, _NORMS) or any(value.is_meta for value in module.state_dict().values()):
            continue
        batches = getattr(module, "num_batches_tracked", None)
        if batches is not None and bool(batches > 0):
            return True
        weight = module.weight
        # Zeros are a common start for the last norm of a residual branch.
        if isinstance(weight, Tensor) and not bool((weight == weight.flatten()[0]).all()):
            return True
    return False


def _centred(stack: Tensor) -> Tensor:
    return stack - stack.mean(dim=0)


def fresh_copy(model: nn.Module) -> nn.Module:
    """A copy of a model whose trainable parameters are drawn anew.

    Args:
        model: the model, which stays as it is.

    Returns:
        The copy, each parameter drawn as `fresh_like` does.
    """
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in twin.parameters():
            if parameter.requires_grad:
                parameter.copy_(fresh_like(parameter))
        for name, layer in twin.named_modules():
            if isinstance(layer, nn.Embedding | nn.EmbeddingBag) and layer.weight.requires_grad:
                _keep_padding(layer, model.get_parameter(f"{name}.weight".lstrip(".")))
    return twin


def _keep_padding(layer: nn.Embedding | nn.EmbeddingBag, before: Tensor) -> None:
    # The padding row gets no gradient: what stood in it would stay for ever, and its zeros would be in other rows.
    if layer.padding_idx is None:
        return
    others = torch.arange(len(before), device=before.device) != layer.padding_idx
    layer.weight[others] = fresh_like(before[others])
    layer.weight[~others] = before[~others]
