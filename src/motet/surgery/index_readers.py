"""Find the embeddings that read a model's integers, such as token ids."""

from typing import Any

import torch
from torch import Tensor, nn

from motet._internal.copying import stand_in_for
from motet._internal.evaluation_mode import on_trial
from motet._internal.nested import Inputs, map_inputs, tensors_of
from motet.surgery.probe import hooks, tensors


def index_readers(model: nn.Module, example: Inputs) -> list[str]:
    """Return the names of embeddings that read integers of the example, in order of execution.

    An embedding reads them if its indices are an input, or a part of one, or if they change when the values of a row
    change places. Positions, which depend only on the number of tokens, and a padding mask are neither.

    Args:
        model: the model; not changed.
        example: an input batch.
    """
    whole = [each for each in tensors_of(example) if not each.is_floating_point() and not each.is_complex()]
    names = [name for name, part in model.named_modules() if isinstance(part, nn.Embedding | nn.EmbeddingBag)]
    if not whole or not names:
        return []
    model = stand_in_for(model)
    tables = {name: model.get_submodule(name) for name in names}
    given = example.detach().clone()
    before, direct = _indices(model, given, tables)
    try:
        after, _ = _indices(model, map_inputs(given, _moved), tables)
    except Exception:  # values in other places may be too large for a column's table
        return [name for name in before if name in direct]
    return [name for name in before if name in direct or not _same(before[name], after.get(name))]


def _indices(model: nn.Module, given: Inputs, tables: dict[str, nn.Module]) -> tuple[dict[str, list[Tensor]], set[str]]:
    storages = {each.untyped_storage()._cdata for each in tensors_of(given) if not each.is_meta}
    read: dict[str, list[Tensor]] = {}
    direct: set[str] = set()

    def note(name: str, inputs: Any) -> None:
        index = next(tensors(inputs))
        read.setdefault(name, []).append(index.detach().clone())
        if not index.is_meta and index.untyped_storage()._cdata in storages:
            direct.add(name)

    devices = [given.device] if given.is_cuda else []
    watched = hooks(tables, before=note, after=lambda _, tensor: tensor)
    with torch.random.fork_rng(devices=devices), torch.no_grad(), on_trial(model), watched:
        model(given)
    return read, direct


def _moved(tensor: Tensor) -> Tensor:
    """Return integers of which those that are no padding have changed places within each row."""
    if tensor.is_floating_point() or tensor.dtype == torch.bool or tensor.ndim < 2 or tensor.is_meta:
        return tensor
    rows = tensor.clone()
    for row in rows.flatten(1):
        kept = torch.ones_like(row, dtype=torch.bool)
        for end, next_to_it in ((0, 1), (-1, -2)):
            if len(row) > 1 and row[end] == row[next_to_it]:
                kept &= row != row[end]
        row[kept] = row[kept].flip(0)
    return rows


def _same(one: list[Tensor], other: list[Tensor] | None) -> bool:
    return other is not None and len(one) == len(other) and all(map(torch.equal, one, other))
