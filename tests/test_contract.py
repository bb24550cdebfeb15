"""Every method of motet's keeps the laws of `motet.testing`; and laws about the library that name no method."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from motet.errors import InputError
from motet.layers import MemberLayer, ParameterRoles
from motet.likelihoods import Categorical
from motet.method import ConversionContext, instance_of
from motet.methods import (
    DUN,
    METHODS,
    MIMMO,
    MIMO,
    NCL,
    BatchEnsemble,
    DataMUX,
    DeepEnsemble,
    EarlyExit,
    MCDropout,
    Method,
    MixMo,
    MixtureEnsembles,
    ModularNetwork,
    Multihead,
    Single,
    TreeNet,
)
from motet.objectives import Independent
from motet.surgery import fresh_copy
from motet.testing import LAWS, MODELS, Law, Subject, check_method, run_law
from motet.types import Batch

CLASSES = 3

EVERY_METHOD = [
    Single(),
    DeepEnsemble(members=3),
    DeepEnsemble(members=1),
    ModularNetwork(members=3),
    ModularNetwork(members=1),
    NCL(members=3),
    NCL(members=1),
    Multihead(members=3),
    Multihead(members=1),
    MIMO(members=3),
    MIMO(members=1),
    MIMO(members=2, batch_repetition=1, input_repetition=0.5),
    MIMO(members=2, batch_repetition=3, input_repetition=1.0),
    BatchEnsemble(members=3),
    BatchEnsemble(members=2, rank=2, fast_init="signs"),
    BatchEnsemble(members=2, training_batches="split"),
    # Without masks: laws of one training step cannot hold where it draws them.
    MCDropout(members=3, rate=0.0),
    MCDropout(members=1, rate=0.0),
    TreeNet(members=3),
    TreeNet(members=1),
    MixtureEnsembles(members=3),
    MixtureEnsembles(members=1),
    MixtureEnsembles(members=2, sharing="groups", bank_single_layers=True, assignment="disjoint"),
    MixMo(),
    MixMo(members=3, alpha=0.5, weight_root=1.0, test_scale=1.5, combination="mixture"),
    MixMo(members=1),
    DataMUX(),
    DataMUX(members=3, norm=False),
    DataMUX(members=3, transform="gaussian"),
    DataMUX(members=2, transform="orthogonal"),
    DataMUX(members=1, transform="identity"),
    EarlyExit(),
    EarlyExit(exits=()),
    EarlyExit(gamma=0.0),
    DUN(),
    DUN(exits=()),
    DUN(objective="mll"),
    MIMMO(members=2),
    MIMMO(members=1, exits=()),
    MIMMO(members=3, learn_depth=False),
]
ACROSS_MODELS = [
    Single(),
    DeepEnsemble(members=2),
    Multihead(members=3),
    MIMO(members=3),
    MIMO(members=2, batch_repetition=1, input_repetition=0.5),
    BatchEnsemble(members=3),
    BatchEnsemble(members=2, training_batches="split"),
    MCDropout(members=2),
    TreeNet(members=2),
    MixtureEnsembles(members=2),
    MixtureEnsembles(members=2, sharing="groups", bank_single_layers=True),
    MixMo(members=3, cut_probability=1.0),
    DataMUX(members=3),
    DataMUX(members=2, transform="gaussian"),
    EarlyExit(),
    DUN(),
    MIMMO(members=2),
]


def subject_of(method: Method, place: str) -> Subject:
    # Members that each see their own rows notice how the rows were dealt; rho = 1 or one member leaves no choice.
    kinds = MIMO | MIMMO | MixMo | DataMUX
    deals = isinstance(method, kinds) and method.members > 1 and method.input_repetition < 1
    builds = method.members if isinstance(method, DeepEnsemble | ModularNetwork | NCL | TreeNet) else 1
    return Subject(method=method, case=MODELS[place], deals=deals, builds=builds)


def checks() -> Iterable[Any]:
    """Laws about every model on some methods, and all others on every method.

    Among the fast tests is the first instance of each method, on the MLP for laws about every model.
    """
    for law in LAWS:
        methods = EVERY_METHOD if law.models or law.needs_one_member else ACROSS_MODELS
        first = {type(method): method for method in reversed(methods)}
        for method in methods:
            for place in law.models or MODELS:
                subject = subject_of(method, place)
                if law.applies(subject) and law.name not in method.exempt_from:
                    fast = (law.needs_one_member or method is first[type(method)]) and (law.models or place == "mlp")
                    marks = () if fast else pytest.mark.slow
                    yield pytest.param(law, subject, id=f"{law.name}-{method}-{place}", marks=marks)


# Those that give values of other types or shapes than are declared.
UNCHECKED = ("batches_that_do_not_fit_are_refused", "what_is_not_a_model_or_an_example_is_refused")


@pytest.mark.parametrize(("law", "subject"), list(checks()))
def test_law(law: Law, subject: Subject, request: pytest.FixtureRequest) -> None:
    if law.name in UNCHECKED:
        request.getfixturevalue("unchecked")
    run_law(law, subject, law.name)


def test_every_method_is_in_the_list() -> None:
    assert {type(method) for method in EVERY_METHOD} == set(METHODS.values())
    assert {type(method) for method in ACROSS_MODELS} == set(METHODS.values()) - {ModularNetwork, NCL}, "deep ensembles"
    assert list(METHODS) == [method.name for method in METHODS.values()]


def test_the_laws_are_those_of_before_and_four_more() -> None:
    """32 tests over methods became laws. New: the size of a fold, members differ, can be taken out, the meta device."""
    assert len(LAWS) == 32 + 4
    assert len({law.name for law in LAWS}) == len(LAWS)
    assert all(law.check.__doc__ for law in LAWS)


@pytest.mark.parametrize("kind", METHODS.values())
@pytest.mark.usefixtures("unchecked")
@pytest.mark.slow
def test_a_method_passes_check_method_as_it_is(kind: type[Method]) -> None:
    sizes = {item.name: 2 for item in fields(kind) if item.name == "members"}
    method = kind(**sizes)
    check_method(method)
    net = nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 4))
    check_method(method, net, torch.randn(2, 5))


@pytest.mark.usefixtures("unchecked")
def test_check_method_says_what_it_needs() -> None:
    with pytest.raises(InputError, match=r"check_method needs an instance of a method, but got the class Single"):
        check_method(Single)  # type: ignore[call-overload]


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize("wrong", ["order", "plain"])
def test_members_that_cannot_be_taken_out_are_noticed(wrong: str) -> None:
    class Members(MemberLayer):
        def __init__(self, networks: list[nn.Module]) -> None:
            super().__init__()
            self.networks = nn.ModuleList(networks)

        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([network(x) for network in self.networks])

        def member(self, member: int) -> nn.Module:
            return self.networks[(member + 1) % len(self.networks)]

        def subset(self, indices: Sequence[int]) -> nn.Module:
            return Members([self.networks[index] for index in indices])

    class Plain(nn.Module):
        def __init__(self, networks: list[nn.Module]) -> None:
            super().__init__()
            self.networks = nn.ModuleList(networks)

        def forward(self, x: Tensor) -> Tensor:
            return torch.cat([network(x) for network in self.networks])

    @dataclass(frozen=True, kw_only=True)
    class Wrong(Method):
        name, label, summary = "wrong", "Wrong", "members in another order"

        @property
        def members(self) -> int:
            return 2

        def convert(self, model: Any, given: ConversionContext) -> nn.Module:
            networks = [fresh_copy(instance_of(model)) for _ in range(2)]
            return Members(networks) if wrong == "order" else Plain(networks)

    if wrong == "plain":
        ensemble = Wrong().wrap(nn.Linear(3, 2), example=torch.zeros(1, 3))
        with pytest.raises(InputError, match=r"layers that have a member axis"):
            ensemble.member(1)
        return
    checks = dict(check_method(Wrong(), generate_only=True))
    with pytest.raises(AssertionError, match="member 0 by itself"):
        checks["members_can_be_taken_out[mlp]"]()


def test_exemptions_name_laws_and_give_reasons() -> None:
    known = {law.name for law in LAWS}
    for method in EVERY_METHOD:
        assert method.exempt_from.keys() <= known
        assert all(method.exempt_from.values())


@pytest.mark.parametrize("place", MODELS)
def test_multihead_has_one_input(place: str) -> None:
    case = MODELS[place]
    ensemble = subject_of(Multihead(members=3), place).wrap().eval()
    x, y = case.inputs(6), case.labels(6)
    own = x.unsqueeze(1).expand(-1, 3, *case.shape)
    with pytest.raises(InputError, match="must return 3 rows"):
        ensemble.forward_batch(Batch(inputs=own, targets_BM=y.unsqueeze(1).expand(-1, 3), distinct=True))


def test_layers_may_spare_parameters_of_their_own_from_decay() -> None:
    class Scaled(ParameterRoles, nn.Conv1d):
        undecayed_parameters = frozenset({"weight"})

    model = nn.Sequential(Scaled(4, 6, 1), nn.InstanceNorm1d(6, affine=True), nn.Flatten(), nn.Linear(12, CLASSES))
    ensemble = Single().wrap(model, example=torch.zeros(1, 4, 2))
    for decay_norm_and_bias in (True, False):
        groups = ensemble.parameter_groups(weight_decay=0.1, decay_norm_and_bias=decay_norm_and_bias)
        decays = {id(value): group["weight_decay"] for group in groups for value in group["params"]}
        first, norm, _, last = ensemble.network
        assert decays[id(first.weight)] == 0.0
        assert decays[id(last.weight)] == 0.1
        for spared in (first.bias, norm.weight, norm.bias, last.bias):
            assert decays[id(spared)] == (0.1 if decay_norm_and_bias else 0.0)


class Auxiliary(nn.Module):
    """Returns more than the logits, but in training only, as some of torchvision's models do."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.out = nn.Linear(4, 8), nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        out = self.out(self.hidden(x))
        return (out, out) if self.training else out


@pytest.mark.parametrize("method", [Single(), Multihead(members=2), MIMO(members=2)], ids=str)
def test_models_that_return_something_else_in_training_are_refused(method: Method, unchecked: None) -> None:
    with pytest.raises(InputError, match=r"must return .* rows .* but got a tuple"):
        method.wrap(Auxiliary(), example=torch.zeros(1, 4))


def test_fold_leaves_attributes_of_the_users_alone() -> None:
    class Named(nn.Linear):
        folded = False

    assert Single().wrap(Named(4, 3), example=torch.zeros(1, 4)).fold()(torch.zeros(2, 4)).shape == (2, 1, 3)


def test_the_default_likelihood_is_categorical() -> None:
    ensemble = Single().wrap(nn.Linear(2, 2), example=torch.zeros(1, 2))
    assert ensemble.likelihood == Categorical()
    assert ensemble.objective == Independent(reduction="sum")
