"""Stacked deep ensembles against a loop over plain networks with the same weights."""

import copy
import pickle
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import motet
from motet.ensemble import Ensemble
from motet.errors import InputError
from motet.layers import SeparateNetworks, Stack
from motet.methods import DeepEnsemble
from motet.surgery import member_network

K = 3


class Residual(nn.Module):
    """Norms of three kinds, a grouped and a depthwise convolution, odd padding, a shortcut, bias here and there."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1, padding_mode="reflect", bias=False)
        self.bn = nn.BatchNorm2d(4, momentum=None)
        self.depthwise = nn.Conv2d(4, 8, 3, padding="same", groups=4, dilation=2)
        self.gn = nn.GroupNorm(2, 8)
        self.act = nn.PReLU()
        self.grouped = nn.Conv2d(8, 8, 1, groups=2, bias=False)
        self.acts = nn.PReLU(8)
        self.plain = nn.BatchNorm2d(8, affine=False, eps=1e-3)
        self.short = nn.Conv2d(4, 8, 1)
        self.drop = nn.Dropout2d(0.4)
        self.out = nn.Linear(8, K)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.bn(self.stem(x)))
        h = self.acts(self.plain(self.grouped(self.act(self.gn(self.depthwise(h)))))) + self.short(h)
        return self.out(self.drop(h).mean(dim=(2, 3)))


class Sequence(nn.Module):
    """Linear layers on every step, a layer norm, a convolution over steps."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(3, 6)
        self.norm, self.bare = nn.LayerNorm(6), nn.LayerNorm(6, elementwise_affine=False)
        self.mix, self.conv = nn.Linear(6, 6, bias=False), nn.Conv1d(6, 4, 3, padding=1, padding_mode="circular")
        self.bn = nn.BatchNorm1d(4, affine=False)
        self.out = nn.Linear(4, K)

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x)
        h = h + self.bare(F.gelu(self.mix(self.norm(h))))
        return self.out(self.bn(self.conv(h.transpose(1, 2))).amax(dim=2))


class Shared(nn.Module):
    """Runs one block twice; makes its classes with a convolution and pools rows afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.body = nn.Conv1d(2, 4, 3), nn.Conv1d(4, 4, 1)
        self.bn, self.out = nn.BatchNorm1d(4, momentum=0.3), nn.Conv1d(4, K, 1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x)
        for _ in range(2):
            h = self.bn(self.body(h)).relu()
        return F.log_softmax(self.out(h).mean(dim=2), dim=1)


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "mlp": (lambda: motet.models.mlp(input_shape=(2, 2), num_classes=K, hidden=(5, 7)), (2, 2)),
    "one layer": (lambda: nn.Linear(4, K), (4,)),
    "depthwise input": (lambda: nn.Sequential(nn.Conv1d(3, 6, 2, groups=3), nn.Flatten(), nn.Linear(18, K)), (3, 4)),
    "small cnn": (lambda: motet.models.small_cnn(num_classes=K, in_channels=1), (1, 4, 4)),
    "wrn": (lambda: motet.models.wide_resnet(depth=10, width=1, num_classes=K, in_channels=1), (1, 4, 4)),
    "residual": (Residual, (2, 5, 5)),
    "sequence": (Sequence, (4, 3)),
    "shared": (Shared, (2, 6)),
    "embedded dropout": (lambda: nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.5), nn.Linear(6, K)), (4,)),
}
every_model = pytest.mark.parametrize("name", MODELS)


def wrapped(name: str, members: int = 3, execution: str = "stacked") -> tuple[Ensemble, tuple[int, ...]]:
    make, shape = MODELS[name]
    model = make().double()
    with torch.no_grad():  # no two norms' weights alike
        for value in model.parameters():
            value.add_(0.2 * torch.randn_like(value))
    return DeepEnsemble(members=members, execution=execution).wrap(
        model, example=torch.randn(1, *shape).double(), init="fresh"
    ), shape


def alone(ensemble: Ensemble) -> list[nn.Module]:
    return [member_network(ensemble.network, member) for member in range(ensemble.members)]


def without_dropout(ensemble: Ensemble) -> Ensemble:
    for module in ensemble.modules():
        if isinstance(module, nn.Dropout | nn.Dropout2d):
            module.p = 0.0
    return ensemble


@pytest.mark.slow
@every_model
@pytest.mark.parametrize(
    ("members", "together", "distinct"),
    [(3, True, False), (3, True, True), (3, False, False), (2, False, True), (1, True, True)],
)
def test_two_steps_equal_a_loop_over_plain_networks(name: str, members: int, together: bool, distinct: bool) -> None:
    ensemble, shape = wrapped(name, members)
    stack = without_dropout(ensemble).train().network
    assert isinstance(stack, Stack)
    stack.always = together
    stack.widening = 0.0 if together else 1e9
    if not together:
        stack._convolves = True
    networks = alone(ensemble)
    for network in networks:
        for one, other in zip(network.modules(), MODELS[name][0]().modules(), strict=True):
            assert type(one) is type(other)
    x_BM, y = torch.randn(4, members, *shape).double(), torch.randint(K, (4,))
    for _ in range(2):  # twice, for running statistics
        outputs = ensemble.forward_distinct(x_BM) if distinct else ensemble(x_BM[:, 0])
        expected = torch.stack([network(x_BM[:, m if distinct else 0]) for m, network in enumerate(networks)], dim=1)
        torch.testing.assert_close(outputs, expected, rtol=1e-10, atol=1e-11)
    assert stack.active.member is None
    F.cross_entropy(outputs.transpose(1, 2), y.unsqueeze(1).expand(-1, members)).backward()
    F.cross_entropy(expected.transpose(1, 2), y.unsqueeze(1).expand(-1, members)).backward()
    with torch.no_grad():
        for parameter in ensemble.parameters():  # then member_network hands out the members' gradients
            parameter.copy_(parameter.grad)
    for network, gradients in zip(networks, alone(ensemble), strict=True):
        for (key, one), other in zip(network.named_parameters(), gradients.parameters(), strict=True):
            torch.testing.assert_close(one.grad, other.detach(), rtol=1e-8, atol=1e-10, msg=key)
        for one, other in zip(network.buffers(), gradients.buffers(), strict=True):
            torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-11)


@pytest.mark.slow
@every_model
def test_evaluation_equals_a_loop(name: str) -> None:
    ensemble, shape = wrapped(name)
    x = torch.randn(5, *shape).double()
    without_dropout(ensemble).train()(x)
    networks = [network.eval() for network in alone(ensemble)]
    expected = torch.stack([network(x) for network in networks], dim=1)
    torch.testing.assert_close(ensemble.eval()(x), expected, rtol=1e-10, atol=1e-11)
    torch.testing.assert_close(ensemble.fold()(x), expected, rtol=1e-10, atol=1e-11)
    with torch.inference_mode():
        torch.testing.assert_close(ensemble(x), expected, rtol=1e-10, atol=1e-11)
    twin = pickle.loads(pickle.dumps(copy.deepcopy(ensemble)))
    torch.testing.assert_close(twin(x), ensemble(x), rtol=0, atol=0)


def test_members_are_those_of_a_loop() -> None:
    model = MODELS["wrn"][0]()
    for given in (model, MODELS["wrn"][0]):
        made = []
        for execution in ("stacked", "loop"):
            torch.manual_seed(1)
            made.append(DeepEnsemble(members=3, execution=execution).wrap(given, example=torch.zeros(1, 1, 8, 8)))
        for one, other in zip(alone(made[0]), made[1].network.networks, strict=True):
            assert list(one.state_dict()) == list(other.state_dict())
            assert all(map(torch.equal, one.state_dict().values(), other.state_dict().values()))
            assert type(one) is type(other)


def test_frozen_layers_and_modes_stay() -> None:
    model = MODELS["residual"][0]()
    model.stem.weight.requires_grad_(False)
    model.bn.eval()
    ensemble = DeepEnsemble(members=2, execution="stacked").wrap(model, example=torch.zeros(1, 2, 5, 5), init="keep")
    frozen = [name for name, value in ensemble.named_parameters() if not value.requires_grad]
    assert frozen == ["network.network.stem.layer.weight"]
    assert not ensemble.network.network.bn.layer.training
    assert ensemble.network.network.gn.layer.training
    member = member_network(ensemble.network, 1)
    assert not member.stem.weight.requires_grad
    assert not member.bn.training


def test_decay_spares_norms_and_biases_of_stacked_layers() -> None:
    ensemble, _ = wrapped("residual")
    groups = ensemble.parameter_groups(weight_decay=0.1, decay_norm_and_bias=False)
    decayed = {id(value) for group in groups if group["weight_decay"] for value in group["params"]}
    names = {name.split(".")[2] for name, value in ensemble.named_parameters() if id(value) in decayed}
    # Slopes are neither norms nor biases.
    assert names == {"stem", "depthwise", "act", "grouped", "acts", "short", "out"}


def test_dropout_is_every_members_own() -> None:
    model = nn.Sequential(nn.Linear(4, 64), nn.Dropout(0.5), nn.Linear(64, K))
    ensemble = DeepEnsemble(members=2, execution="stacked").wrap(model, example=torch.zeros(1, 4))
    with torch.no_grad():
        for layer in ensemble.network.network:
            for value in layer.parameters():
                value.copy_(torch.cat([value[: len(value) // 2]] * 2))
    x = torch.randn(3, 4)
    outputs = ensemble.train()(x)
    assert (outputs[:, 0] - outputs[:, 1]).abs().min() > 1e-4
    outputs = ensemble.eval()(x)
    torch.testing.assert_close(outputs[:, 0], outputs[:, 1])


class Bare(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc, self.out, self.scale = nn.Linear(4, 6), nn.Linear(6, K), nn.Parameter(torch.ones(6))

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.fc(x) * self.scale)


class Functional(nn.Module):
    def __init__(self, change: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.fc, self.out, self.change = nn.Linear(4, 6), nn.Linear(6, K), change

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.change(self.fc(x), x))


def tied() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4), nn.Linear(4, K))
    model[2].weight = model[0].weight
    return model


def hooked() -> nn.Module:
    model = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, K))
    model[1].register_forward_hook(lambda _, args, output: 2 * output)
    return model


REFUSED: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "bare parameter": (Bare, "has '', a Bare with its own kind of weights or state"),
    "softmax over features": (lambda: Functional(lambda h, x: h.softmax(dim=1)), "computes something else"),
    "gate": (lambda: Functional(lambda h, x: h * h.chunk(2, dim=1)[0].repeat(1, 2)), "computes something else"),
    "the input again": (lambda: Functional(lambda h, x: h + x.sum(dim=1, keepdim=True)), "fails with|something else"),
    "random": (lambda: Functional(lambda h, x: h * torch.rand_like(h)), "draws random numbers"),
    "tied": (tied, "shares a weight between '2' and '0'"),
    "hooked": (hooked, "has hooks at '1'"),
    "norm first": (lambda: nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 6), nn.Linear(6, K)), "fails with"),
    "norm last": (lambda: nn.Sequential(nn.Linear(4, 6), nn.Linear(6, K), nn.BatchNorm1d(K)), "fails with"),
    "parametrised": (
        lambda: nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(4, 6)), nn.Linear(6, K)),
        "has '0'",
    ),
    "whole dropout": (
        lambda: nn.Sequential(nn.Linear(4, 6), nn.FeatureAlphaDropout(0.5), nn.Linear(6, K)),
        "may drop values that members share",
    ),
    "norm of two axes": (
        lambda: nn.Sequential(
            nn.Linear(4, 6), nn.Unflatten(1, (2, 3)), nn.LayerNorm((2, 3)), nn.Flatten(), nn.Linear(6, K)
        ),
        "over several axes",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_what_cannot_be_stacked_runs_in_a_loop_or_is_refused_with_the_reason(name: str) -> None:
    make, reason = REFUSED[name]
    ensemble = DeepEnsemble(members=2).wrap(make(), example=torch.randn(1, 4))
    assert isinstance(ensemble.network, SeparateNetworks)
    with pytest.raises(
        InputError, match=f"can run with the members stacked in their channels.*{reason}.*execution='auto'"
    ):
        DeepEnsemble(members=2, execution="stacked").wrap(make(), example=torch.randn(1, 4))


def test_an_input_added_to_every_feature_is_found_out() -> None:
    # (B, 1) against (B, M F) broadcasts and is right for shared rows; for rows of the members' own it is not.
    model = Functional(lambda h, x: h + x.sum(dim=1, keepdim=True))
    assert isinstance(DeepEnsemble(members=2).wrap(model, example=torch.randn(1, 4)).network, SeparateNetworks)


class Branching(nn.Module):
    """Chooses by the sign of its weights' sum; a few random members often choose alike."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = nn.Linear(5, 8), nn.Linear(8, K)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        return self.last(h if self.first.weight.sum() > 0 else 2 * h)


class Rounding(Branching):
    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        return self.last(h * int(10 * self.first.weight.abs().max().item()))


@pytest.mark.parametrize("make", [Branching, Rounding])
@pytest.mark.parametrize("seed", range(6))
def test_a_model_that_chooses_by_values_is_never_stacked(make: Callable[[], nn.Module], seed: int) -> None:
    torch.manual_seed(seed)
    x = torch.randn(4, 5)
    ensemble = DeepEnsemble(members=3).wrap(make(), example=x[:1]).eval()
    assert isinstance(ensemble.network, SeparateNetworks)
    with pytest.raises(InputError, match="control flow that depends on values"):
        DeepEnsemble(members=3, execution="stacked").wrap(make(), example=x[:1])


def test_members_that_differ_run_in_a_loop() -> None:
    sizes = iter([5, 6])
    ensemble = DeepEnsemble(members=2).wrap(
        lambda: motet.models.mlp(input_shape=(4,), num_classes=K, hidden=(next(sizes),)), example=torch.randn(1, 4)
    )
    assert isinstance(ensemble.network, SeparateNetworks)
    scales = iter([1.0, 2.0])

    def scaled() -> nn.Module:
        scale = next(scales)
        return Functional(lambda h, x: h * scale)

    assert isinstance(DeepEnsemble(members=2).wrap(scaled, example=torch.randn(1, 4)).network, SeparateNetworks)


@pytest.mark.slow
def test_the_way_of_running_follows_the_work() -> None:
    net = motet.models.small_cnn(num_classes=K, in_channels=1)
    ensemble = DeepEnsemble(members=4).wrap(net, example=torch.zeros(1, 1, 8, 8))
    stack = ensemble.network
    assert isinstance(stack, Stack)
    # The first convolution's output: 16 channels of 8 x 8 for each row and member.
    assert stack.widening == 4 * 16
    assert stack.runs_all_at_once(torch.zeros(8, 1, 8, 8))
    assert not stack.runs_all_at_once(torch.zeros(200, 1, 8, 8))
    assert not stack.runs_all_at_once(torch.zeros(8, 1, 8, 8).double())
    assert not stack.runs_all_at_once(torch.zeros(8, 1, 8, 8, device="meta"))
    with stack.layout.distinct_rows():
        assert stack.runs_all_at_once(torch.zeros(32, 1, 8, 8))
    x = torch.randn(200, 1, 8, 8)
    in_turn, stack.always = ensemble(x), True
    torch.testing.assert_close(ensemble(x), in_turn, rtol=1e-4, atol=1e-5)
    large = motet.models.small_cnn(num_classes=K, in_channels=1, width=8)
    assert isinstance(DeepEnsemble(members=4).wrap(large, example=torch.zeros(1, 1, 16, 16)).network, SeparateNetworks)


def test_a_loop_that_fails_leaves_the_stack_as_it_was() -> None:
    ensemble, _ = wrapped("small cnn")
    ensemble.network.always = False
    with pytest.raises(RuntimeError):
        ensemble(torch.zeros(2, 3, 4, 4).double())
    assert ensemble.network.active.member is None
    assert not any(getattr(module, "_parts", None) for module in ensemble.modules())


def test_autocast_and_indices() -> None:
    ensemble = DeepEnsemble(members=2).wrap(MODELS["mlp"][0](), example=torch.zeros(1, 2, 2))
    x = torch.randn(4, 2, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        outputs = ensemble(x)
    torch.testing.assert_close(outputs, ensemble(x), rtol=0.05, atol=0.05)
    tokens = nn.Sequential(nn.Embedding(5, 3), nn.Flatten(), nn.Linear(6, K))
    with pytest.raises(InputError, match="has '0', an Embedding with its own kind of weights"):
        DeepEnsemble(members=2, execution="stacked").wrap(tokens, example=torch.zeros(1, 2, dtype=torch.long))


def test_execution_is_checked(unchecked: None) -> None:
    with pytest.raises(InputError, match=r"auto, stacked, loop, but got 'stack'.*mean 'stacked'"):
        DeepEnsemble(execution="stack")  # type: ignore[arg-type]


@every_model
def test_the_summary_gives_all_parameters_to_the_members(name: str) -> None:
    ensemble, _ = wrapped(name)
    assert ensemble.summary().shared == 0
    assert ensemble.summary().own == sum(value.numel() for value in ensemble.parameters())
