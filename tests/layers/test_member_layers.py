"""One list of laws over every layer with a member axis, in the networks that the methods make."""

import copy
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pytest
import torch
from test_contract import CLASSES, EVERY_METHOD
from torch import Tensor, nn

import motet
import motet.layers
from motet.inference.subset import subset_network
from motet.layers import (
    ConcatenatedInput,
    DepthWeights,
    Exits,
    InputsInTurn,
    LearnedTransforms,
    MemberLayer,
    MultiEmbedding,
    MultiInput,
    Multiplexed,
    MultiplexedEmbedding,
    ParameterRoles,
    StackedLayer,
    StackedLayerNorm,
    StackedLinear,
    SummedTransforms,
    TemplateLayer,
    TemplateMembers,
    WrappedLayer,
)
from motet.methods import BatchEnsemble, DeepEnsemble, MCDropout
from motet.surgery import member_network

ROWS = 5
# Layers that need models of their own, with the tests that compare their members with ordinary networks.
ELSEWHERE = {
    "Attention": "layers/test_attention.py",
    "FastRecurrent": "methods/test_kinds_of_layers.py",
    "FastTransposed": "methods/test_kinds_of_layers.py",
    "HeadsInChannels": "methods/test_separate_inputs.py",
}
METHODS = [
    *(method for method in EVERY_METHOD if method.members > 1 or getattr(method, "exits", None) is None),
    BatchEnsemble(members=3, norm="per-member"),
    DeepEnsemble(members=3, execution="stacked"),
    MCDropout(members=3, rate=0.5),
]
KINDS = [
    kind
    for kind in vars(motet.layers).values()
    if inspect.isclass(kind) and issubclass(kind, MemberLayer) and not inspect.isabstract(kind)
]
# One member's network has them as they are: it needs all members' rows that they read, or the layers inside them.
AS_THEY_ARE = (
    ConcatenatedInput, InputsInTurn, LearnedTransforms, Multiplexed, MultiplexedEmbedding, SummedTransforms,
)  # fmt: skip
# Layers that have a cheaper form for an input that all members share. A fold leaves the others as they are.
FOLDED = (MultiEmbedding, MultiInput, SummedTransforms, TemplateLayer, TemplateMembers)


def convolutions() -> nn.Module:
    body = (nn.Conv2d(4, 6, 3), nn.GroupNorm(2, 6), nn.PReLU(), nn.Flatten(), nn.Linear(6 * 4 * 4, CLASSES))
    return nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), *body)


def features() -> nn.Module:
    body = (nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 6), nn.LayerNorm(6), nn.Tanh(), nn.Linear(6, CLASSES))
    return nn.Sequential(nn.Linear(4, 6), *body)


def residual() -> nn.Module:
    return motet.models.wide_resnet(depth=10, width=1, num_classes=CLASSES)


class Tokens(nn.Module):
    """Reads token ids, and uses the batch size of its input."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.middle, self.out = nn.Embedding(9, 4), nn.Linear(12, 6), nn.Linear(6, CLASSES)

    def forward(self, ids: Tensor) -> Tensor:
        out: Tensor = self.out(torch.relu(self.middle(self.table(ids).view(ids.shape[0], 12))))
        return out


def random_tokens(rows: int) -> Tensor:
    return torch.randint(9, (rows, 3))


MAKE: dict[str, tuple[Callable[[], nn.Module], Callable[[int], Tensor]]] = {
    "conv2d": (convolutions, lambda rows: torch.randn(rows, 2, 6, 6)),
    "features": (features, lambda rows: torch.randn(rows, 4)),
    "wrn": (residual, lambda rows: torch.randn(rows, 3, 8, 8)),
    "tokens": (Tokens, random_tokens),
}


@dataclass(frozen=True, eq=False)
class Example:
    """A layer of an ensemble, and what it was given and returned for an input that all members share."""

    layer: MemberLayer
    members: int
    args: tuple[object, ...]
    output: Tensor

    def part(self, tensor: Tensor, members: list[int]) -> Tensor:
        """The part of what the layer reads or returns that belongs to these members."""
        rows, axis = self.members if not self.args else self.members * ROWS, 0
        if len(tensor) != rows:
            reads = tensor is self.args[0] and getattr(self.layer, "reads", False)
            if not isinstance(self.layer, StackedLayer) or reads:
                return tensor  # the same for all members
            # Inside a stack the members are side by side in the channels.
            axis = -1 if isinstance(self.layer, StackedLinear | StackedLayerNorm) else 1
        parts = tensor.chunk(self.members, dim=axis)
        return torch.cat([parts[member] for member in members], dim=axis)

    def args_of(self, members: list[int]) -> list[object]:
        return [self.part(self.args[0], members), *self.args[1:]] if self.args else []  # type: ignore[arg-type]

    def check(self, found: Tensor, members: list[int], *, averaged: bool = False) -> None:
        wanted = self.part(self.output, members)
        if averaged and isinstance(self.layer, Exits):  # one member's network gives the average over its depths
            wanted = self.layer.likelihood.average(wanted, self.layer.log_weights()[members[0]])
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def examples() -> Iterator[Example]:
    for method in METHODS:
        for make, inputs in MAKE.values():
            if make is Tokens and (getattr(method, "norm", "") == "per-member" or "stacked" in str(method)):
                continue  # it has no norm, and embeddings are not stacked
            torch.manual_seed(0)
            ensemble = method.wrap(make, example=inputs(1)).train()
            with torch.no_grad():
                ensemble(inputs(16))
                for value in ensemble.parameters():
                    value.add_(0.1 * torch.randn_like(value))
            found: list[Example] = []

            def note(layer: MemberLayer, args: tuple[object, ...], output: Tensor, found=found, ensemble=ensemble):
                # Clones: the next layer may write on what this one returned.
                copies = tuple(arg.clone() if isinstance(arg, Tensor) else arg for arg in args)
                found.append(Example(layer, ensemble.members, copies, output.clone()))

            layers = [part for part in ensemble.modules() if isinstance(part, MemberLayer)]
            handles = [layer.register_forward_hook(note) for layer in layers]
            with torch.no_grad():
                ensemble.eval()(inputs(ROWS))
            for handle in handles:
                handle.remove()
            assert {id(example.layer) for example in found} == set(map(id, layers))
            yield from found


@pytest.fixture(scope="module")
def every_example() -> dict[type[MemberLayer], list[Example]]:
    found: dict[type[MemberLayer], list[Example]] = {kind: [] for kind in KINDS}
    for example in examples():
        found.setdefault(type(example.layer), []).append(example)
    return found


Found = dict[type[MemberLayer], list[Example]]
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)


def test_every_module_of_the_package_that_declares_something_derives_from_one_of_two_classes() -> None:
    declared = {name for base in (ParameterRoles, MemberLayer) for name in vars(base) if not name.startswith("_")}
    assert {"member", "subset", "folded", "member_parameters"} <= declared
    parts = [import_module(part.name) for part in pkgutil.walk_packages(motet.layers.__path__, "motet.layers.")]
    kinds = {kind for part in parts for kind in vars(part).values() if inspect.isclass(kind)}
    modules = {kind for kind in kinds if issubclass(kind, nn.Module) and kind.__module__.startswith("motet.")}
    others = {kind for kind in modules if not issubclass(kind, ParameterRoles)}
    assert set(KINDS) <= modules
    assert others, "nothing is checked"
    for kind in others:
        assert not declared & set(dir(kind)), kind


def test_what_has_no_default_must_be_given() -> None:
    class Nothing(MemberLayer):
        pass

    with pytest.raises(TypeError, match=r"abstract methods '?member'?, '?subset'?"):
        Nothing()


@pytest.mark.slow
@every_kind
def test_there_is_an_example(kind: type[MemberLayer], every_example: Found) -> None:
    if kind.__name__ in ELSEWHERE:
        assert kind.__name__ in (Path(__file__).parent.parent / ELSEWHERE[kind.__name__]).read_text(encoding="utf-8")
        return
    assert every_example[kind], "no method makes a network with such a layer"


@pytest.mark.slow
@every_kind
@torch.no_grad()
def test_a_member_computes_what_the_layer_computes_on_its_rows(kind: type[MemberLayer], every_example: Found) -> None:
    for example in every_example[kind]:
        for member in range(example.members):
            if example.layer.member(member) is example.layer and kind is not DepthWeights:
                assert kind in AS_THEY_ARE
            else:
                own = member_network(example.layer, member)
                example.check(own(*example.args_of([member])[:1]), [member], averaged=True)


@pytest.mark.slow
@every_kind
@torch.no_grad()
def test_a_subset_keeps_what_its_members_compute(kind: type[MemberLayer], every_example: Found) -> None:
    for example in every_example[kind]:
        chosen = [example.members - 1, 0] if example.members > 1 else [0]
        whole, twin = copy.deepcopy(example.layer), copy.deepcopy(example.layer)
        smaller, trainable = subset_network(twin, chosen)
        if whole.subset(chosen) is None and whole.folded() is None:
            assert smaller is twin
            assert not trainable
            continue  # all members' rows go in as before
        example.check(smaller(*example.args_of(chosen)), chosen)
        layers = [part for part in whole.modules() if isinstance(part, MemberLayer)]
        assert trainable == all(layer.subset(chosen) is not None for layer in layers)


@pytest.mark.slow
@every_kind
@torch.no_grad()
def test_folded_it_computes_the_same_for_an_input_that_all_share(kind: type[MemberLayer], every_example: Found) -> None:
    for example in every_example[kind]:
        folded = copy.deepcopy(example.layer).folded()
        assert (folded is not None) == (kind in FOLDED)
        if folded is not None:
            example.check(folded(*example.args), list(range(example.members)))


def test_layers_in_a_wrapper_are_taken_apart_too() -> None:
    class Shifts(MemberLayer):
        def __init__(self, shifts: list[float]) -> None:
            super().__init__()
            self.shifts = shifts

        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([x + shift for shift in self.shifts])

        def member(self, member: int) -> nn.Module:
            return Shifts([self.shifts[member]]) if len(self.shifts) > 1 else nn.Identity()

        def subset(self, indices: list[int]) -> "Shifts":
            return Shifts([self.shifts[index] for index in indices])

    wrapped = WrappedLayer(nn.Identity(), post=Shifts([1.0, 2.0, 3.0]))
    smaller, trainable = subset_network(wrapped, [2, 0])
    assert trainable
    assert smaller(torch.zeros(1)).tolist() == [3.0, 1.0]
