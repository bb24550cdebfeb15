"""Analyse a model by running one batch through it.

A *mixing* layer combines features with a weight matrix (linear, convolution, embedding, attention, a custom layer with
a weight of two or more axes). Norms, activations and pooling are not mixing layers. The input layers are the mixing
layers whose input comes from the model's input without passing another mixing layer. The output layers are those whose
output reaches the model's output without passing another. Both are read from the autograd graph, so functional code
between the modules (flatten, residual sums, normalisation) needs no tracing.
"""

import copy
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.conv import _ConvNd
from torch.nn.parameter import is_lazy
from torch.utils.hooks import RemovableHandle

from motet._internal.copying import stand_in_for
from motet._internal.evaluation_mode import on_trial
from motet._internal.loading import describe_error
from motet._internal.nested import Inputs, NestedInputs, describe, map_inputs, tensors_of
from motet._internal.wording import with_article
from motet.errors import InputError

_ALWAYS_MIXING = (nn.Linear, nn.Bilinear, _ConvNd, nn.Embedding, nn.EmbeddingBag, nn.MultiheadAttention, nn.RNNBase)
_NEVER_MIXING = (_BatchNorm, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm, nn.PReLU)


@final
@dataclass(frozen=True)
class Probe:
    """The result of `probe`. Names are those of ``model.named_modules()``.

    Attributes:
        input_layers: mixing layers that read the model's input, in order of execution.
        output_layers: mixing layers that make the model's output, in order of execution.
        calls: how often each mixing layer ran.
        output: the model's output for the probe batch.
        changes_input: whether the model changes its input in place.
        reads_several: whether several input layers are to be expected: the input is several tensors, or the layers are
            embeddings, which read parts of it.
    """

    input_layers: tuple[str, ...]
    output_layers: tuple[str, ...]
    calls: Counter[str]
    output: Tensor
    changes_input: bool
    reads_several: bool = False


def probe(model: nn.Module, example: Inputs) -> Probe:
    """Run `example` through `model` twice, in evaluation mode. The model is not changed.

    Args:
        model: maps ``(B, ...)`` to ``(B, C)``, or to outputs with positions, such as ``(B, C, H, W)``.
        example: an input batch of one row or more.

    Returns:
        Names of its input and output layers, how often each layer ran, and its output.

    Raises:
        InputError: if the model fails on the example, or does not return one floating-point row per example.
    """
    if any(is_lazy(parameter) for parameter in model.parameters()):
        raise InputError(
            "the model must be initialised",
            got="lazy layers that have not run yet",
            fix="Run it once first: net(x[:1])",
        )
    model = stand_in_for(model)
    mixing = {name: module for name, module in model.named_modules() if is_mixing(module)}
    readers: list[str] = []
    calls: Counter[str] = Counter()

    def read(name: str, inputs: Any) -> None:
        calls[name] += 1
        if any(tensor.requires_grad for tensor in tensors(inputs)) and name not in readers:
            readers.append(name)

    made: list[tuple[str, Tensor]] = []

    def detach_and_record(name: str, tensor: Tensor) -> Tensor:
        leaf = tensor.detach()
        if not leaf.is_floating_point():
            return leaf
        made.append((name, leaf.requires_grad_()))
        return leaf.clone()  # an in-place activation cannot change a leaf

    with torch.inference_mode(False), torch.enable_grad(), on_trial(model), frozen(model):
        watched = watched_copy(example)
        with hooks(mixing, before=read, after=lambda _, tensor: tensor.detach()):
            run_model(model, watched.clone())
        with hooks(mixing, before=lambda *_: None, after=detach_and_record):
            given = example.detach().clone()
            versions = [each._version for each in tensors_of(given)]
            output = run_model(model, given)
            changes_input = versions != [each._version for each in tensors_of(given)]
        makers: list[str] = []
        if output.requires_grad:
            grads = torch.autograd.grad(output.sum(), [leaf for _, leaf in made], allow_unused=True)
            reached = (name for (name, _), grad in zip(made, grads, strict=True) if grad is not None)
            makers = list(dict.fromkeys(reached))
    from motet.surgery.index_readers import index_readers  # it needs the hooks of this module

    tables = index_readers(model, example)
    order = list(calls)
    found = sorted({*readers, *tables}, key=order.index)
    several = isinstance(example, NestedInputs) or set(found) == set(tables)
    return Probe(tuple(found), tuple(makers), calls, output.detach(), changes_input, several)


def watched_copy(example: Inputs) -> Any:
    """Return a copy of the example whose floating-point tensors require gradients."""

    def watched(tensor: Tensor) -> Tensor:
        leaf = tensor.detach().clone()
        return leaf.requires_grad_() if leaf.is_floating_point() or leaf.is_complex() else leaf

    return map_inputs(example, watched)


def run_model(model: nn.Module, example: Inputs) -> Tensor:
    """Return the model's output for the example.

    Raises:
        InputError: if the model fails on it, or does not return one floating-point row per example.
    """
    try:
        output = model(example)
    except Exception as error:
        raise InputError(
            "the model must accept the example batch",
            got=f"an example of {describe(example)}, on which it failed: {describe_error(error)}",
            fix="Pass an example of the shape that the model is used with, as one batch: example=x[:1]",
        ) from error
    if not isinstance(output, Tensor):
        raise InputError(
            "the model must return one tensor of shape (batch, outputs)",
            got=with_article(type(output).__name__),
            fix="Pass output= with the name or position of the logits",
        )
    if output.ndim < 2 or len(output) != len(example) or not output.is_floating_point():
        raise InputError(
            f"the model must return floating-point outputs of shape ({len(example)}, outputs), or with positions, for "
            f"{len(example)} rows",
            got=f"{str(output.dtype).removeprefix('torch.')} of shape {tuple(output.shape)}",
            fix="Pool or flatten its output to one row per example",
        )
    return output


def is_mixing(module: nn.Module) -> bool:
    """Whether the module is a mixing layer: one that combines features with a weight matrix."""
    if isinstance(module, _ALWAYS_MIXING):
        return True
    if isinstance(module, _NEVER_MIXING) or any(True for _ in module.children()):
        return False
    return any(parameter.ndim >= 2 for parameter in module.parameters(recurse=False))


@contextmanager
def frozen(model: nn.Module) -> Iterator[None]:
    """In this context no parameter requires a gradient, so that gradients depend only on the watched tensors."""
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in trainable:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in trainable:
            parameter.requires_grad_(True)


@contextmanager
def hooks(
    modules: dict[str, nn.Module],
    *,
    before: Callable[[str, Any], None],
    after: Callable[[str, Tensor], Tensor],
) -> Iterator[None]:
    """In this context functions are called with the inputs and outputs of modules.

    Args:
        modules: the modules by name.
        before: called with the name and the inputs of a module before it runs.
        after: called with the name and each output tensor; its result replaces the tensor.
    """
    handles: list[RemovableHandle] = []
    # Not functions defined here, because the tests' shape checks would compile new ones for every layer of every probe.
    for name, module in modules.items():
        handles.append(module.register_forward_pre_hook(partial(_on_input, before, name), with_kwargs=True))
        handles.append(module.register_forward_hook(partial(_on_output, after, name)))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _on_input(before: Callable[[str, Any], None], name: str, _: nn.Module, args: Any, kwargs: Any) -> None:
    before(name, (args, kwargs))


def _on_output(after: Callable[[str, Tensor], Tensor], name: str, _: nn.Module, args: Any, output: Any) -> Any:
    return _map_tensors(output, partial(after, name))


def tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, NestedInputs):
        yield from value.tensors
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors(item)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from tensors(item)


def _map_tensors(value: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Return `value` with `change` applied to every tensor in its tuples, lists and dictionaries."""
    if isinstance(value, Tensor):
        return change(value)
    if isinstance(value, dict):
        changed = copy.copy(value)
        for key, item in value.items():
            changed[key] = _map_tensors(item, change)
        return changed
    if isinstance(value, tuple | list):
        items = [_map_tensors(item, change) for item in value]
        return type(value)(*items) if hasattr(value, "_fields") else type(value)(items)
    return value
