"""Which points a model writes on after they were put out."""

import copy
from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn


def modules_modified_in_place(model: nn.Module, example: Tensor, names: Iterable[str]) -> set[str]:
    """Those of the submodules `names` whose output later layers change in place, in training.

    Whoever else has read such an output cannot be trained: torch keeps it for the backward pass. Found by running a
    copy in training mode; if that fails, as it may on few rows, all of them count.
    """
    names = set(names)
    try:
        twin = copy.deepcopy(model).train()
    except RuntimeError:
        return names
    seen: dict[str, tuple[Tensor, int]] = {}
    for name in names:
        twin.get_submodule(name).register_forward_hook(partial(_note, seen, name))
    devices = [example.device] if example.is_cuda else []
    try:
        with torch.inference_mode(False), torch.enable_grad(), torch.random.fork_rng(devices=devices):
            twin(torch.cat([example, example]).clone())
    except Exception:
        return names
    return {name for name in names if name not in seen or seen[name][0]._version != seen[name][1]}


def _note(seen: dict[str, tuple[Tensor, int]], name: str, _: nn.Module, args: Any, output: Any) -> None:
    if isinstance(output, Tensor):
        seen[name] = output, output._version
