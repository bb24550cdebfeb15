"""Decides which layers of a model read which bank, and splits the budget between the banks."""

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, final

from torch import nn

from motet._internal.wording import with_article
from motet.errors import InputError
from motet.layers import TRANSPOSED, Ordinary, Transposed
from motet.surgery import Probe
from motet.surgery.convertible_layers import KINDS, convertible_layers
from motet.surgery.probe import is_mixing

Mixable = Ordinary | Transposed
Sharing = Literal["auto", "groups", "blob"]


@final
@dataclass(frozen=True)
class Group:
    """Layers that read one bank of `entries` parameters."""

    layers: tuple[Mixable, ...]
    entries: int

    @property
    def shapes(self) -> list[tuple[int, ...]]:
        """The weights' shapes."""
        return [tuple(layer.weight.shape) for layer in self.layers]


@final
@dataclass(frozen=True)
class Plan:
    """How the model's layers are converted.

    Attributes:
        groups: layers that become mixtures, with the sizes of their banks.
        shared: modules that all members share unchanged.
        is_blob: whether the layers of a group may have different shapes.
    """

    groups: tuple[Group, ...]
    shared: tuple[nn.Module, ...]
    is_blob: bool

    @property
    def params(self) -> int:
        """The number of parameters that the members share: those of the banks and of the shared modules."""
        return sum(group.entries for group in self.groups) + count(self.shared)


def plan_templates(
    model: nn.Module, probed: Probe, *, params: int | None, sharing: Sharing, bank_single_layers: bool
) -> Plan:
    """Choose between groups and one blob, and split the budget.

    Args:
        model: the single network.
        probed: its probe, which says how often each layer runs.
        params: the number of parameters that the members share; None for as many as the single network has.
        sharing: "groups" for a bank for each weight shape, "blob" for one bank for all shapes, "auto" to choose.
        bank_single_layers: whether a layer that is the only one of its shape gets a bank too.

    Raises:
        InputError: if no layer can be a mixture, if `sharing` is "groups" and no two layers have the same shape, and if
            the budget is too small, with the smallest possible one.
    """
    layers, fixed = _survey(model, probed)
    if not layers:
        _check_frozen(model)
        return Plan((), tuple(fixed), is_blob=False)
    groups = _groups(layers, fixed, bank_single_layers=bank_single_layers)
    if sharing == "groups" and not groups.layers:
        raise InputError(
            "sharing='groups' needs two or more trained layers of the same shape",
            got="a model without such layers",
            fix="Pass sharing='blob' to let layers of all shapes share, or bank_single_layers=True",
        )
    if sharing == "groups" or (sharing == "auto" and _suits(groups, layers, params)):
        return groups.plan(params, is_blob=False, way_out="or sharing='blob', which needs fewer parameters")
    blob = _blob(layers, fixed)
    return blob.plan(params, is_blob=True, way_out="or leave it out to use as many parameters as the single network")


@final
@dataclass(frozen=True)
class _Banks:
    """The layers of each bank, before the budget is split between the banks.

    Attributes:
        layers: the layers of each bank.
        needs: the smallest number of entries of each bank.
        shared: modules that all members share unchanged.
    """

    layers: list[list[Mixable]]
    needs: list[int]
    shared: tuple[nn.Module, ...]

    @property
    def smallest_budget(self) -> int:
        """The smallest budget that gives each bank at least the entries that it needs, after rounding down."""
        sizes = [_size(layers) for layers in self.layers]
        least = (-(-need * sum(sizes) // size) for size, need in zip(sizes, self.needs, strict=True))
        return count(self.shared) + max(least, default=0)

    def fits(self, params: int | None) -> bool:
        """Whether the budget is large enough."""
        return params is None or params >= self.smallest_budget

    def plan(self, params: int | None, *, is_blob: bool, way_out: str) -> Plan:
        """Return the plan for a budget.

        Args:
            params: the number of parameters that the members share; None for as many as the single network has.
            is_blob: whether the layers of a group may have different shapes.
            way_out: an alternative to a larger budget, for the error message.

        Raises:
            InputError: if the budget is too small.
        """
        if not self.fits(params):
            raise InputError(
                f"params must be at least {self.smallest_budget:,} for this model",
                got=f"params={params}",
                fix=f"Pass params={self.smallest_budget} or more, {way_out}",
            )
        budget = None if params is None else params - count(self.shared)
        return Plan(_split(self.layers, budget), self.shared, is_blob=is_blob)


def _groups(layers: Sequence[Mixable], fixed: Sequence[nn.Module], *, bank_single_layers: bool) -> _Banks:
    """A bank for each weight shape, with at least one whole template. Other layers are shared unchanged."""
    groups = _by(layers, lambda layer: (layer.weight.shape, isinstance(layer, TRANSPOSED), *_place(layer)))
    single = [] if bank_single_layers else [group[0] for group in groups if len(group) == 1]
    groups = [group for group in groups if bank_single_layers or len(group) > 1]
    return _Banks(groups, [group[0].weight.numel() for group in groups], (*fixed, *single))


def _blob(layers: Sequence[Mixable], fixed: Sequence[nn.Module]) -> _Banks:
    """One bank for all layers (of one dtype and device), with at least one entry."""
    blobs = _by(layers, _place)
    return _Banks(blobs, [1] * len(blobs), tuple(fixed))


def _suits(groups: _Banks, layers: Sequence[Mixable], params: int | None) -> bool:
    """Whether "auto" means groups: they hold at least half of the layers' weights, and the budget is large enough."""
    weights = sum(map(_size, groups.layers))
    return bool(groups.layers) and 2 * weights >= _size(layers) and groups.fits(params)


def _check_frozen(model: nn.Module) -> None:
    """Raise `InputError` for a model without layers for mixtures, unless none of its parameters is trained."""
    if any(parameter.requires_grad for parameter in model.parameters()):
        raise InputError(
            "MixtureEnsembles needs at least one ordinary Linear layer or convolution that is trained",
            got=f"{with_article(type(model).__name__)} without one",
            fix="Use another method, or unfreeze a layer",
        )


def count(modules: Iterable[nn.Module]) -> int:
    """Return the number of parameters of several modules, each counted once."""
    return sum({id(value): value.numel() for module in modules for value in module.parameters()}.values())


def _survey(model: nn.Module, probed: Probe) -> tuple[list[Mixable], list[nn.Module]]:
    """Return the layers that can be mixtures, and the other layers with a weight matrix, which all members share."""
    layers, others = convertible_layers(model, (*KINDS, *TRANSPOSED))
    uses = Counter(id(value) for module in model.modules() for value in module.parameters(recurse=False))
    mixtures: list[Mixable] = []
    fixed = [module for module in map(model.get_submodule, others) if _has_matrix(module)]
    for name, layer in layers.items():
        assert isinstance(layer, Mixable)
        # A layer that does not run here may be read by functional code, or run only in training.
        if probed.calls[name] > 0 and uses[id(layer.weight)] == 1 and layer.weight.requires_grad:
            mixtures.append(layer)
        else:
            fixed.append(layer)
    return mixtures, fixed


def _has_matrix(module: nn.Module) -> bool:
    """Whether a module combines features. A norm over several axes, or a scale with axes of length 1, does not."""
    if not any(True for _ in module.children()) and not is_mixing(module):
        return False
    return any(sum(length > 1 for length in value.shape) > 1 for value in module.parameters())


def _place(layer: Mixable) -> tuple[Hashable, ...]:
    return layer.weight.dtype, layer.weight.device


def _by(layers: Sequence[Mixable], key: Callable[[Mixable], Hashable]) -> list[list[Mixable]]:
    groups: dict[Hashable, list[Mixable]] = {}
    for layer in layers:
        groups.setdefault(key(layer), []).append(layer)
    return list(groups.values())


def _size(layers: Iterable[Mixable]) -> int:
    return sum(layer.weight.numel() for layer in layers)


def _split(groups: Sequence[Sequence[Mixable]], budget: int | None) -> tuple[Group, ...]:
    """Split the budget so that each group's fraction is its fraction of the single network's weights (section 3.1).

    Without a budget the total is the number of those weights. The parts are rounded down, and the remaining entries go
    to the groups that lost most by rounding, so that the parts add up to the budget. (Rounding to the nearest, as in
    Plummer et al. 2022, can exceed it.)
    """
    sizes = [_size(group) for group in groups]
    if budget is None:
        budget = sum(sizes)
    shares = [budget * size // sum(sizes) for size in sizes]
    by_loss = sorted(range(len(groups)), key=lambda index: -(budget * sizes[index] % sum(sizes)))
    for index in by_loss[: budget - sum(shares)]:
        shares[index] += 1
    return tuple(Group(tuple(group), share) for group, share in zip(groups, shares, strict=True))
