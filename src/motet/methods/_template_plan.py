"""Which layers of a model read which bank, and how the budget is split between the banks."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, final

from torch import nn

from motet.errors import InputError
from motet.layers import Ordinary
from motet.surgery import Probe, ordinary_layers
from motet.surgery.probe import is_mixing

Sharing = Literal["auto", "groups", "blob"]


@final
@dataclass(frozen=True)
class Group:
    """Layers that read one bank of `entries` parameters."""

    layers: tuple[Ordinary, ...]
    entries: int

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """The weights' shapes."""
        return [tuple(layer.weight.shape) for layer in self.layers]


@final
@dataclass(frozen=True)
class Plan:
    """What becomes of the model's layers.

    Attributes:
        groups: layers that become mixtures, with their banks' sizes.
        shared: modules that all members share as they are.
        is_blob: whether the layers of a group may have different shapes.
    """

    groups: tuple[Group, ...]
    shared: tuple[nn.Module, ...]
    is_blob: bool

    @property
    def params(self) -> int:
        """The number of parameters that the members share: the banks' and those of the shared modules."""
        return sum(group.entries for group in self.groups) + count(self.shared)


def plan_templates(
    model: nn.Module, probed: Probe, *, params: int | None, sharing: Sharing, bank_single_layers: bool
) -> Plan:
    """Decide between groups and one blob, and split the budget.

    Raises:
        InputError: if no layer can be a mixture, if `sharing` is "groups" and no two layers have the same shape, and
            if the budget is too small, with the smallest possible one.
    """
    layers, fixed = _survey(model, probed)
    if not layers:
        if any(parameter.requires_grad for parameter in model.parameters()):
            raise InputError(
                "MixtureEnsembles needs at least one ordinary Linear, Conv1d or Conv2d layer that is trained",
                got=f"a {type(model).__name__} without one",
                fix="Use another method, or unfreeze a layer",
            )
        return Plan((), tuple(fixed), is_blob=False)
    groups = _by(layers, lambda layer: (layer.weight.shape, *_place(layer)))
    single = [] if bank_single_layers else [group[0] for group in groups if len(group) == 1]
    groups = [group for group in groups if bank_single_layers or len(group) > 1]
    if sharing == "groups" and not groups:
        raise InputError(
            "sharing='groups' needs two or more trained layers of the same shape",
            got="a model without",
            fix="Pass sharing='blob' to let layers of all shapes share, or bank_single_layers=True",
        )
    outside = count([*fixed, *single])
    least = _least([_size(group) for group in groups], [group[0].weight.numel() for group in groups])
    enough = params is None or params - outside >= least
    mostly = 2 * sum(map(_size, groups)) >= _size(layers)
    if sharing == "groups" or (sharing == "auto" and groups and mostly and enough):
        if not enough:
            raise _too_small(params, outside + least, "or sharing='blob', which does with less")
        return Plan(_split(groups, params, outside), (*fixed, *single), is_blob=False)
    blobs, outside = _by(layers, _place), count(fixed)
    least = _least([_size(blob) for blob in blobs], [1] * len(blobs))
    if params is not None and params - outside < least:
        raise _too_small(params, outside + least, "or leave it out for as many as the single network has")
    return Plan(_split(blobs, params, outside), tuple(fixed), is_blob=True)


def count(modules: Iterable[nn.Module]) -> int:
    """Number of parameters of several modules, each counted once."""
    return sum({id(value): value.numel() for module in modules for value in module.parameters()}.values())


def _survey(model: nn.Module, probed: Probe) -> tuple[list[Ordinary], list[nn.Module]]:
    """Layers that can be mixtures, and the other layers with a weight matrix, which all members share."""
    layers, others = ordinary_layers(model)
    uses = Counter(id(value) for module in model.modules() for value in module.parameters(recurse=False))
    mixtures: list[Ordinary] = []
    fixed = [module for module in map(model.get_submodule, others) if _has_matrix(module)]
    for name, layer in layers.items():
        # A layer that does not run may be read by functional code, or run in training only.
        if probed.calls[name] > 0 and uses[id(layer.weight)] == 1 and layer.weight.requires_grad:
            mixtures.append(layer)
        else:
            fixed.append(layer)
    return mixtures, fixed


def _has_matrix(module: nn.Module) -> bool:
    """Whether a module combines features: a norm over several axes, or a scale with axes of length 1, does not."""
    if not any(True for _ in module.children()) and not is_mixing(module):
        return False
    return any(sum(length > 1 for length in value.shape) > 1 for value in module.parameters())


def _place(layer: Ordinary) -> tuple[Hashable, ...]:
    return layer.weight.dtype, layer.weight.device


def _by(layers: Sequence[Ordinary], key: Callable[[Ordinary], Hashable]) -> list[list[Ordinary]]:
    groups: dict[Hashable, list[Ordinary]] = {}
    for layer in layers:
        groups.setdefault(key(layer), []).append(layer)
    return list(groups.values())


def _size(layers: Iterable[Ordinary]) -> int:
    return sum(layer.weight.numel() for layer in layers)


def _least(sizes: Sequence[int], needs: Sequence[int]) -> int:
    """The smallest budget of which every group's share, rounded down, is what it needs."""
    return max((-(-need * sum(sizes) // size) for size, need in zip(sizes, needs, strict=True)), default=0)


def _split(groups: Sequence[Sequence[Ordinary]], params: int | None, outside: int) -> tuple[Group, ...]:
    """Every group's fraction of the budget is its fraction of the single network's weights (section 3.1).

    Rounded down, and what that leaves goes to the groups that lost most by it: the shares add up to the budget.
    (Rounding each to the nearest, as Plummer et al. 2022 do, may add up to more.)
    """
    sizes = [_size(group) for group in groups]
    budget = sum(sizes) if params is None else params - outside
    shares = [budget * size // sum(sizes) for size in sizes]
    by_loss = sorted(range(len(groups)), key=lambda index: -(budget * sizes[index] % sum(sizes)))
    for index in by_loss[: budget - sum(shares)]:
        shares[index] += 1
    return tuple(Group(tuple(group), share) for group, share in zip(groups, shares, strict=True))


def _too_small(params: int | None, smallest: int, way_out: str) -> InputError:
    return InputError(
        f"params must be at least {smallest:,} for this model",
        got=f"params={params}",
        fix=f"Pass params={smallest} or more, {way_out}",
    )
