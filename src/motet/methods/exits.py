"""Exits at points inside a model: the shared parts of EarlyExit, DUN and MIMMO."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import final

import torch
from torch import Tensor, nn

from motet._internal.nested import Inputs, joined
from motet.errors import InputError
from motet.inference.positions import classes_last, no_class_axis_error
from motet.layers import Adapter, DepthWeights, ExitPositions, Exits, InputsInTurn, Ordinary
from motet.method import ConversionContext
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
"""A function that makes the head of exit i of D from i, D, the features there, and the model's output layer."""


@final
@dataclass(frozen=True, kw_only=True)
class ExitPlan:
    """The points of a model that get exits, and the output layer that their heads lead to.

    Attributes:
        features: the features at the points, in the order in which the points run; empty for a model that keeps only
            its own output.
        output: the name of the model's output layer; None without exits.
        layer: the output layer.
        written: names of the points whose features the model later changes in place.
        layers: the number of mixing layers before the output layer.
        positions: for a model that predicts at positions, where they are.
    """

    features: tuple[Features, ...] = ()
    output: str | None = None
    layer: Ordinary | None = None
    written: frozenset[str] = frozenset()
    layers: int = 1
    positions: ExitPositions | None = None

    @property
    def depths(self) -> int:
        """D, the number of depths."""
        return len(self.features) + 1

    def exits(
        self,
        network: nn.Module,
        context: ConversionContext,
        *,
        members: int,
        learned: bool,
        head: Head | None = None,
        skip_below: float = 0.0,
    ) -> Exits:
        """Return `network` with a head at each point.

        Args:
            network: the network to change, from `motet.method.instance_of`.
            context: what `Method.convert` is passed.
            members: M.
            learned: whether the weights over depths are parameters.
            head: makes the head of an exit; None for adapters to the output layer, which all depths share.
            skip_below: see `motet.methods.DUN`.
        """
        make, shared = (adapter, self.output) if head is None else (head, None)
        heads: list[nn.Module] = []
        for depth, features in enumerate(self.features, start=1):
            assert self.layer is not None
            heads.append(make(depth, self.depths, features, self.layer))
            if self.positions is not None and isinstance(getattr(heads[-1], "pools", None), bool):
                heads[-1].pools = False  # type: ignore[assignment]
        like = next((value for value in network.parameters() if value.is_floating_point()), context.example)
        # At least single precision, because logits are learned in small steps.
        dtype = torch.promote_types(like.dtype, torch.float32) if like.is_floating_point() else torch.float32
        weights = DepthWeights(members, self.depths, learned=learned, device=like.device, dtype=dtype)
        for module in network.modules():
            if isinstance(module, nn.TransformerEncoder):
                module.use_nested_tensor = False  # an exit cannot read the nested tensors of a padded batch
        # The modules of a network that reads its members' inputs in turn are one level deeper.
        inside = "network." if isinstance(network, InputsInTurn) else ""
        shared = None if shared is None else inside + shared
        written = [inside + name for name in self.written]
        points = [inside + features.point.name for features in self.features]
        shares = [features.point.mixing / self.layers for features in self.features]
        return Exits(
            network, points, heads, weights,
            likelihood=context.likelihood, output=shared, skip_below=skip_below, written=written,
            shares=shares, positions=self.positions,
        )  # fmt: skip


def exempt_with_exits(exits: Points) -> Mapping[str, str]:
    """Return the laws that a method with these exits is exempt from, see `Method.exempt_from`."""
    if exits == ():
        return {}
    return {"one_member_is_the_single_network": "with exits, one member predicts more than the single network does"}


def plan_exits(model: nn.Module, context: ConversionContext, probed: Probe, exits: Points) -> ExitPlan:
    """Plan the exits of `model`: at the points that the user named, or the model, or that `default_exits` finds.

    Args:
        model: from `motet.method.instance_of`.
        context: what `Method.convert` is passed.
        probed: what `motet.surgery.probe` found in the model.
        exits: names of points; None for those of the model's attribute `default_exits`, a tuple of names, and without
            it for those that `motet.surgery.default_exits` finds; ``()`` for none.

    Returns:
        The plan; its `ExitPlan.exits` makes the network.

    Raises:
        InputError: if a name is not a point between the input and the output layer that all paths go through, if an
            exit cannot read the features, if exits cannot share the output layer, and if `exits` is None and the model
            has no such point.
    """
    sizes = _output_positions(probed.output, context)
    if exits == ():
        return ExitPlan(positions=_exit_positions(context, sizes, []))
    layer = _output_layer(model, context, probed)
    output = next(name for name, module in model.named_modules() if module is layer)
    # Two rows distinguish a batch axis from an axis of length 1.
    example = joined([context.example, context.example])
    calls = mixing_calls(model, example)
    between = _behind_input(model, probed, calls, layer)
    exits = own_exits(model) if exits is None else exits
    if exits is None:
        chosen = _found(model, example, calls, between, sizes)
    else:
        chosen = [
            _named(point, calls, between, sizes, rows=len(example))
            for point in check_points(model, example, exits, argument="exits")
        ]
    written = modules_modified_in_place(model, context.example, [features.point.name for features in chosen])
    return ExitPlan(
        features=tuple(chosen),
        output=output,
        layer=layer,
        written=frozenset(written),
        layers=between.stop - 1,
        positions=_exit_positions(context, sizes, chosen),
    )


def _output_positions(output: Tensor, context: ConversionContext) -> tuple[int, ...] | None:
    """Return the sizes of the positions in the model's output; None for one row per example."""
    if output.ndim == 2:
        return None
    if context.likelihood.output_axis is None:
        raise no_class_axis_error(output, context.likelihood)
    return tuple(classes_last(output, context.likelihood).shape[1:-1])


def _exit_positions(
    context: ConversionContext, sizes: tuple[int, ...] | None, chosen: Sequence[Features]
) -> ExitPositions | None:
    """Return where the positions of the chosen exits are; None for a model without positions."""
    axis = context.likelihood.output_axis
    if sizes is None or axis is None:
        return None
    return ExitPositions(
        class_axis=axis,
        features=tuple(features.axis for features in chosen),
        scales=tuple(
            tuple(Fraction(out, own) for out, own in zip(sizes, _sizes(features), strict=True)) for features in chosen
        ),
    )


def _sizes(features: Features) -> tuple[int, ...]:
    """Return the sizes of the positions of the features."""
    shape = features.point.output
    return shape[2:] if features.axis == 1 else shape[1:-1]


def _fits(features: Features, sizes: tuple[int, ...] | None) -> bool:
    """Whether an exit can predict at positions of these sizes: an image's can be interpolated, a text's cannot."""
    if sizes is None:
        return True
    own = _sizes(features)
    return own == sizes or (len(own) == len(sizes) and not (features.axis == -1 and len(own) == 1) and 0 not in own)


def own_exits(model: nn.Module) -> tuple[str, ...] | None:
    """Return the points that the model itself names, in its attribute `default_exits`; None if it names none."""
    names = getattr(model, "default_exits", None)
    is_named = isinstance(names, tuple) and names and all(isinstance(name, str) for name in names)
    return names if is_named else None


def _output_layer(model: nn.Module, context: ConversionContext, probed: Probe) -> Ordinary:
    """The model's only output layer."""
    layers = output_layers(model, probed, context.last)
    if len(layers) != 1:
        raise InputError(
            "exits need a model with one output layer, which they all use",
            got=f"{len(layers)} output layers",
            fix="Pass exits=() for a model with only its own output",
        )
    _check_layer(layers[0])
    return layers[0]


def _behind_input(model: nn.Module, probed: Probe, calls: list[MixingCall], layer: Ordinary) -> range:
    """Return how many runs of mixing layers come before a point after the input layers and before the output layer."""
    # Integer inputs have no gradient, so their reader is the first layer that runs: an embedding.
    readers = (index for index, call in enumerate(calls, start=1) if call.name in probed.input_layers)
    last = next(index for index, call in enumerate(calls, start=1) if model.get_submodule(call.name) is layer)
    return range(max(readers, default=1), last)


def _found(
    model: nn.Module, example: Inputs, calls: list[MixingCall], between: range, sizes: tuple[int, ...] | None
) -> list[Features]:
    """Return the features at the default exits."""
    points = [point for point in cut_points(model, example) if point.mixing in between]
    found = [features for point in points if (features := features_at(point, calls, rows=len(example)))]
    found = [features for features in found if _fits(features, sizes)]
    chosen = default_exits(found, between.stop)
    if not chosen:
        raise InputError(
            "a model with exits needs a point between its input and its output layer that all paths go through",
            got="a model without such a point",
            fix="Pass exits=() to keep only its own output, or put the body into modules that run one after another",
        )
    return chosen


def _named(
    point: Point, calls: list[MixingCall], between: range, sizes: tuple[int, ...] | None, *, rows: int
) -> Features:
    """Return the features at a point that the user named."""
    if point.mixing not in between:
        raise InputError(
            "an exit must come after the layers that read the input and before the output layer",
            got=f"exits with {point.name!r}",
            fix="Name points between them, or pass exits=() to keep only the model's own output",
        )
    features = features_at(point, calls, rows=rows)
    if features is None:
        raise unknown_axis(point)
    if not _fits(features, sizes):
        raise InputError(
            f"an exit must have features at the positions of the model's output, {sizes}, or at pixels of an image",
            got=f"{point.name!r}, whose output has shape {point.output}",
            fix="Name another point in exits",
        )
    return features


def adapter(depth: int, depths: int, features: Features, layer: Ordinary) -> nn.Module:
    """Return an adapter from the features at an exit to the input of the output layer.

    Args:
        depth, depths: the index of the exit and the number of depths; not used.
        features: the features at the exit.
        layer: the output layer.
    """
    return Adapter(
        axes=len(features.point.output),
        axis=features.axis,
        inputs=features.width,
        outputs=input_width(layer),
        device=layer.weight.device,
        dtype=layer.weight.dtype,
    )


def input_width(layer: Ordinary) -> int:
    """Return the number of features that the layer reads."""
    return layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels


def check_exits(exits: Sequence[str] | None) -> None:
    """Check the setting `exits`.

    Raises:
        InputError: unless it is None or a tuple of names.
    """
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
            "exits can share the output layer only if it is Linear or a 1x1 convolution without padding",
            got=f"{layer}",
            fix="Name another layer with last=, or pass exits=() to keep only the model's own output",
        )
