"""A user's modules: what only has the names that member layers declare is left alone; what derives from them works."""

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch
from torch import Tensor, nn

from motet.ensemble import Ensemble
from motet.layers import Layout, MemberLayer, MultiHead, ParameterRoles
from motet.method import ConversionContext, Method, Model, instance_of
from motet.methods import MIMO, BatchEnsemble, DataMUX, DeepEnsemble, MCDropout, MixtureEnsembles, Multihead, TreeNet
from motet.surgery import replace_module

pytestmark = pytest.mark.slow

DECLARED = {name for base in (ParameterRoles, MemberLayer) for name in vars(base) if not name.startswith("_")}
NAMES = sorted(DECLARED | {"lr_scales", "mixes_members"})  # the last two have been looked up by name before
METHODS = [
    Multihead(members=2),
    MIMO(members=2),
    TreeNet(members=2),
    DataMUX(members=2),
    BatchEnsemble(members=2),
    MCDropout(members=2, rate=0.5),
    MixtureEnsembles(members=2),
    DeepEnsemble(members=2, execution="loop"),
]


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 6)
        self.scale = nn.Parameter(torch.linspace(0.5, 1.5, 6))

    def forward(self, h: Tensor) -> Tensor:
        return torch.tanh(self.linear(h)) * self.scale


def value_of(name: str) -> object:
    """A method, a flag, names of parameters or a mapping that would change something if it were asked for."""
    if name in ("folded", "member", "subset", "member_view"):
        return lambda self, *args: nn.Identity()
    if name in ("undecayed_parameters", "member_parameters", "shared_parameters"):
        return frozenset({"scale", "linear.weight"})
    values: dict[str, object] = {
        "parameter_lr_scales": {"scale": 0.1},
        "lr_scales": {"scale": 0.1},
        "member_modules": [nn.Identity()],
        "summary_note": "a note of the user's",
    }
    return values.get(name, True)


def net(block: Block) -> nn.Module:
    return nn.Sequential(nn.Linear(4, 6), nn.ReLU(), block, nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 3))


def wrapped(method: Method, kind: type[Block]) -> Ensemble:
    torch.manual_seed(0)
    return method.wrap(net(kind()), example=torch.zeros(1, 4)).eval()


def groups(ensemble: Ensemble) -> list[tuple[list[str], float, float | None]]:
    names = {id(value): name for name, value in ensemble.named_parameters()}
    made = ensemble.parameter_groups(weight_decay=0.1, decay_norm_and_bias=False, learning_rate=1.0)
    return [([names[id(p)] for p in group["params"]], group["weight_decay"], group.get("lr")) for group in made]


@pytest.mark.parametrize("method", METHODS, ids=str)
@pytest.mark.parametrize("name", NAMES)
def test_a_users_module_with_the_same_names_is_left_alone(name: str, method: Method) -> None:
    kind = type("Block", (Block,), {name: value_of(name)})
    ensemble, plain, x = wrapped(method, kind), wrapped(method, Block), torch.randn(5, 4)
    if name == "layout":  # the worst that it could be
        kind.layout = ensemble.layout
    expected = plain(x)
    assert torch.equal(ensemble(x), expected)
    torch.testing.assert_close(ensemble.fold()(x), expected)
    torch.testing.assert_close(ensemble.subset([1])(x), expected[:, [1]])
    torch.testing.assert_close(ensemble.predict(x, members=[1, 0]).outputs_BMC, expected[:, [1, 0]])
    torch.testing.assert_close(ensemble.member(1)(x), expected[:, 1])
    assert [one.outputs_BMC.shape for one in ensemble.anytime(x)] == [two.outputs_BMC.shape for two in plain.anytime(x)]
    assert groups(ensemble) == groups(plain)
    assert ensemble.summary() == plain.summary()
    assert ensemble.has_distinct_inputs == plain.has_distinct_inputs
    assert ensemble.subset([1]).is_folded == plain.subset([1]).is_folded


class Shifts(MemberLayer):
    """Each member's own shift of what all share: rows ``B`` in, ``(M B)`` out. The user's, outside the package."""

    undecayed_parameters = frozenset({"shifts_MF"})
    member_parameters = frozenset({"shifts_MF"})
    is_norm = True
    layout: Layout

    def __init__(self, shifts_MF: Tensor, *, layout: Layout) -> None:
        super().__init__()
        self.shifts_MF, self.common = nn.Parameter(shifts_MF), nn.Parameter(torch.ones(shifts_MF.shape[1]))
        self.layout = layout

    @property
    def parameter_lr_scales(self) -> Mapping[str, float]:
        return {"shifts_MF": 0.5}

    @property
    def summary_note(self) -> str:
        return f"{len(self.shifts_MF)} shifts"

    def forward(self, x: Tensor) -> Tensor:
        members = len(self.shifts_MF)
        x_MB = x.unflatten(0, (members, -1)) if self.layout.distinct else x.expand(members, *x.shape)
        return (x_MB * self.common + self.shifts_MF.unsqueeze(1)).flatten(0, 1)

    def member(self, member: int) -> nn.Module:
        return Shift(self.shifts_MF[member], self.common)

    def subset(self, indices: Sequence[int]) -> "Shifts":
        own = Shifts(self.shifts_MF.detach()[list(indices)], layout=self.layout)
        own.common = self.common
        return own

    def folded(self) -> nn.Module:
        return FoldedShifts(self.shifts_MF.detach(), self.common.detach())


class Shift(nn.Module):
    def __init__(self, shift: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.shift, self.scale = nn.Parameter(shift.detach().clone()), nn.Parameter(scale.detach().clone())

    def forward(self, x: Tensor) -> Tensor:
        return x * self.scale + self.shift


class FoldedShifts(nn.Module):
    def __init__(self, shifts_MF: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("shifts_MF", shifts_MF)
        self.register_buffer("scale", scale)

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.scale + self.shifts_MF.unsqueeze(1)).flatten(0, 1)


@dataclass(frozen=True, kw_only=True)
class Shifted(Method):
    """Members that share all but a shift of the input."""

    name: ClassVar[str] = "shifted"
    label: ClassVar[str] = "Shifted"
    summary: ClassVar[str] = "a shift of the input for each member"
    members: int = 3

    def convert(self, model: Model, given: ConversionContext) -> nn.Module:
        features = given.example.shape[1]
        return nn.Sequential(Shifts(torch.randn(self.members, features), layout=given.layout), instance_of(model))


def test_a_users_own_member_layer_works_everywhere() -> None:
    model = net(Block())
    ensemble, x = Shifted().wrap(model, example=torch.zeros(1, 4)), torch.randn(5, 4)
    layer = ensemble.network[0]
    outputs = ensemble.eval()(x)
    for member in range(3):
        torch.testing.assert_close(outputs[:, member], model(x + layer.shifts_MF[member]))
        torch.testing.assert_close(ensemble.member(member)(x), outputs[:, member])
        assert isinstance(ensemble.member(member)[0], Shift)
    smaller = ensemble.subset([2, 0])
    torch.testing.assert_close(smaller(x), outputs[:, [2, 0]])
    assert not smaller.is_folded
    smaller.loss(x, torch.zeros(5).long()).backward()
    assert smaller.network[0].shifts_MF.grad.abs().sum() > 0
    torch.testing.assert_close(ensemble.predict(x, members=[1]).outputs_BMC, outputs[:, [1]])
    folded = ensemble.fold()
    assert isinstance(folded.network[0], FoldedShifts)
    torch.testing.assert_close(folded(x), outputs)
    assert ensemble.has_distinct_inputs
    x_BM = torch.randn(5, 3, 4)
    for member in range(3):
        torch.testing.assert_close(ensemble.forward_distinct(x_BM)[:, member], ensemble(x_BM[:, member])[:, member])
    steps = [prediction.outputs_BMC for prediction in ensemble.anytime(x)]
    assert len(steps) == 3
    torch.testing.assert_close(steps[-1], outputs)
    (part,) = ensemble.summary().converted
    assert (part.kind, part.shared, part.own, part.note) == ("Shifts", 4, 12, "3 shifts")
    decays = {name: (decay, rate) for names, decay, rate in groups(ensemble) for name in names}
    assert decays["network.0.shifts_MF"] == (0.0, 0.5)
    assert decays["network.0.common"] == (0.0, None)  # of a norm
    assert decays["network.1.0.weight"] == (0.1, None)
    twin = copy.deepcopy(ensemble)
    assert twin.network[0].layout is twin.layout


def test_a_users_own_single_pass_layer_is_one_step() -> None:
    class Heads(MemberLayer):
        is_single_pass = True

        def __init__(self, heads: MultiHead) -> None:
            super().__init__()
            self.heads = heads

        def forward(self, h: Tensor) -> Tensor:
            return self.heads(h)

        def member(self, member: int) -> nn.Module:
            return self.heads.member(member)

        def subset(self, indices: Sequence[int]) -> nn.Module:
            return self.heads.subset(indices)

    ensemble, x = Multihead(members=3).wrap(net(Block()), example=torch.zeros(1, 4)), torch.randn(5, 4)
    heads = ensemble.network[5]
    wanted = ensemble.predict(x).outputs_BMC
    heads_of_the_user = Heads(heads)
    replace_module(ensemble, heads, heads_of_the_user)
    assert ensemble.steps == 1
    (only,) = ensemble.anytime(x)
    torch.testing.assert_close(only.outputs_BMC, wanted)
    torch.testing.assert_close(ensemble.subset([2, 1]).predict(x).outputs_BMC, wanted[:, [2, 1]])


def test_what_is_said_of_parameters_needs_no_member_axis() -> None:
    class Scaled(ParameterRoles, nn.Linear):
        parameter_lr_scales: ClassVar = {"weight": 0.1}

    ensemble = Multihead(members=2).wrap(
        nn.Sequential(nn.Linear(4, 6), Scaled(6, 6), nn.Linear(6, 3)), example=torch.zeros(1, 4)
    )
    assert ([("network.1.weight")], 0.1, 0.1) in groups(ensemble)
