"""What a model's recurrent layers read: sequences with a batch axis, and on which axis."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from motet._internal.copying import stand_in_for
from motet._internal.evaluation_mode import evaluating
from motet._internal.nested import Inputs
from motet.layers import RECURRENT
from motet.surgery.probe import hooks


def without_packed(
    model: nn.Module, example: Inputs, layers: Mapping[str, nn.Module]
) -> tuple[dict[str, nn.Module], dict[str, str]]:
    """Leave out recurrent layers that read packed sequences, and return the reasons.

    The steps of a ``PackedSequence`` are sorted by length and interleaved, so that no axis holds its rows.

    Args:
        model: maps ``(B, ...)`` to ``(B, C)``.
        example: an input batch.
        layers: layers of the model by name.

    Returns:
        The other layers, and the reasons by the names of those left out.
    """
    if not any(isinstance(layer, RECURRENT) for layer in layers.values()):
        return dict(layers), {}
    packed: set[str] = set()

    def note(name: str, inputs: Any) -> None:
        args, kwargs = inputs
        if any(isinstance(value, PackedSequence) for value in (*args, *kwargs.values())):
            packed.add(name)

    twin = stand_in_for(model)
    own = {name: twin.get_submodule(name) for name, layer in layers.items() if isinstance(layer, RECURRENT)}
    with torch.no_grad(), evaluating(twin), hooks(own, before=note, after=_unchanged):
        twin(example.detach().clone())
    reasons = {
        name: f"{type(layers[name]).__name__} that reads a PackedSequence, whose rows are interleaved"
        for name in layers
        if name in packed
    }
    return {name: layer for name, layer in layers.items() if name not in packed}, reasons


def _unchanged(_: str, tensor: Tensor) -> Tensor:
    return tensor


def batch_axes(layers: Mapping[str, nn.Module]) -> dict[str, int]:
    """Return the axis of the rows in the input of every recurrent layer, by name."""
    return {name: 0 if layer.batch_first else 1 for name, layer in layers.items() if isinstance(layer, RECURRENT)}
