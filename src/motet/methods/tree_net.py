"""TreeNet: a shared trunk that branches (Lee et al. 2015), a baseline of MIMO (section 3.1 and table 1)."""

from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from motet._internal.evaluation_mode import evaluating
from motet.errors import InputError
from motet.layers import Branches, Tile, WrappedLayer
from motet.method import Given, Method, Model, check_members, instance_of
from motet.methods.deep_ensemble import DeepEnsemble, member_networks
from motet.surgery import after_point, check_points, cut_points, points, probe, replace_module

AT_INPUT = "input"


class _CannotBranchError(Exception):
    """The message names what stands on both sides of the point."""


@final
@dataclass(frozen=True, kw_only=True)
class TreeNet(Method):
    """One trunk up to a point inside the model; what runs after it, each member has for itself.

    All members see the same examples. At the point, rows that they share become each member's own; the trunk runs once.
    Branched at the input it is a deep ensemble, branched before the last layer a multi-headed network.

    Attributes:
        members: M; MIMO's table has 3, as for MIMO itself.
        branch: the module whose output is the last thing shared, by its name in the model, or ``"input"`` to share
            nothing. None: the last point before the final third of the model's layers with weights that everything
            goes through and that has no bare parameters on both sides; for a wide ResNet the end of its second group,
            as in MIMO; the input, if there is no such point.

    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 3))
    >>> ensemble = TreeNet(members=3, branch="1").wrap(net, example=torch.zeros(1, 4))
    >>> ensemble(torch.zeros(5, 4)).shape
    torch.Size([5, 3, 3])
    """

    name: ClassVar[str] = "tree-net"
    label: ClassVar[str] = "TreeNet"
    summary: ClassVar[str] = "one trunk, M branches: the first layers shared, the last ones each member's own"

    members: int = 3
    branch: str | None = None

    def __post_init__(self) -> None:
        check_members(self.members)

    @property
    def size(self) -> int:
        """M."""
        return self.members

    def convert(self, model: Model, given: Given) -> nn.Module:
        """The model with M copies of what runs after the point."""
        if self.branch == AT_INPUT:
            return DeepEnsemble(members=self.members).convert(model, given)
        template = instance_of(model)
        probe(template, given.example)  # for its checks of what the model takes and returns
        if self.branch is None:
            found = _default_branch(template, given.example)
            if found is None:
                return DeepEnsemble(members=self.members).convert(model, given)
            point, names = found
        else:
            point = check_points(template, given.example, [self.branch], argument="branch")[0].name
            try:
                names = _behind(template, given.example, point)
            except _CannotBranchError as reason:
                raise InputError(
                    "what runs after the branching point must be modules of its own",
                    got=f"branch={self.branch!r}, where {reason}",
                    fix="Name another point, or branch='input' to share nothing",
                ) from reason
        if not names:
            raise InputError(
                "members must have layers of their own after the branching point",
                got=f"branch={self.branch!r}, after which no weights are used",
                fix="Name an earlier point",
            )
        # A function has made the template; it stays the first member, so that it is called M times and not once more.
        first = [template]
        source: Model = template
        if not isinstance(model, nn.Module):

            def source() -> nn.Module:
                return first.pop() if first else instance_of(model)

        networks, _ = member_networks(source, given, self.members)
        trunk = networks[0]
        parts = [[network.get_submodule(name) for network in networks] for name in names]
        cut = trunk.get_submodule(point)
        for modules in parts:
            trunk = replace_module(trunk, modules[0], Branches(modules))
        return replace_module(trunk, cut, WrappedLayer(cut, behind=Tile(self.members, layout=given.layout)))


def _default_branch(model: nn.Module, example: Tensor) -> tuple[str, list[str]] | None:
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


def _behind(model: nn.Module, example: Tensor, point: str) -> list[str]:
    """Names of the largest modules with weights or state all of whose runs are after the point.

    Raises:
        _CannotBranchError: if weights are used after the point that are not in such a module.
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
        raise _CannotBranchError("one module stands under several names")
    return names


def _runs(model: nn.Module, example: Tensor, point: str) -> dict[str, list[bool]]:
    """For every module, whether each of its runs in a pass began after the point was reached."""
    reached: list[bool] = []
    runs: dict[str, list[bool]] = {}
    handles = [model.get_submodule(point).register_forward_hook(lambda _, args, output: reached.append(True))]
    for name, module in model.named_modules():
        handles.append(
            module.register_forward_pre_hook(lambda _, args, name=name: runs.setdefault(name, []).append(bool(reached)))
        )
    try:
        with torch.no_grad(), evaluating(model):
            model(example.detach().clone())
    finally:
        for handle in handles:
            handle.remove()
    return runs
