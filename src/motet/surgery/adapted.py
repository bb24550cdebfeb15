"""Models that read several tensors, or return more than one tensor, as models of one input and one output.

Hooks on the model itself do this, so that the names of its modules and parameters stay the same.
"""

import copy
from collections import OrderedDict
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, final

import torch
from torch import Tensor, nn

from motet._internal.copying import stand_in_for
from motet._internal.evaluation_mode import on_trial
from motet._internal.loading import describe_error
from motet._internal.nested import Inputs, NestedInputs, describe
from motet._internal.wording import with_article
from motet.errors import InputError

Output = str | int | Callable[[Any], Tensor] | None
"""Which part of a model's output is the tensor of its natural parameters: a name, a position, or a function."""


@final
class UnpackedInput:
    """A forward pre-hook that calls the model as its author did: ``model(*tuple)`` or ``model(**dictionary)``."""

    def __call__(self, _: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Return the arguments of the model's own forward pass."""
        if len(args) == 1 and not kwargs and isinstance(args[0], NestedInputs):
            value = args[0].value
            return ((), value) if isinstance(value, Mapping) else (tuple(value), {})
        return args, kwargs


@final
class PickedOutput:
    """A forward hook that returns one tensor of the model's output.

    Args:
        output: see `Output`; if None, the entry called ``logits``, or the only floating-point tensor.
    """

    def __init__(self, output: Output = None) -> None:
        self.output = output

    def __call__(self, _: nn.Module, args: Any, output: Any) -> Tensor:
        """Return the tensor.

        Raises:
            InputError: if there is no such tensor, or if there are several and none was named.
        """
        found = self._found(output)
        if not isinstance(found, Tensor):
            raise InputError(
                "the model's output must be one tensor",
                got=f"{with_article(type(found).__name__)} from output={self.output!r}",
                fix=f"Pass output= with the name of a tensor, or a function that returns one. {_choice(output)}",
            )
        return found

    def _found(self, output: Any) -> Any:
        if callable(self.output):
            return self.output(output)
        if self.output is None:
            return _only_tensor(output)
        entries = _entries(output)
        if isinstance(self.output, int) and not isinstance(output, Tensor):
            named = list(entries.values())
            if -len(named) <= self.output < len(named):
                return named[self.output]
        elif self.output in entries:
            return entries[self.output]
        elif isinstance(self.output, str) and not isinstance(output, Tensor) and hasattr(output, self.output):
            return getattr(output, self.output)
        raise InputError(
            "output must name a part of what the model returns",
            got=f"output={self.output!r}, and a model that returns {_described(output)}",
            fix="Leave output out" if isinstance(output, Tensor) else _choice(output),
        )


def adapted(model: Any, example: Inputs, output: Output) -> Any:
    """Return a model of one input and one output tensor: the model itself if it is one.

    Args:
        model: a module, or a function that makes one.
        example: an example of its input.
        output: see `Output`.

    Returns:
        The same, or a shallow copy with hooks; or a function that adds the hooks to what the given function makes.

    Raises:
        InputError: if the model fails on the example, or if it is not clear which tensor is its output.
    """
    if isinstance(model, nn.Module):
        picks = _must_pick(model, example, output)
        return _with_hooks(_shallow(model), example, output, picks) if _changes(example, picks) else model
    known: list[bool] = []

    @wraps(model)
    def made() -> Any:
        own = model()
        if not isinstance(own, nn.Module):
            return own  # refused by the caller
        if not known:
            known.append(_must_pick(own, example, output))
        return _with_hooks(own, example, output, known[0]) if _changes(example, known[0]) else own

    return made


def _changes(example: Inputs, picks: bool) -> bool:
    return picks or isinstance(example, NestedInputs)


def _with_hooks(model: nn.Module, example: Inputs, output: Output, picks: bool) -> nn.Module:
    if isinstance(example, NestedInputs):
        model.register_forward_pre_hook(UnpackedInput(), with_kwargs=True)
    if picks:
        model.register_forward_hook(PickedOutput(output))
    return model


def _shallow(model: nn.Module) -> nn.Module:
    """Return a copy that shares everything with the model but its hooks. It is copied in full before it is changed."""
    twin = copy.copy(model)
    for name in (
        "_forward_pre_hooks",
        "_forward_pre_hooks_with_kwargs",
        "_forward_hooks",
        "_forward_hooks_with_kwargs",
    ):
        twin.__dict__[name] = OrderedDict(model.__dict__[name])
    return twin


def _must_pick(model: nn.Module, example: Inputs, output: Output) -> bool:
    """Whether the model returns more than a tensor. It runs once, in evaluation mode."""
    if output is not None:
        return True
    stand_in = stand_in_for(model)
    devices = [example.device] if example.is_cuda else []
    with torch.random.fork_rng(devices=devices), torch.no_grad(), on_trial(stand_in):
        try:
            given = example.clone()
            returned = UnpackedInput()(stand_in, (given,), {})
            found = stand_in(*returned[0], **returned[1])
        except InputError:
            raise
        except Exception as error:
            raise InputError(
                "the model must accept the example batch",
                got=f"an example of {describe(example)}, on which it failed: {describe_error(error)}",
                fix=_called(example),
            ) from error
    if not isinstance(found, Tensor):
        PickedOutput()(stand_in, None, found)  # raises if it cannot be told
        return True
    return False


def _called(example: Inputs) -> str:
    if not isinstance(example, NestedInputs):
        return "Pass an example of the shape that the model is used with, as one batch: example=x[:1]"
    if isinstance(example.value, Mapping):
        return "A dictionary is passed as model(**example): check that its keys are the names of forward's arguments"
    return "A tuple is passed as model(*example): check the order of forward's arguments"


def _entries(output: Any) -> dict[Any, Any]:
    if isinstance(output, Mapping):
        return dict(output)
    if hasattr(output, "_fields"):
        return dict(zip(output._fields, output, strict=True))
    if isinstance(output, tuple | list):
        return dict(enumerate(output))
    return (
        {name: value for name, value in vars(output).items() if value is not None}
        if hasattr(output, "__dict__")
        else {}
    )


def _only_tensor(output: Any) -> Any:
    if isinstance(output, Tensor):
        return output
    entries = _entries(output)
    if isinstance(entries.get("logits"), Tensor):
        return entries["logits"]
    tensors = [each for each in entries.values() if isinstance(each, Tensor) and each.is_floating_point()]
    if len(tensors) == 1:
        return tensors[0]
    if not entries:
        raise InputError(
            "the model must return a tensor, or tensors in a tuple or dictionary",
            got=with_article(type(output).__name__),
            fix="Return the logits from its forward, or pass output= with a function that takes them out of what it "
            "returns",
        )
    raise InputError(
        "an ensemble has one output for each member, with one likelihood",
        got=f"a model that returns {_described(output)}",
        fix=f"{_choice(output)}. For several heads, wrap the model once for each, or join them in one tensor",
    )


def _described(output: Any) -> str:
    if isinstance(output, Tensor):
        return f"a tensor of shape {tuple(output.shape)}"
    parts = (
        f"{key}: {tuple(value.shape)}" if isinstance(value, Tensor) else f"{key}: {type(value).__name__}"
        for key, value in _entries(output).items()
    )
    return f"{with_article(type(output).__name__)} with {', '.join(parts) or 'nothing'}"


def _choice(output: Any) -> str:
    names = [key for key, value in _entries(output).items() if isinstance(value, Tensor) and value.is_floating_point()]
    return f"Pass output={names[0]!r}" + "".join(f" or {name!r}" for name in names[1:]) if names else "Return a tensor"
