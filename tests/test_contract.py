"""One list of laws over every method, on models of several kinds."""

import copy
import math
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError, dataclass, fields, replace

import jaxtyping
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import motet
from motet._internal.plain_records import from_record, to_record
from motet.ensemble import Ensemble
from motet.errors import InputError
from motet.layers import Bank, Exits, LearnedTransforms, ParameterRoles
from motet.likelihoods import Categorical, Gaussian
from motet.methods import (
    DUN,
    METHODS,
    MIMMO,
    MIMO,
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
from motet.objectives import ExitObjective, Independent
from motet.objectives.modular import Modular
from motet.types import Batch

CLASSES = 3

EVERY_METHOD = [
    Single(),
    DeepEnsemble(members=3),
    DeepEnsemble(members=1),
    ModularNetwork(members=3),
    ModularNetwork(members=1),
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
    MCDropout(samples=3, rate=0.0),
    MCDropout(samples=1, rate=0.0),
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
    MCDropout(samples=2),
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
# With exits a member is more than the network; without, it is the network again. One member of MixtureEnsembles is
# soft sharing between the network's layers.
ONE_MEMBER = [
    method
    for method in EVERY_METHOD
    if method.size == 1 and getattr(method, "exits", ()) == () and not isinstance(method, MixtureEnsembles)
]


class Conv1dNet(nn.Module):
    """Flattens by function, not by module."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv1d(2, 6, 3, stride=2, padding=1)
        self.fc = nn.Linear(6 * 4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.conv(x))
        return self.fc(h.reshape(h.shape[0], -1))


class LogSoftmaxNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Dropout(0.5))
        self.out = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return F.log_softmax(self.out(self.body(x)), dim=1)


class ConvHeadNet(nn.Module):
    """Makes its classes with a 1x1 convolution and pools afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, padding=1, padding_mode="circular", bias=False)
        self.act = nn.ReLU(inplace=True)
        self.out = nn.Conv2d(4, CLASSES, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.adaptive_avg_pool2d(self.out(self.act(self.stem(x))), 1).flatten(1)


class NormFirstNet(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        self.hidden = nn.Linear(4, 8)
        self.norm2 = nn.LayerNorm(8)
        self.out = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(F.gelu(self.norm2(self.hidden(self.norm(x)))))


class TokensNet(nn.Module):
    """A linear layer on every step of a sequence, attention, and a bare parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(3, 8)
        self.cls = nn.Parameter(torch.randn(1, 1, 8))
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.out = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x)
        h = torch.cat([self.cls.expand(len(h), -1, -1), h], dim=1)
        return self.out((h + self.attention(h, h, h, need_weights=False)[0])[:, 0])


@dataclass(frozen=True)
class Case:
    make: Callable[[], nn.Module]
    shape: tuple[int, ...]


MODELS = {
    "mlp": Case(lambda: motet.models.mlp(input_shape=(4,), num_classes=CLASSES, hidden=(8, 8)), (4,)),
    "conv1d": Case(Conv1dNet, (2, 8)),
    "conv2d": Case(lambda: motet.models.small_cnn(num_classes=CLASSES, in_channels=2), (2, 6, 6)),
    "log_softmax": Case(LogSoftmaxNet, (4,)),
    "conv head": Case(ConvHeadNet, (1, 5, 5)),
    "norm first": Case(NormFirstNet, (4,)),
    "tokens": Case(TokensNet, (5, 3)),
    "wrn": Case(lambda: motet.models.wide_resnet(depth=10, width=1, num_classes=CLASSES), (3, 8, 8)),
}

across_models = pytest.mark.parametrize("method", ACROSS_MODELS, ids=str)
every_method = pytest.mark.parametrize("method", EVERY_METHOD, ids=str)
every_model = pytest.mark.parametrize("case", MODELS.values(), ids=MODELS.keys())


def wrap(method: Method, case: Case, *, dtype: torch.dtype = torch.float64) -> Ensemble:
    return method.wrap(case.make().to(dtype), example=torch.randn(1, *case.shape, dtype=dtype))


def data(case: Case, rows: int = 6) -> tuple[Tensor, Tensor]:
    return torch.randn(rows, *case.shape, dtype=torch.float64), torch.randint(CLASSES, (rows,))


def exit_parts(ensemble: Ensemble) -> list[nn.Module]:
    """What exits add to a model."""
    network = ensemble.network
    return [network.heads, network.weights] if isinstance(network, Exits) else []


def state(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.clone() for name, value in module.state_dict().items()}


@pytest.fixture
def unchecked(monkeypatch: pytest.MonkeyPatch) -> None:
    """What users meet: no jaxtyping in front of the library's own checks."""
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)


def test_every_method_is_in_the_list() -> None:
    assert {type(method) for method in EVERY_METHOD} == set(METHODS.values())
    assert list(METHODS) == [method.name for method in METHODS.values()]


@across_models
@every_model
@pytest.mark.parametrize("training", [True, False])
def test_forward_gives_every_member_an_output_row(method: Method, case: Case, training: bool) -> None:
    ensemble = wrap(method, case).train(training)
    assert ensemble.members == method.size
    outputs_BMC = ensemble(data(case, 6)[0])
    assert outputs_BMC.shape == (6, method.size, CLASSES)
    assert outputs_BMC.dtype == torch.float64
    assert outputs_BMC.isfinite().all()


@across_models
@every_model
def test_gradients_reach_every_parameter(method: Method, case: Case) -> None:
    ensemble = wrap(method, case).train()
    ensemble.loss(*data(case, 16)).backward()
    unreached = [name for name, value in ensemble.named_parameters() if value.grad is None or not value.grad.any()]
    assert unreached == []
    assert all(value.grad.isfinite().all() for value in ensemble.parameters())


@across_models
@every_model
def test_evaluation_is_deterministic_and_row_by_row(method: Method, case: Case) -> None:
    ensemble = wrap(method, case).eval()
    x, _ = data(case)
    whole = ensemble(x)
    torch.testing.assert_close(ensemble(x), whole, rtol=0, atol=0)
    torch.testing.assert_close(ensemble(x[2:3]), whole[2:3], rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(ensemble(x.flip(0)), whole.flip(0), rtol=1e-10, atol=1e-12)


@across_models
@every_model
def test_predict_is_a_distribution_and_leaves_no_trace(method: Method, case: Case) -> None:
    ensemble = wrap(method, case).train()
    next(iter(ensemble.network.children())).eval()  # a mode of the user's own must survive
    x, y = data(case)
    modes, before, random = [part.training for part in ensemble.modules()], state(ensemble), torch.get_rng_state()
    prediction = ensemble.predict(x, targets=y)
    ones = torch.ones(len(x), dtype=torch.float64)
    torch.testing.assert_close(prediction.probs.sum(dim=-1), ones)
    torch.testing.assert_close(prediction.member_probs.sum(dim=-1), ones.unsqueeze(1).expand(-1, method.size))
    if method.combination == "mixture":
        torch.testing.assert_close(prediction.probs, prediction.member_probs.mean(dim=1))
    else:
        torch.testing.assert_close(prediction.probs, prediction.outputs_BMC.mean(dim=1).softmax(dim=-1))
    assert (prediction.probs >= 0).all()
    assert not prediction.outputs_BMC.requires_grad
    assert prediction.targets is y
    for batch_size in (1, 4, 100):
        in_parts = ensemble.predict(x, batch_size=batch_size)
        torch.testing.assert_close(in_parts.outputs_BMC, prediction.outputs_BMC, rtol=1e-10, atol=1e-12)
    assert [part.training for part in ensemble.modules()] == modes
    assert all(torch.equal(value, before[name]) for name, value in ensemble.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random)


@across_models
@every_model
def test_state_goes_from_one_ensemble_to_another(method: Method, case: Case) -> None:
    one, other = wrap(method, case), wrap(method, case)
    x, _ = data(case)
    other.load_state_dict(one.state_dict())
    for twin in (other, copy.deepcopy(one)):
        torch.testing.assert_close(twin.predict(x).outputs_BMC, one.predict(x).outputs_BMC, rtol=0, atol=0)


@every_method
def test_an_ensemble_survives_pickling(method: Method) -> None:
    case = MODELS["mlp"]
    ensemble = wrap(method, case)
    x, y = data(case)
    twin = pickle.loads(pickle.dumps(ensemble))
    torch.testing.assert_close(twin(x), ensemble(x), rtol=0, atol=0)
    losses = [each.loss(x, y, generator=torch.Generator().manual_seed(1)) for each in (twin, ensemble)]
    torch.testing.assert_close(*losses, rtol=0, atol=0)


@across_models
@every_model
def test_fold_equals_forward(method: Method, case: Case) -> None:
    ensemble = wrap(method, case, dtype=torch.float32).train()
    with torch.no_grad():  # running statistics other than the initial ones
        ensemble(data(case, 16)[0].float())
    before = state(ensemble)
    x = data(case)[0].float()
    folded = ensemble.fold()
    torch.testing.assert_close(folded(x), ensemble.predict(x).outputs_BMC, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(folded.fold()(x), folded(x))
    assert not folded.training
    assert not any(value.requires_grad for value in folded.parameters())
    assert ensemble.training
    assert all(value.requires_grad for value in ensemble.parameters())
    assert all(torch.equal(value, before[name]) for name, value in ensemble.state_dict().items())
    sizes = [sum(value.numel() for value in each.parameters()) for each in (folded, ensemble)]
    # Members whose weights are scaled from shared ones, or mixed from templates, hold them all when folded.
    assert isinstance(method, BatchEnsemble | MixtureEnsembles) or sizes[0] <= sizes[1]


@every_method
def test_a_folded_ensemble_cannot_be_trained(method: Method) -> None:
    case = MODELS["mlp"]
    folded = wrap(method, case).fold()
    x, y = data(case)
    with pytest.raises(InputError, match=r"loss needs the ensemble as it was trained.*fold\(\)"):
        folded.loss(x, y)
    own = Batch(inputs=x.unsqueeze(1), targets_BM=y.unsqueeze(1), distinct=True)
    with pytest.raises(InputError, match="folded"):
        folded.forward_batch(own)
    assert "folded" in repr(folded)


def slow_nll(logits: list[float], label: int) -> float:
    largest = max(logits)
    return largest + math.log(sum(math.exp(logit - largest) for logit in logits)) - logits[label]


@across_models
@every_model
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_loss_equals_a_slow_loop(method: Method, case: Case, reduction: str) -> None:
    x, y = data(case, 5)
    model = case.make().double()
    ensemble = method.wrap(model, example=x[:1], objective=Independent(reduction=reduction)).eval()
    loss = ensemble.loss(x, y, generator=torch.Generator().manual_seed(3))
    members = ensemble.members_in_training
    batch = ensemble.grouping.deal(x, y, members=members, generator=torch.Generator().manual_seed(3))
    outputs = ensemble.forward_batch(batch).tolist()
    total = 0.0
    for row, members in enumerate(outputs):
        for member, logits in enumerate(members):
            weight = 1.0 if batch.weights_BM is None else float(batch.weights_BM[row, member])
            total += weight * slow_nll(logits, int(batch.targets_BM[row, member])) / len(outputs)
    expected = total if reduction == "sum" else total / method.size_in_training
    assert loss.item() == pytest.approx(expected, rel=1e-12)


@every_model
@pytest.mark.parametrize("method", ONE_MEMBER, ids=str)
def test_one_member_is_the_single_network(method: Method, case: Case) -> None:
    model, (x, y) = case.make().double().eval(), data(case)
    ensemble = method.wrap(model, example=x[:1]).eval()
    torch.testing.assert_close(ensemble(x)[:, 0], model(x), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(ensemble.fold()(x)[:, 0], model(x), rtol=1e-12, atol=1e-12)
    # Batch repetition repeats every example equally often, so that the mean over rows is the same.
    torch.testing.assert_close(ensemble.loss(x, y), F.cross_entropy(model(x), y), rtol=1e-12, atol=1e-12)
    sizes = [sum(value.numel() for value in each.parameters()) for each in (ensemble, model)]
    assert sizes[0] == sizes[1]


@across_models
@every_model
def test_rows_of_the_members_own_agree_with_shared_rows(method: Method, case: Case) -> None:
    ensemble = wrap(method, case).eval()
    x, y = data(case)
    tiled = Batch(
        inputs=x.unsqueeze(1).expand(-1, method.size, *case.shape),
        targets_BM=y.unsqueeze(1).expand(-1, method.size),
        distinct=True,
    )
    if isinstance(method, Multihead):  # it has one input
        with pytest.raises(InputError, match="must return 3 rows"):
            ensemble.forward_batch(tiled)
    else:
        torch.testing.assert_close(ensemble.forward_batch(tiled), ensemble(x), rtol=1e-10, atol=1e-12)
    assert not ensemble.layout.distinct


@across_models
@every_model
def test_the_users_model_is_left_as_it_was(method: Method, case: Case) -> None:
    model = case.make().double().train()
    frozen = next(iter(model.parameters())).requires_grad_(False)
    next(iter(model.children())).eval()
    before, modes = state(model), [part.training for part in model.modules()]
    kinds = [type(part) for part in model.modules()]
    example = torch.randn(2, *case.shape, dtype=torch.float64)
    kept = example.clone()
    ensemble = method.wrap(model, example=example)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert [part.training for part in model.modules()] == modes
    assert [type(part) for part in model.modules()] == kinds
    assert [value for value in model.parameters() if not value.requires_grad] == [frozen]
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.modules())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in ensemble.modules())
    assert torch.equal(example, kept)
    assert not example.requires_grad
    with torch.no_grad():
        for value in ensemble.parameters():
            value.zero_()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@across_models
@every_model
def test_frozen_parameters_stay_frozen(method: Method, case: Case) -> None:
    model = case.make()
    names = {name for name, _ in model.named_parameters()}
    for value in model.parameters():
        value.requires_grad_(False)
    ensemble = method.wrap(model, example=torch.randn(1, *case.shape))
    assert names
    # What a method puts in front of the model, or at its exits, is new: nobody has frozen it.
    parts = [part for part in ensemble.modules() if isinstance(part, LearnedTransforms)] + exit_parts(ensemble)
    added = {id(value) for part in parts for value in part.parameters()}
    assert {id(value) for value in ensemble.parameters() if value.requires_grad} == added
    groups = ensemble.parameter_groups(weight_decay=1.0)
    assert {id(value) for group in groups for value in group["params"]} == added


@every_method
def test_the_generator_alone_decides_the_grouping(method: Method) -> None:
    case = MODELS["mlp"]
    ensemble = wrap(method, case)
    x, y = data(case, 32)
    random = torch.get_rng_state()
    first, again, other = (ensemble.loss(x, y, generator=torch.Generator().manual_seed(s)).item() for s in (1, 1, 2))
    assert first == again
    assert torch.equal(torch.get_rng_state(), random)
    # Members that each see their own rows notice how the rows were dealt; rho = 1 or one member leaves no choice.
    # (Not exactly equal then: the mean over rows is taken in another order.)
    kinds = MIMO | MIMMO | MixMo | DataMUX
    deals = isinstance(method, kinds) and method.members > 1 and method.input_repetition < 1
    assert (abs(first - other) > 1e-9) == deals


@across_models
@every_model
@pytest.mark.parametrize("decay_norm_and_bias", [True, False])
def test_parameter_groups_hold_every_parameter_once(method: Method, case: Case, decay_norm_and_bias: bool) -> None:
    ensemble = wrap(method, case)
    groups = ensemble.parameter_groups(weight_decay=0.1, decay_norm_and_bias=decay_norm_and_bias)
    held = [id(value) for group in groups for value in group["params"]]
    assert sorted(held) == sorted(id(value) for value in ensemble.parameters())
    decays = {id(value): group["weight_decay"] for group in groups for value in group["params"]}
    for name, value in ensemble.named_parameters():
        owner, _, own_name = name.rpartition(".")
        module = ensemble.get_submodule(owner)
        never = isinstance(module, ParameterRoles) and own_name in module.undecayed_parameters
        # A bank holds weights, though it is one vector.
        vector = value.ndim == 1 and not isinstance(ensemble.get_submodule(owner), Bank)
        spared = never or (not decay_norm_and_bias and (vector or "bias" in name))
        assert decays[id(value)] == (0.0 if spared else 0.1), name
    torch.optim.SGD(groups, lr=0.1)


@every_method
def test_parameter_groups_hold_a_shared_parameter_once(method: Method) -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, CLASSES))
    model[2].weight = model[1].weight
    ensemble = method.wrap(model, example=torch.zeros(1, 4))
    held = [id(value) for group in ensemble.parameter_groups(weight_decay=0.1) for value in group["params"]]
    assert sorted(held) == sorted(id(value) for value in ensemble.parameters())


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


@every_method
def test_steps_of_gradient_descent_lower_the_loss(method: Method) -> None:
    case = MODELS["mlp"]
    ensemble = wrap(method, case)
    x, y = data(case, 12)
    optimizer = torch.optim.SGD(ensemble.parameter_groups(), lr=0.3)
    losses = []
    for _ in range(60):
        loss = ensemble.loss(x, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])


@every_method
@pytest.mark.parametrize("name", ["mlp", "conv2d", "tokens"])
def test_one_example_is_enough(method: Method, name: str) -> None:
    case = MODELS[name]
    ensemble = wrap(method, case)
    x, y = data(case, 1)
    ensemble.loss(x, y).backward()
    assert ensemble(x).shape == (1, method.size, CLASSES)
    assert ensemble.predict(x).probs.shape == (1, CLASSES)


@every_method
def test_one_class_is_certain(method: Method) -> None:
    model = motet.models.mlp(input_shape=(4,), num_classes=1, hidden=(5,))
    ensemble = method.wrap(model, example=torch.zeros(1, 4))
    x, y = torch.randn(7, 4), torch.zeros(7, dtype=torch.long)
    assert ensemble.loss(x, y).item() == 0
    prediction = ensemble.predict(x)
    assert torch.equal(prediction.probs, torch.ones(7, 1))
    assert torch.equal(prediction.entropy, torch.zeros(7))


@every_method
def test_nan_inputs_show_in_the_loss_and_in_their_own_rows(method: Method) -> None:
    case = MODELS["mlp"]
    ensemble = wrap(method, case)
    x, y = data(case)
    x[1] = math.nan
    assert ensemble.loss(x, y).isnan()
    assert ensemble.predict(x).probs.isnan().any(dim=1).tolist() == [False, True, False, False, False, False]


@every_method
@pytest.mark.parametrize("targets", [1, 2])
def test_regression_with_every_method(method: Method, targets: int) -> None:
    model = motet.models.mlp(input_shape=(4,), num_classes=targets, hidden=(5,)).double()
    x, y = torch.randn(6, 4).double(), torch.randn(6, targets).double()
    # The objectives of exits and of modular networks have references of their own, in tests/test_exit_objectives.py
    # and tests/test_joint_objectives.py.
    objective = Independent() if isinstance(method.default_objective, ExitObjective | Modular) else None
    ensemble = method.wrap(model, example=x[:1], likelihood=Gaussian(), objective=objective)
    members = method.size_in_training
    batch = ensemble.grouping.deal(x, y, members=members, generator=torch.Generator().manual_seed(0))
    outputs = ensemble.forward_batch(batch).detach()
    expected = 0.0
    for row in range(len(outputs)):
        for member in range(members):
            for k in range(targets):
                error = float(outputs[row, member, k] - batch.targets_BM[row, member, k])
                weight = 1.0 if batch.weights_BM is None else float(batch.weights_BM[row, member])
                expected += weight * (error**2 / 2 + math.log(2 * math.pi) / 2) / len(outputs)
    if ensemble.objective == Independent(reduction="mean"):
        expected /= method.size
    loss = ensemble.loss(x, y, generator=torch.Generator().manual_seed(0))
    assert loss.item() == pytest.approx(expected, rel=1e-12)
    torch.testing.assert_close(ensemble.predict(x).mean, ensemble(x).mean(dim=1))
    if targets == 1:
        flat = ensemble.loss(x, y.squeeze(1), generator=torch.Generator().manual_seed(0))
        torch.testing.assert_close(flat, loss, rtol=0, atol=0)


@every_method
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32])
def test_labels_of_any_integer_type_will_do(method: Method, dtype: torch.dtype) -> None:
    case = MODELS["mlp"]
    ensemble = wrap(method, case)
    x, y = data(case)
    losses = [ensemble.loss(x, each, generator=torch.Generator().manual_seed(0)) for each in (y, y.to(dtype))]
    torch.testing.assert_close(*losses, rtol=0, atol=0)


@every_method
def test_bad_targets_are_named(method: Method) -> None:
    ensemble = wrap(method, MODELS["mlp"])
    x, y = data(MODELS["mlp"])
    for bad, message in [
        (y.double(), "integers.*float64"),
        (y + 1 - y.min() + CLASSES, r"0\.\.2"),
        (torch.full_like(y, -100), "from -100 to -100"),
        (y.unsqueeze(1), r"shape.*squeeze"),
        (F.one_hot(y, CLASSES), r"shape.*argmax"),
    ]:
        with pytest.raises(InputError, match=message):
            ensemble.loss(x, bad)
    ensemble = method.wrap(
        nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2)), example=x[:1].float(), likelihood=Gaussian()
    )
    for bad, message in [
        (torch.zeros(6, 3), "2 targets a row"),
        (torch.zeros(6), "2 targets a row"),
        (torch.zeros(6, 1, 2), "must have shape"),
        (torch.zeros(6, 2, dtype=torch.long), "floating-point"),
        (torch.full((6, 2), math.nan), "12 NaN"),
    ]:
        with pytest.raises(InputError, match=message):
            ensemble.loss(x.float(), bad)


@every_method
def test_types_and_shapes_of_targets_are_checked_on_accelerators_too(method: Method) -> None:
    # The meta device stands for one: its values cannot be looked at.
    ensemble = method.wrap(
        nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2)).to("meta"),
        example=torch.zeros(1, 4, device="meta"),
        likelihood=Gaussian(),
    )
    x = torch.zeros(6, 4, device="meta")
    assert ensemble.loss(x, torch.zeros(6, 2, device="meta")).shape == ()
    with pytest.raises(InputError, match="2 targets a row"):
        ensemble.loss(x, torch.zeros(6, device="meta"))
    with pytest.raises(InputError, match="floating-point"):
        ensemble.loss(x, torch.zeros(6, 2, dtype=torch.long, device="meta"))


@every_method
def test_batches_that_do_not_fit_are_refused(method: Method, unchecked: None) -> None:
    ensemble = wrap(method, MODELS["mlp"])
    x, y = data(MODELS["mlp"])
    with pytest.raises(InputError, match="6 inputs and 5 targets"):
        ensemble.loss(x, y[:5])
    with pytest.raises(InputError, match="at least one input"):
        ensemble.loss(x[:0], y[:0])
    with pytest.raises(InputError, match="6 inputs and 5 targets"):
        ensemble.predict(x, targets=y[:5])
    with pytest.raises(InputError, match="an empty batch"):
        ensemble.predict(x[:0])
    for batch_size in (0, -1):
        with pytest.raises(InputError, match=f"batch_size={batch_size}"):
            ensemble.predict(x, batch_size=batch_size)
    own = Batch(
        inputs=x.unsqueeze(1).expand(-1, method.size + 1, -1),
        targets_BM=y.unsqueeze(1).expand(-1, method.size + 1),
        distinct=True,
    )
    with pytest.raises(InputError, match=rf"\(batch, {method.size}, ...\)"):
        ensemble.forward_batch(own)


@every_method
def test_a_method_is_a_frozen_record_of_its_settings(method: Method) -> None:
    names = {kind.__name__: kind for kind in METHODS.values()}
    assert eval(repr(method), {"__builtins__": {}}, names) == method
    assert from_record(to_record(method), METHODS.values()) == method
    assert hash(method) == hash(replace(method))
    assert repr(method) in repr(wrap(method, MODELS["mlp"]))
    with pytest.raises(FrozenInstanceError):
        method.members = 7  # type: ignore[attr-defined]
    kind = type(method)
    assert METHODS[kind.name] is kind
    assert kind.label
    assert kind.summary
    assert "\n" not in kind.summary


@pytest.mark.parametrize("kind", METHODS.values())
def test_a_method_needs_a_member(kind: type[Method]) -> None:
    if "members" not in {field.name for field in fields(kind)}:
        return
    setting = "samples" if kind is MCDropout else "members"
    for members in (0, -1):
        with pytest.raises(InputError, match=f"{setting}={members}"):
            kind(**{setting: members})  # type: ignore[call-arg]


@every_method
def test_a_function_may_make_the_model(method: Method) -> None:
    case, made = MODELS["mlp"], []

    def build() -> nn.Module:
        made.append(case.make())
        return made[-1]

    ensemble = method.wrap(build, example=torch.zeros(1, 4))
    assert ensemble(torch.zeros(2, 4)).shape == (2, method.size, CLASSES)
    assert len(made) == (method.members if isinstance(method, DeepEnsemble | ModularNetwork | TreeNet) else 1)
    assert isinstance(method.wrap(LogSoftmaxNet, example=torch.zeros(1, 4)), Ensemble)


@every_method
def test_what_is_not_a_model_or_an_example_is_refused(method: Method, unchecked: None) -> None:
    net, example = MODELS["mlp"].make(), torch.zeros(1, 4)
    for model, message in [
        (method.wrap(net, example=example), "wraps an ordinary model, but got an Ensemble"),
        (net.state_dict(), r"torch.nn.Module or a function.*OrderedDict"),
        (lambda: 3, r"must return a torch.nn.Module, but got a int"),
    ]:
        with pytest.raises(InputError, match=message):
            method.wrap(model, example=example)  # type: ignore[arg-type]
    for bad, message in [
        (torch.zeros(4), r"batch axis first, but got shape \(4,\)"),
        (torch.zeros(0, 4), r"one row or more.*\(0, 4\)"),
        (torch.zeros(()), r"shape \(\)"),
        (example.numpy(), "torch.Tensor, but got a ndarray"),
        (torch.zeros(1, 5), r"accept the example batch.*shape \(1, 5\).*RuntimeError"),
    ]:
        with pytest.raises(InputError, match=message):
            method.wrap(net, example=bad)


class Returning(nn.Module):
    def __init__(self, change: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.hidden, self.out, self.change = nn.Linear(4, 8), nn.Linear(8, CLASSES), change

    def forward(self, x: Tensor) -> object:
        return self.change(self.out(self.hidden(x).relu()))


@every_method
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda out: (out, out), "one tensor.*but got a tuple.*logits alone"),
        (lambda out: {"logits": out}, "but got a dict"),
        (lambda out: out.argmax(dim=1), r"floating-point outputs of shape \(2, outputs\).*int64 of shape \(2,\)"),
        (lambda out: out.unsqueeze(1), r"float32 of shape \(2, 1, 3\)"),
        (lambda out: out.flatten(), r"float32 of shape \(6,\)"),
        (lambda out: out.mean(dim=0, keepdim=True), r"float32 of shape \(1, 3\)"),
        (lambda out: out.T, r"float32 of shape \(3, 2\)"),
    ],
)
def test_models_that_return_something_else_are_refused(
    method: Method, change: Callable[[Tensor], object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        method.wrap(Returning(change), example=torch.randn(2, 4))


class Auxiliary(nn.Module):
    """Returns more than the logits, but in training only, as some of torchvision's models do."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden, self.out = nn.Linear(4, 8), nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        out = self.out(self.hidden(x))
        return (out, out) if self.training else out


@pytest.mark.parametrize("method", [Single(), Multihead(members=2), MIMO(members=2)], ids=str)
def test_models_that_return_something_else_in_training_are_refused_there(method: Method, unchecked: None) -> None:
    ensemble = method.wrap(Auxiliary(), example=torch.zeros(1, 4))
    with pytest.raises(InputError, match=r"must return .* rows .* but got a tuple"):
        ensemble.loss(torch.zeros(4, 4), torch.zeros(4, dtype=torch.long))


def test_fold_leaves_attributes_of_the_users_alone() -> None:
    class Named(nn.Linear):
        folded = False

    assert Single().wrap(Named(4, 3), example=torch.zeros(1, 4)).fold()(torch.zeros(2, 4)).shape == (2, 1, 3)


@every_method
def test_autocast_gives_single_precision_outputs(method: Method) -> None:
    ensemble = wrap(method, MODELS["mlp"], dtype=torch.float32)
    x, y = torch.randn(6, 4), torch.randint(CLASSES, (6,))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss, outputs_BMC = ensemble.loss(x, y), ensemble(x)
    assert loss.dtype == outputs_BMC.dtype == torch.float32
    loss.backward()
    # bfloat16 keeps 8 bits, three layers of it.
    torch.testing.assert_close(outputs_BMC, ensemble(x), rtol=0.05, atol=0.05)


@every_method
def test_half_precision_outputs_become_single(method: Method) -> None:
    case = MODELS["mlp"]
    ensemble = wrap(method, case, dtype=torch.bfloat16)
    outputs_BMC = ensemble(torch.randn(5, 4, dtype=torch.bfloat16))
    assert outputs_BMC.dtype == torch.float32


def test_the_default_likelihood_is_categorical() -> None:
    ensemble = Single().wrap(nn.Linear(2, 2), example=torch.zeros(1, 2))
    assert ensemble.likelihood == Categorical()
    assert ensemble.objective == Independent(reduction="sum")
