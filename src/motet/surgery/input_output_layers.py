"""Determine a model's input and output layers, or explain why that is not possible."""

from collections.abc import Sequence
from typing import Literal

from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from motet._internal.wording import with_article
from motet.errors import InputError, nearest
from motet.layers import Ordinary
from motet.surgery.convertible_layers import KINDS, reason_not_convertible
from motet.surgery.probe import Probe

LayerNames = str | Sequence[str] | None


def input_layers(model: nn.Module, probed: Probe, first: LayerNames = None) -> list[Ordinary | nn.Embedding]:
    """Return the layers that read the model's input, as named by `first` or found by the probe.

    Args:
        model: the model, from `motet.method.instance_of`.
        probed: what `motet.surgery.probe` found in it.
        first: name or names that the user passed; None for the layers that the probe found.

    Returns:
        Linear or convolution layers, and embeddings, each running once; their weights belong to no other layer.

    Raises:
        InputError: if there is not exactly one layer and `first` is None, or if the layer cannot be replaced. Several
            layers are taken if the input is several tensors, or if they are embeddings, which read parts of it.
    """
    return _settle(model, probed, probed.input_layers, first, argument="first", role="reads the input")


def output_layers(model: nn.Module, probed: Probe, last: LayerNames = None) -> list[Ordinary]:
    """Return the layers that make the model's output, as named by `last` or found by the probe.

    Args:
        model: the model, from `motet.method.instance_of`.
        probed: what `motet.surgery.probe` found in it.
        last: name or names that the user passed; None for the layers that the probe found.

    Returns:
        Linear or convolution layers without groups, each running once; their weights belong to no other layer.

    Raises:
        InputError: if there is not exactly one layer and `last` is None, or if the layer cannot be replaced.
    """
    layers: list[Ordinary] = []
    for layer in _settle(model, probed, probed.output_layers, last, argument="last", role="makes the output"):
        assert not isinstance(layer, nn.Embedding)
        layers.append(layer)
        if not isinstance(layer, nn.Linear) and layer.groups != 1:
            raise InputError(
                "an output convolution must not be grouped",
                got=f"groups={layer.groups}",
                fix="Name another layer with last=, or end the model in a Linear layer",
            )
    return layers


def _settle(
    model: nn.Module,
    probed: Probe,
    found: tuple[str, ...],
    named: LayerNames,
    *,
    argument: Literal["first", "last"],
    role: str,
) -> list[Ordinary | nn.Embedding]:
    several = argument == "first" and probed.reads_several and len(found) > 1
    if named is None and len(found) != 1 and not several:
        if (argument == "first" and found == ()) or not _usable(model, found or tuple(probed.calls), argument):
            raise _no_candidate(model, probed, found, argument, role)
        ran = ", ".join(map(repr, found or probed.calls)) or "none"
        choice = repr(found[0]) if found else "'NAME'"
        everything = f", or {argument}={found} to replace all of them" if found else ""
        raise InputError(
            f"there must be exactly one layer that {role}",
            got=f"{len(found)} candidates{'' if found else ' among the layers that ran'}: {ran}",
            fix=f"Name it with {argument}={choice}{everything}",
        )
    names = list(found) if named is None else [named] if isinstance(named, str) else list(named)
    modules = dict(model.named_modules(remove_duplicate=False))
    return [_replaceable(model, name, modules, probed, argument) for name in names]


def _replaceable(
    model: nn.Module, name: str, modules: dict[str, nn.Module], probed: Probe, argument: Literal["first", "last"]
) -> Ordinary | nn.Embedding:
    if name not in modules:
        raise InputError(
            f"{argument} must name a layer of the model",
            got=f"{argument}={name!r}",
            fix=nearest(name, (known for known, module in modules.items() if isinstance(module, KINDS))),
        )
    layer = modules[name]
    if (reason := _reason(layer, argument)) is not None:
        raise InputError(
            f"the {'input' if argument == 'first' else 'output'} layer must be an ordinary Linear, Conv1d, Conv2d or "
            f"Conv3d{', or an Embedding' if argument == 'first' else ''}",
            got=f"{name!r}, {with_article(type(layer).__name__)}{reason}",
            fix=_alternative(model, probed, argument),
        )
    calls = sum(probed.calls[known] for known, module in modules.items() if module is layer)
    if calls != 1:
        raise InputError(
            "a layer that is replaced must run once in a forward pass",
            got=f"{name!r}, which ran {calls} times",
            fix=f"Name another layer with {argument}=, or give each use its own layer",
        )
    assert isinstance(layer, (*KINDS, nn.Embedding))
    owners = [other for other, module in modules.items() if module is not layer and probed.calls[other]
              and any(parameter is layer.weight for parameter in module.parameters(recurse=False))]  # fmt: skip
    if owners:
        raise InputError(
            "a layer that is replaced must not share its weight",
            got=f"{name!r}, which shares it with {', '.join(map(repr, owners))}",
            fix=f"Untie the weights, or name another layer with {argument}=",
        )
    return layer


def _reason(layer: nn.Module, argument: str) -> str | None:
    """Return why a layer cannot get inputs or outputs for the members; None if it can."""
    if argument == "first" and isinstance(layer, nn.Embedding):
        if type(layer).forward is not nn.Embedding.forward or is_parametrized(layer):
            return " with its own forward or a computed weight"
        if layer.max_norm is not None:
            return " with max_norm, which changes its table in each pass"
        return " with hooks" if layer._forward_hooks or layer._forward_pre_hooks else None
    return reason_not_convertible(layer) if isinstance(layer, KINDS) else ""


def _usable(model: nn.Module, names: Sequence[str], argument: str) -> list[str]:
    """Return the layers among `names` that can be replaced."""
    return [name for name in names if _reason(model.get_submodule(name), argument) is None]


def _alternative(model: nn.Module, probed: Probe, argument: str) -> str:
    """Return what a user can do whose input or output layer cannot be replaced."""
    others = _usable(model, probed.input_layers if argument == "first" else probed.output_layers, argument)
    if others:
        return f"Name another layer: {argument}={others[0]!r}"
    if argument == "first":
        return (
            "Put a Linear layer (or a convolution) in front of it, which reads the input, or use a method that needs "
            "no input layer: BatchEnsemble, MixtureEnsembles, Multihead, DeepEnsemble"
        )
    return "End the model in a Linear layer, or use a method that keeps the output layer: DeepEnsemble, BatchEnsemble"


def _no_candidate(model: nn.Module, probed: Probe, found: tuple[str, ...], argument: str, role: str) -> InputError:
    kinds = [f"{name!r}, {with_article(type(model.get_submodule(name)).__name__)}" for name in found]
    return InputError(
        f"there must be a Linear layer, a convolution{' or an embedding' if argument == 'first' else ''} that {role}",
        got=" and ".join(kinds) if kinds else "a model in which no such layer does",
        fix=_alternative(model, probed, argument),
    )
