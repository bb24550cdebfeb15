"""TreeNet: a shared trunk and a branch for each member (Lee et al. 2015), a baseline of MIMO (section 3.1, table 1)."""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import nn

from motet._internal.copying import stand_in_for
from motet._internal.evaluation_mode import on_trial
from motet._internal.field_types import check_field_types
from motet._internal.nested import Inputs, joined
from motet.errors import InputError
from motet.layers import ActiveMember, Branches, Tile, WrappedLayer
from motet.method import ConversionContext, Method, Model, check_members, instance_of
from motet.method.rehearsal import another_row
from motet.methods.deep_ensemble import DeepEnsemble, member_networks
from motet.surgery import SharedNetwork, after_point, check_points, cut_points, points, probe, replace_module
from motet.surgery.trial import gives_own_outputs

AT_INPUT = "input"


class _CannotBranchError(Exception):
    """Raised for a point where the model cannot branch; the message names the weights that are used on both sides."""


@final
@dataclass(frozen=True, kw_only=True)
class TreeNet(Method):
    """One shared trunk up to a point inside the model; each member has its own copy of everything after that point.

    Paper: https://arxiv.org/abs/1511.06314.

    All members see the same examples, and the trunk runs once. Branched at the input it is a deep ensemble; branched
    before the last layer it is a multi-headed network.

    **Differences from the reference:** the original trains an oracle loss in some experiments; here members are trained
    independently, as in MIMO's baseline. The branching point can be any point of any model.

    Attributes:
        members: M; 3 in MIMO's table.
        branch: the name of the module whose output is the last shared one, or ``"input"`` to share nothing. None: the
            last suitable point before the final third of the model's layers with weights. A point is suitable if all
            paths go through it, and if no module uses its own (bare) parameters both before and after it. For a wide
            ResNet that is the end of its second group, as in MIMO. If there is no such point, it is the input.

    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    >>> ensemble = TreeNet(members=3, branch="1").wrap(net, example=torch.zeros(1, 4))
    >>> ensemble(torch.zeros(5, 4)).shape
    torch.Size([5, 3, 3])
    """

    name: ClassVar[str] = "tree-net"
    label: ClassVar[str] = "TreeNet"
    summary: ClassVar[str] = "one trunk, M branches: the first layers are shared, the last ones separate"

    members: int = 3
    branch: str | None = None

    def __post_init__(self) -> None:
        check_field_types(self, convert=False)
        check_members(self.members)

    def convert(self, model: Model, context: ConversionContext) -> nn.Module:
        """Return the model with M copies of everything that runs after the branching point.

        Raises:
            InputError: if the model cannot branch at that point, or has no weights after it.
        """
        if self.branch == AT_INPUT:
            return DeepEnsemble(members=self.members).convert(model, context)
        template = instance_of(model)
        probe(template, context.example)  # checks what the model takes and returns
        if self.branch is None:
            found = _default_branch(template, context.example)
            if found is None:
                return DeepEnsemble(members=self.members).convert(model, context)
            point, names = found
        else:
            point = check_points(template, context.example, [self.branch], argument="branch")[0].name
            try:
                names = _behind(template, context.example, point)
            except _CannotBranchError as reason:
                raise InputError(
                    "everything that runs after the branching point must be in modules that run only there",
                    got=f"branch={self.branch!r}, where {reason}",
                    fix="Name another point, or branch='input' to share nothing",
                ) from reason
        if not names:
            raise InputError(
                "members must have separate layers after the branching point",
                got=f"branch={self.branch!r}, after which no weights are used",
                fix="Name an earlier point",
            )
        # The template comes from the user's function. It is also the first member, so that the function is called M
        # times.
        first = [template]
        source: Model = template
        if not isinstance(model, nn.Module):

            def source() -> nn.Module:
                return first.pop() if first else instance_of(model)

        networks, _ = member_networks(source, context, self.members)
        trunk, active = networks[0], ActiveMember()
        parts = [[network.get_submodule(name) for network in networks] for name in names]
        for modules in parts:
            trunk = replace_module(trunk, modules[0], Branches(modules, active=active))
        cut = trunk.get_submodule(point)
        tiled = WrappedLayer(cut, post=Tile(self.members, layout=context.layout))
        trunk = replace_module(trunk, cut, tiled)
        example = joined([context.example, another_row(context.example)])
        if gives_own_outputs(trunk, example, self.members):
            return trunk
        # Its code between the modules does not fit members' rows. The trunk then runs once for each member.
        trunk = replace_module(trunk, tiled, cut)
        return SharedNetwork(trunk, self.members, layout=context.layout, tiles=False, active=active)


def _default_branch(model: nn.Module, example: Inputs) -> tuple[str, list[str]] | None:
    mixing = max((point.mixing for point in points(model, example)), default=0)
    for point in reversed(cut_points(model, example)):
        if 0 < point.mixing <= mixing * 2 / 3:
            try:
                names = _behind(model, example, point.name)
            except _CannotBranchError:
                continue
            if names:
                return point.name, names
    return None


def _behind(model: nn.Module, example: Inputs, point: str) -> list[str]:
    """Return the names of the largest modules with weights or state that run only after the point.

    Raises:
        _CannotBranchError: if weights outside such modules are used after the point.
    """
    runs = _runs(model, example, point)
    used = after_point(model, example, point)
    names: list[str] = []
    covered: set[int] = set()

    def walk(name: str, module: nn.Module) -> None:
        if runs.get(name) and all(runs[name]):
            if any(True for _ in (*module.parameters(), *module.buffers())):
                names.append(name)
                covered.update(map(id, module.parameters()))
            return
        for key, child in module.named_children():
            walk(f"{name}.{key}".lstrip("."), child)

    walk("", model)
    inside = tuple(f"{name}." for name in names)
    outside = sorted(key for key in used if not key.startswith(inside))
    by_key = dict(model.named_parameters(remove_duplicate=False))
    tied = sorted(key for key, value in by_key.items() if id(value) in covered and not key.startswith(inside))
    if outside or tied:
        raise _CannotBranchError(
            f"{', '.join(map(repr, outside or tied))} {'is' if len(outside or tied) == 1 else 'are'} "
            "used on both sides or belong to a module that runs on both"
        )
    modules = {id(model.get_submodule(name)) for name in names}
    if len(modules) < len(names):  # pragma: no cover  (named_children lists a module once)
        raise _CannotBranchError("one module has several names")
    return names


def _runs(model: nn.Module, example: Inputs, point: str) -> dict[str, list[bool]]:
    """Return, for every module, whether each of its runs in a forward pass began after the point was reached."""
    model = stand_in_for(model)
    reached: list[bool] = []
    runs: dict[str, list[bool]] = {}
    handles = [model.get_submodule(point).register_forward_hook(lambda _, args, output: reached.append(True))]
    for name, module in model.named_modules():
        handles.append(
            module.register_forward_pre_hook(lambda _, args, name=name: runs.setdefault(name, []).append(bool(reached)))
        )
    try:
        with torch.no_grad(), on_trial(model):
            model(example.detach().clone())
    finally:
        for handle in handles:
            handle.remove()
    return runs
