"""New initial weights for a model whose initialiser is not known."""

import copy

import torch
from torch import Tensor, nn


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


def fresh_copy(model: nn.Module) -> nn.Module:
    """A copy of `model` whose trainable parameters are drawn anew, each as `fresh_like` does."""
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
