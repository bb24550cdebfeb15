"""Exits at points inside a model: what EarlyExit, DUN and MIMMO have in common."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor, nn

from motet.errors import InputError
from motet.layers import Adapter, DepthWeights, Exits, Ordinary
from motet.method import Given
from motet.surgery import (
    Features,
    Point,
    Probe,
    check_points,
    cut_points,
    default_exits,
    features_at,
    mixing_calls,
    modules_modified_in_place,
    output_layers,
    unknown_axis,
)
from motet.surgery.features import MixingCall

Points = tuple[str, ...] | None
Head = Callable[[int, int, Features, Ordinary], nn.Module]
"""Makes the head of exit i of D, for the features there, in a model with that output layer."""


@final
@dataclass(frozen=True, kw_only=True)
class ExitPlan:
    """Where a model gets exits, and what their heads lead to.

    Attributes:
        features: at the points, in the order in which they run; none where the model is left with its own output.
        output: name of the model's output layer; None without exits.
        layer: that layer.
        written: names of the points that the model writes on later.
    """

    features: tuple[Features, ...] = ()
    output: str | None = None
    layer: Ordinary | None = None
    written: frozenset[str] = frozenset()

    @property
    def depths(self) -> int:
        """D."""
        return len(self.features) + 1

    def exits(
        self,
        network: nn.Module,
        given: Given,
        *,
        members: int,
        learned: bool,
        head: Head | None = None,
        skip_below: float = 0.0,
    ) -> Exits:
        """`network` with heads at the points: adapters to the output layer, shared by all depths, or `head`'s."""
        make, shared = (adapter, self.output) if head is None else (head, None)
        heads: list[nn.Module] = []
        for depth, features in enumerate(self.features, start=1):
            assert self.layer is not None
            heads.append(make(depth, self.depths, features, self.layer))
        like = next((value for value in network.parameters() if value.is_floating_point()), given.example)
        # At least single precision: logits are learned in small steps.
        dtype = torch.promote_types(like.dtype, torch.float32) if like.is_floating_point() else torch.float32
        weights = DepthWeights(members, self.depths, learned=learned, device=like.device, dtype=dtype)
        points = [features.point.name for features in self.features]
        return Exits(
            network, points, heads, weights,
            likelihood=given.likelihood, output=shared, skip_below=skip_below, written=self.written,
        )  # fmt: skip


def exempt_with_exits(exits: Points) -> Mapping[str, str]:
    """What a method with such exits is exempt from, see `Method.exempt_from`."""
    return {} if exits == () else {"one_member_is_the_single_network": "with exits a member is more than the network"}


def plan_exits(model: nn.Module, given: Given, probed: Probe, exits: Points) -> ExitPlan:
    """The exits of `model`: at the points that the user named, or at those that `default_exits` finds.

    Args:
        model: from `motet.method.instance_of`.
        given: what the conversion is given.
        probed: what `motet.surgery.probe` found of the model.
        exits: names of points; None to find them, ``()`` for none.

    Returns:
        The plan; its `ExitPlan.exits` makes the network.

    Raises:
        InputError: for names that are not of points between the input and the output layer that all paths go through,
            for features that an exit cannot read, for an output layer that exits cannot share, and if nothing was
            named and the model has no such point.
    """
    if exits == ():
        return ExitPlan()
    layer = _output_layer(model, given, probed)
    output = next(name for name, module in model.named_modules() if module is layer)
    example = torch.cat([given.example, given.example])  # two rows tell a batch axis from an axis of length 1
    calls = mixing_calls(model, example)
    between = _behind_input(model, probed, calls, layer)
    if exits is None:
        chosen = _found(model, example, calls, between)
    else:
        chosen = [
            _named(point, calls, between, rows=len(example))
            for point in check_points(model, example, exits, argument="exits")
        ]
    written = modules_modified_in_place(model, given.example, [features.point.name for features in chosen])
    return ExitPlan(features=tuple(chosen), output=output, layer=layer, written=frozenset(written))


def _output_layer(model: nn.Module, given: Given, probed: Probe) -> Ordinary:
    """The model's only output layer."""
    layers = output_layers(model, probed, given.last)
    if len(layers) != 1:
        raise InputError(
            "exits need a model with one output layer, which they lead to",
            got=f"{len(layers)} of them",
            fix="Pass exits=() for a model with its own output alone",
        )
    _check_layer(layers[0])
    return layers[0]


def _behind_input(model: nn.Module, probed: Probe, calls: list[MixingCall], layer: Ordinary) -> range:
    """How many runs of mixing layers lie before a point behind the input layers and before the output layer."""
    # Whole numbers have no gradient to find their reader by: it is the layer that runs first, an embedding.
    readers = (index for index, call in enumerate(calls, start=1) if call.name in probed.input_layers)
    last = next(index for index, call in enumerate(calls, start=1) if model.get_submodule(call.name) is layer)
    return range(max(readers, default=1), last)


def _found(model: nn.Module, example: Tensor, calls: list[MixingCall], between: range) -> list[Features]:
    """The features at the default exits."""
    points = [point for point in cut_points(model, example) if point.mixing in between]
    found = [features for point in points if (features := features_at(point, calls, rows=len(example)))]
    chosen = default_exits(found, between.stop)
    if not chosen:
        raise InputError(
            "a model with exits needs a point between its input and its output layer that everything goes through",
            got="a model that has none",
            fix="Pass exits=() for its own output alone, or put the body into modules that run one after the other",
        )
    return chosen


def _named(point: Point, calls: list[MixingCall], between: range, *, rows: int) -> Features:
    """The features at a point that the user named."""
    if point.mixing not in between:
        raise InputError(
            "an exit must lie behind the layers that read the input and before the output layer",
            got=f"exits with {point.name!r}",
            fix="Name points between them, or pass exits=() for the model's own output alone",
        )
    features = features_at(point, calls, rows=rows)
    if features is None:
        raise unknown_axis(point)
    return features


def adapter(depth: int, depths: int, features: Features, layer: Ordinary) -> nn.Module:
    """From the features to what the output layer reads."""
    return Adapter(
        axes=len(features.point.output),
        axis=features.axis,
        inputs=features.width,
        outputs=input_width(layer),
        device=layer.weight.device,
        dtype=layer.weight.dtype,
    )


def input_width(layer: Ordinary) -> int:
    """How many features the layer reads."""
    return layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels


def check_exits(exits: Sequence[str] | None) -> None:
    """Raise `InputError` unless `exits` is None or a tuple of names."""
    if exits is None or (isinstance(exits, tuple) and all(isinstance(name, str) for name in exits)):
        return
    raise InputError(
        "exits must be a tuple of the names of submodules, or None to find them",
        got=f"exits={exits!r}",
        fix='Pass exits=("stage1", "stage2"), for example',
    )


def _check_layer(layer: Ordinary) -> None:
    if isinstance(layer, nn.Linear):
        return
    if any(size != 1 for size in layer.kernel_size) or (layer.padding != "same" and any(layer.padding)):
        raise InputError(
            "exits can share an output layer that is Linear or a 1x1 convolution without padding",
            got=f"{layer}, which reads more than one position",
            fix="Name another layer with last=, or pass exits=() for the model's own output alone",
        )
