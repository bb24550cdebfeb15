"""Notice operations whose number of rows depends on values, such as the routing of a mixture of experts."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

_ROUTING = {"aten::nonzero", "aten::masked_select", "aten::unique", "aten::_unique2", "aten::bincount", "aten::histc"}


class _Noticing(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found = False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None) -> Any:
        name = func._schema.name
        # Routing by sorting moves rows; with as many rows for each expert no shape would show it.
        sorts = name in ("aten::sort", "aten::argsort") and isinstance(args[0], Tensor) and args[0].ndim == 1
        self.found |= name in _ROUTING or sorts or (name == "aten::index" and _has_mask(args[1]))
        return func(*args, **(kwargs or {}))


def _has_mask(indices: Any) -> bool:
    return any(isinstance(each, Tensor) and each.dtype in (torch.bool, torch.uint8) for each in indices)


@contextmanager
def noticing_routed_rows() -> Iterator[_Noticing]:
    """In this context, operations that select or sort rows by their values set the attribute `found` of what it gives.

    A trial with a few rows may pass by chance where the number of rows that a layer reads depends on values.
    """
    with _Noticing() as mode:
        yield mode
