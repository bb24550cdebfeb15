"""Find the points inside a model through which all paths from input to output go."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from motet._internal.copying import stand_in_for
from motet._internal.evaluation_mode import on_trial
from motet._internal.nested import Inputs, tensors_of
from motet.errors import InputError, nearest
from motet.surgery.probe import frozen, is_mixing, run_model, watched_copy


@final
@dataclass(frozen=True)
class Point:
    """The output of a submodule in one pass through the model.

    Attributes:
        name: the submodule's name.
        output: the output's shape, including the batch axis.
        mixing: how many layers that combine features (linear, convolution, embedding, attention; see
            `motet.surgery.probe`) had run by then, including this one.
        is_cut: whether every path from the model's input to its output goes through it.
        aliases: names of the submodules inside that return the same tensor.
    """

    name: str
    output: tuple[int, ...]
    mixing: int
    is_cut: bool
    aliases: tuple[str, ...] = ()


def points(model: nn.Module, example: Inputs) -> list[Point]:
    """Return every submodule that runs once and returns one floating-point tensor, in the order in which they finish.

    If a module's output is that of its last child, there is one point for both, with the outer name.

    Raises:
        InputError: if the model fails on the example, or does not return one floating-point row per example.
    """
    model = stand_in_for(model)
    watch = _Watch()
    modules = {name: module for name, module in model.named_modules() if name}
    handles: list[RemovableHandle] = []
    with torch.inference_mode(False), torch.enable_grad(), on_trial(model), frozen(model):
        given = watched_copy(example)
        sources = [each for each in tensors_of(given) if each.requires_grad]
        watch.sources += sources
        watch.differentiable = len(sources) == len(tensors_of(given))
        for name, module in modules.items():
            handles.append(module.register_forward_hook(partial(_on_output, watch, name, is_mixing(module))))
        try:
            output = run_model(model, given.clone())
        finally:
            for handle in handles:
                handle.remove()
    return watch.points(output)


def cut_points(model: nn.Module, example: Inputs) -> list[Point]:
    """Return the points through which every path from input to output goes.

    Args:
        model: maps ``(B, ...)`` to ``(B, C)``.
        example: an input batch of one row or more.

    Returns:
        The points in the order in which their modules finish.

    Raises:
        InputError: see `points`.
    """
    return [point for point in points(model, example) if point.is_cut]


def check_points(model: nn.Module, example: Inputs, names: Sequence[str], *, argument: str) -> list[Point]:
    """Return the points that the user named, in the order in which they run.

    Args:
        model: the model.
        example: an input batch.
        names: names of submodules.
        argument: the setting with the names, for the error.

    Returns:
        The points, each once.

    Raises:
        InputError: for a name that the model does not have (with the nearest name), a repeated name, a submodule that
            does not run exactly once or returns no tensor, and one that some paths from input to output bypass.
    """
    found = points(model, example)
    by_name = {alias: point for point in found for alias in (point.name, *point.aliases)}
    known = dict(model.named_modules())
    chosen: dict[str, Point] = {}
    for name in names:
        if not name or name not in known:
            raise InputError(
                f"{argument} must name submodules of the model", got=repr(name), fix=nearest(name, known.keys() - {""})
            )
        cuts = [point.name for point in found if point.is_cut]
        if name not in by_name:
            raise InputError(
                f"a module named in {argument} must run once in a forward pass and return one tensor",
                got=f"{name!r}, which does not",
                fix=f"Name another point: {_listed(cuts)}",
            )
        point = by_name[name]
        if not point.is_cut:
            raise InputError(
                f"all paths from the model's input to its output must go through each point in {argument}",
                got=f"{name!r}, which other paths bypass",
                fix=f"Name a point that no path bypasses: {_listed(cuts)}",
            )
        if point.name in chosen:
            raise InputError(f"the points in {argument} must differ", got=f"{name!r} twice", fix="Name each point once")
        chosen[point.name] = point
    return [point for point in found if point.name in chosen]


def after_point(model: nn.Module, example: Inputs, name: str | None) -> set[str]:
    """Return the names of the parameters that are used after the cut point `name`, or in the whole pass.

    Args:
        model: the model.
        example: an input batch.
        name: the name of a cut point; None for the input.
    """
    model = stand_in_for(model)
    trainable = [parameter for parameter in model.parameters() if parameter.requires_grad]
    everything = dict(model.named_parameters())
    with torch.inference_mode(False), torch.enable_grad(), on_trial(model):
        cut = None if name is None else model.get_submodule(name)
        handle = None if cut is None else cut.register_forward_hook(lambda _, args, output: output.detach())
        for parameter in everything.values():
            parameter.requires_grad_(True)
        try:
            output = run_model(model, example.detach().clone())
            reached = (
                torch.autograd.grad(output.sum(), list(everything.values()), allow_unused=True)
                if output.requires_grad
                else [None] * len(everything)
            )
        finally:
            if handle is not None:
                handle.remove()
            for parameter in everything.values():
                parameter.requires_grad_(False)
            for parameter in trainable:
                parameter.requires_grad_(True)
    return {name for name, grad in zip(everything, reached, strict=True) if grad is not None}


@final
class _Watch:
    """What the hooks of one pass collect."""

    def __init__(self) -> None:
        self.sources: list[Tensor] = []
        self.differentiable = False
        self.marks: list[tuple[str, tuple[int, ...], Any, int]] = []
        self.calls: dict[str, int] = {}
        self.mixing = 0

    def points(self, output: Tensor) -> list[Point]:
        """Return the points for the marked nodes of the graph: a mark is a cut if all paths from the output to a source
        use it.
        """
        through, total = _count_paths(output.grad_fn, self.sources)
        found: list[Point] = []
        previous: Any = None
        for name, shape, node, mixing in self.marks:
            if self.calls[name] > 1:
                continue
            point = Point(name, shape, mixing, is_cut=total > 0 and through.get(id(node), 0) == total)
            # Only if one module contains the other: a module that returns its input in evaluation, like dropout, comes
            # after it.
            same = bool(found) and node.next_functions[0][0] is previous
            if same and found[-1].name.startswith(f"{name}."):
                inner = found.pop()
                point = Point(name, point.output, mixing, point.is_cut, (*inner.aliases, inner.name))
            found.append(point)
            previous = node
        return found


def _count_paths(end: Any, sources: Sequence[Tensor]) -> tuple[dict[int, int], int]:
    """Return how many paths lead from the graph's end to a source: through each node, by the node's id, and in
    total.
    """
    # kept alive, because Python may reuse the id of a freed object
    accumulators = [_accumulator(source) for source in sources]
    starts = set(map(id, accumulators))
    order = _topological(end)
    from_end: dict[int, int] = {id(end): 1} if end is not None else {}
    for node in order:
        for child in _children(node):
            from_end[id(child)] = from_end.get(id(child), 0) + from_end.get(id(node), 0)
    to_source: dict[int, int] = {}
    for node in reversed(order):
        to_source[id(node)] = sum(to_source[id(child)] for child in _children(node)) + (id(node) in starts)
    through = {node: paths * to_source.get(node, 0) for node, paths in from_end.items()}
    return through, to_source.get(id(end), 0)


def _children(node: Any) -> list[Any]:
    return [child for child, _ in node.next_functions if child is not None]


def _on_output(watch: _Watch, name: str, mixes: bool, _: nn.Module, args: Any, output: Any) -> Any:
    watch.calls[name] = watch.calls.get(name, 0) + 1
    watch.mixing += mixes
    if not isinstance(output, Tensor) or not output.is_floating_point():
        return output
    if not output.requires_grad:
        if not mixes or watch.differentiable:
            return output
        # Integer inputs (tokens) have no gradient, so the graph begins after the layer that reads them.
        watch.sources.append(output.detach().requires_grad_())
        output = watch.sources[-1]
    mark = output.clone()  # a separate node in the graph, which later in-place operations cannot remove
    watch.marks.append((name, tuple(mark.shape), mark.grad_fn, watch.mixing))
    return mark


def _accumulator(leaf: Tensor) -> Any:
    return leaf.view_as(leaf).grad_fn.next_functions[0][0]  # type: ignore[union-attr]


def _topological(end: Any) -> list[Any]:
    """Return all nodes of the graph, each before the nodes that it depends on."""
    order: list[Any] = []
    seen: set[int] = set()
    stack: list[tuple[Any, bool]] = [(end, False)] if end is not None else []
    while stack:
        node, done = stack.pop()
        if done:
            order.append(node)
            continue
        if id(node) in seen:
            continue
        seen.add(id(node))
        stack.append((node, True))
        stack.extend((child, False) for child, _ in node.next_functions if child is not None)
    return order[::-1]


def _listed(names: Iterable[str], most: int = 12) -> str:
    names = list(names)
    shown = ", ".join(map(repr, names[:most])) or "this model has none"
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")
