"""Features at points inside a model: their axis, where exits go by default, and what is changed in place."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, final

import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from motet._internal.copying import copy_of, stand_in_for
from motet._internal.evaluation_mode import on_trial
from motet._internal.nested import Inputs, joined
from motet.errors import InputError
from motet.surgery.cut_points import Point
from motet.surgery.probe import is_mixing, run_model

FeatureAxis = Literal[1, -1]
_FEATURES_LAST = (nn.Linear, nn.Bilinear, nn.Embedding, nn.MultiheadAttention, nn.RNNBase)


@final
@dataclass(frozen=True)
class Features:
    """The features at a point.

    Attributes:
        point: the point.
        axis: the axis that holds the features: 1 (channels first) or -1 (last).
        width: the number of features.
    """

    point: Point
    axis: FeatureAxis
    width: int

    @property
    def positions(self) -> int:
        """The number of pixels, or of steps of a sequence; 1 for vectors."""
        return math.prod(self.point.output[1:]) // self.width


@final
@dataclass(frozen=True)
class MixingCall:
    """One run of a mixing layer: its name, the axis that it mixes (if known), its input and its output."""

    name: str
    axis: FeatureAxis | None
    read: tuple[int, ...]
    output: tuple[int, ...]


def mixing_calls(model: nn.Module, example: Inputs) -> list[MixingCall]:
    """Return every run of a mixing layer in one pass, in the order in which `motet.surgery.cut_points` counts them."""
    calls: list[MixingCall] = []
    model = stand_in_for(model)
    with torch.inference_mode(False), torch.enable_grad(), on_trial(model):
        handles = [
            module.register_forward_hook(partial(_note, calls, name))
            for name, module in model.named_modules()
            if is_mixing(module)
        ]
        try:
            run_model(model, example.detach().clone())
        finally:
            for handle in handles:
                handle.remove()
    return calls


def features_at(point: Point, calls: list[MixingCall], *, rows: int) -> Features | None:
    """Return the features at `point`, or None if it is unknown which axis holds them.

    Args:
        point: the point, after at least one mixing layer.
        calls: the runs of the mixing layers in the same pass.
        rows: the number of rows of the example. An output with another first axis has no features.
    """
    shape = point.output
    if len(shape) < 2 or shape[0] != rows or 0 in shape or not point.mixing:
        return None
    axis = -1 if len(shape) == 2 else _axis(point, calls)
    if axis is None or (axis == 1 and len(shape) > 5):
        return None
    return Features(point, axis, shape[axis])


def _axis(point: Point, calls: list[MixingCall]) -> FeatureAxis | None:
    """Return the axis of the features, from the mixing layers before and after the point; None if they do not determine
    it.
    """
    shape, before = point.output, calls[point.mixing - 1]
    if before.axis is not None and before.output == shape:
        return before.axis
    if point.mixing < len(calls):
        after = calls[point.mixing]
        if after.axis is not None and after.read == shape:
            return after.axis
    if before.axis is None or not before.output:
        return None
    # The axis as wide as the previous layer's features, if there is only one.
    axes: list[FeatureAxis] = [1, -1]
    fitting = [axis for axis in axes if shape[axis] == before.output[before.axis]]
    return fitting[0] if len(fitting) == 1 else None


def default_exits(found: list[Features], layers: int, *, shares: Sequence[float] = (1 / 2, 3 / 4)) -> list[Features]:
    """Return the points at which a model gets exits by default: one after 1/2 and one after 3/4 of its layers.

    Exits after fewer layers predict much worse than the model, and so does an average with equal weights over them
    (`benchmarks/default_exits.py`). Layers are the mixing layers before the output layer. Of the points between two
    shares, the one that is nested least is taken, so the end of a stage rather than a point in one of its blocks; of
    several such points the first; and of those between the same two layers the last, so after a pooling layer, but not
    after one that flattens or that leaves one position, because a batch norm needs more of one example. Points after
    all layers are used only if no other point is after half of them, and points after fewer layers only if there is
    none.

    Args:
        found: the features at the model's cut points before its output layer, in order.
        layers: the number of mixing layers, including the output layer.
        shares: the shares of the layers that an exit must be after, in order.
    """
    first: dict[int, Features] = {}
    for each in found:
        first.setdefault(each.point.mixing, each)
    found = [each for each in found if _is_alike(each, first[each.point.mixing])]
    places = [(each.point.mixing / (layers - 1), -each.point.name.count("."), each) for each in found]
    chosen = []
    for share, end in zip(shares, (*shares[1:], 1), strict=True):
        between = [(nested, -at, index) for index, (at, nested, _) in enumerate(places) if share <= at < end]
        chosen += [found[max(between)[2]]] if between else []
    return chosen or found[-1:]


def _is_alike(features: Features, first: Features) -> bool:
    """Whether the features still have the first ones' width, and more than one position if those have."""
    return features.width == first.width and (features.positions > 1 or first.positions == 1)


def unknown_axis(point: Point) -> InputError:
    """Return the error for a point whose features cannot be read."""
    return InputError(
        "an exit needs features (batch, channels, ...) or (batch, ..., features) made by a layer before it",
        got=f"{point.name!r}, whose output has shape {point.output}; it is unclear which axis holds the features",
        fix="Name another point in exits",
    )


def _note(calls: list[MixingCall], name: str, module: nn.Module, args: Any, output: Any) -> None:
    output = output[0] if isinstance(output, tuple) and output else output
    read = args[0] if args else None
    axis: FeatureAxis | None = None
    if isinstance(module, _ConvNd):
        axis = 1
    elif not isinstance(module, nn.MultiheadAttention | nn.RNNBase) or module.batch_first:
        axis = -1 if isinstance(module, _FEATURES_LAST) else None
    calls.append(MixingCall(name, axis, _shape(read), _shape(output)))


def _shape(value: Any) -> tuple[int, ...]:
    return tuple(value.shape) if isinstance(value, Tensor) else ()


def modules_modified_in_place(model: nn.Module, example: Inputs, names: Iterable[str]) -> set[str]:
    """Return the submodules among `names` whose output later layers change in place, in training.

    If another branch also reads such an output, autograd raises an in-place modification error. A copy of the model is
    run in training mode to find them. If that fails, which may happen with few rows, all names are returned.

    Args:
        model: the model; not changed.
        example: an input batch.
        names: names of submodules.
    """
    names = set(names)
    try:
        twin = copy_of(model).train()
    except RuntimeError:
        return names
    seen: dict[str, tuple[Tensor, int]] = {}
    for name in names:
        twin.get_submodule(name).register_forward_hook(partial(_note_version, seen, name))
    devices = [example.device] if example.is_cuda else []
    try:
        with torch.inference_mode(False), torch.enable_grad(), torch.random.fork_rng(devices=devices):
            twin(joined([example, example]).clone())
    except Exception:
        return names
    return {name for name in names if name not in seen or seen[name][0]._version != seen[name][1]}


def _note_version(seen: dict[str, tuple[Tensor, int]], name: str, _: nn.Module, args: Any, output: Any) -> None:
    if isinstance(output, Tensor):
        seen[name] = output, output._version
