"""Copy modules that keep tensors of an earlier pass, such as features or caches."""

import copy
from typing import Any, TypeVar

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

T = TypeVar("T")
Module = TypeVar("Module", bound=nn.Module)


class _WithoutGraphs(TorchFunctionMode):
    """In this context, a copy of a tensor with a gradient history is one without: torch refuses to copy the history."""

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is Tensor.__deepcopy__ and not args[0].is_leaf:
            tensor, memo = args
            if id(tensor) not in memo:
                memo[id(tensor)] = tensor.detach().clone()
            return memo[id(tensor)]
        return func(*args, **(kwargs or {}))


def copy_of(whole: T, memo: dict[int, Any] | None = None) -> T:
    """Return a deep copy, like `copy.deepcopy`, also of modules that keep tensors with a gradient history.

    Args:
        whole: a module, or any other object.
        memo: copies by the ``id`` of the original. What is in it is not copied again.

    Raises:
        RuntimeError, TypeError: for an object that cannot be copied.
    """
    with _WithoutGraphs():
        return copy.deepcopy(whole, memo)


class CopiedModule(nn.Module):
    """A module for which `copy.deepcopy` does the same as `copy_of`."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        nn.Module.__setstate__(twin, copy_of(self.__dict__, memo))
        return twin


def stand_in_for(module: Module) -> Module:
    """Return a copy to run instead of `module`, so that a trial changes nothing: no cache, no counter, no statistics.

    Args:
        module: the module.

    Returns:
        A copy with the same parameters, but with its own buffers and other attributes; the module itself if it has
        attributes that cannot be copied.
    """
    try:
        return copy_of(module, {id(each): each for each in module.parameters()})
    except Exception:  # __deepcopy__ of the user's classes may raise anything
        return module
