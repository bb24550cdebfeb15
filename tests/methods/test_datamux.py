"""DataMUX against a loop over members with ordinary layers, and what its fixed transforms are."""

import copy
import math
from collections.abc import Callable

import pytest
import torch
from torch import Generator, Tensor, nn
from torch.nn import functional as F  # noqa: N812

from motet.ensemble import Ensemble
from motet.errors import InputError
from motet.layers import LearnedTransforms
from motet.layers.multiplexed import random_rotations
from motet.methods import DataMUX
from motet.surgery import member_network
from motet.types import Batch

K = 4  # classes


class Net(nn.Module):
    """An input layer, a norm-free body that takes any number of axes after it, and a head."""

    def __init__(self, stem: nn.Module, features: int, *, space: tuple[int, ...]) -> None:
        super().__init__()
        self.stem, self.head, self.space = stem, nn.Linear(features, K), space

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x).tanh()
        return self.head(h.mean(dim=self.space) if self.space else h)


Case = tuple[Callable[[], nn.Module], tuple[int, ...], int]
CASES: dict[str, Case] = {  # model, input shape, axes of space
    "vectors": (lambda: Net(nn.Linear(5, 8), 8, space=()), (5,), 0),
    "tokens": (lambda: Net(nn.Linear(3, 8), 8, space=(1,)), (3, 3), 0),
    "token grid": (lambda: Net(nn.Linear(3, 8), 8, space=(1, 2)), (2, 4, 3), 0),
    "signals": (lambda: Net(nn.Conv1d(2, 8, 3), 8, space=(2,)), (2, 6), 1),
    "images": (lambda: Net(nn.Conv2d(2, 8, 3, bias=False), 8, space=(2, 3)), (2, 6, 5), 2),
    "images in groups": (lambda: Net(nn.Conv2d(2, 8, 3, groups=2), 8, space=(2, 3)), (2, 6, 5), 2),
    "flat images": (lambda: Net(nn.Sequential(nn.Flatten(), nn.Linear(24, 8)), 8, space=()), (2, 4, 3), 2),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
every_size = pytest.mark.parametrize("members", [1, 2, 3])


def wrap(case: Case, members: int, **settings: object) -> tuple[nn.Module, Ensemble]:
    model = case[0]().double()
    return model, DataMUX(members=members, **settings).wrap(model, example=torch.randn(1, *case[1]).double())


def stem_of(network: nn.Module) -> nn.Module:
    stem = network.stem
    return stem[1] if isinstance(stem, nn.Sequential) else stem


class Slow(nn.Module):
    """Each member's own convolution (or linear layer), norm, ReLU and input layer; the sum; the body; M heads."""

    def __init__(self, case: Case, model: nn.Module, ensemble: Ensemble) -> None:
        super().__init__()
        self.members, self.axes, M = ensemble.members, case[2], ensemble.members
        learned, network = ensemble.network.transforms, ensemble.network.network
        features = case[1][0 if self.axes else -1]
        block = [slice(m * features, (m + 1) * features) for m in range(M)]
        self.transforms, self.norms = nn.ModuleList(), nn.ModuleList()
        self.models = nn.ModuleList(copy.deepcopy(model) for _ in range(M))
        self.head_of = nn.ModuleList(copy.deepcopy(model.head) for _ in range(M))
        with torch.no_grad():
            for m in range(M):
                if self.axes:
                    kind = nn.Conv1d if self.axes == 1 else nn.Conv2d
                    layer = kind(features, features, 3, padding=1, bias=learned.layer.bias is not None).double()
                else:
                    layer = nn.Linear(features, features).double()
                layer.weight.copy_(learned.layer.weight[block[m]])
                if layer.bias is not None:
                    layer.bias.copy_(learned.layer.bias[block[m]])
                self.transforms.append(layer)
                if learned.norm is not None:
                    norm = (nn.BatchNorm1d if self.axes == 1 else nn.BatchNorm2d)(features).double()
                    norm.weight.copy_(learned.norm.weight[block[m]])
                    norm.bias.copy_(learned.norm.bias[block[m]])
                    self.norms.append(norm)
                stem_of(self.models[m]).weight.copy_(stem_of(network).layer.weight[:, m::M])
                if m > 0:
                    stem_of(self.models[m]).bias = None
                self.head_of[m].weight.copy_(network.head.layer.weight[m * K : (m + 1) * K])
                self.head_of[m].bias.copy_(network.head.layer.bias[m * K : (m + 1) * K])

    def forward(self, x_BM: Tensor) -> Tensor:
        total = 0
        for m in range(self.members):
            x = self.transforms[m](x_BM[:, m])
            x = self.norms[m](x) if self.norms else x
            total = total + self.models[m].stem(x.relu())
        h, space = total.tanh(), self.models[0].space
        h = h.mean(dim=space) if space else h
        return torch.stack([head(h) for head in self.head_of], dim=1)


@pytest.mark.slow
@every_case
@every_size
@pytest.mark.parametrize("norm", [True, False])
def test_learned_transforms_equal_a_loop_over_members(case: Case, members: int, norm: bool) -> None:
    model, ensemble = wrap(case, members, norm=norm, input_repetition=0.0)
    slow, transforms = Slow(case, model, ensemble).train(), ensemble.network.transforms
    assert (transforms.norm is not None) == (norm and case[2] > 0)
    x, y = torch.randn(4, *case[1]).double(), torch.randint(K, (4,))
    batch = ensemble.grouping.deal(x, y, members=members, generator=Generator().manual_seed(1))
    expected = slow(batch.inputs)
    total = sum(F.cross_entropy(expected[:, m], batch.targets_BM[:, m]) for m in range(members))
    loss = ensemble.train().loss(x, y, generator=Generator().manual_seed(1))
    torch.testing.assert_close(loss, total, rtol=1e-10, atol=1e-10)
    loss.backward()
    total.backward()
    network = ensemble.network.network
    features = case[1][0 if case[2] else -1]
    for m in range(members):
        block = slice(m * features, (m + 1) * features)
        pairs = [
            (transforms.layer.weight.grad[block], slow.transforms[m].weight.grad),
            (stem_of(network).layer.weight.grad[:, m::members], stem_of(slow.models[m]).weight.grad),
            (network.head.layer.weight.grad[m * K : (m + 1) * K], slow.head_of[m].weight.grad),
        ]
        if transforms.norm is not None:
            pairs.append((transforms.norm.weight.grad[block], slow.norms[m].weight.grad))
            pairs.append((transforms.norm.running_var[block], slow.norms[m].running_var))
        else:
            pairs.append((transforms.layer.bias.grad[block], slow.transforms[m].bias.grad))
        for one, other in pairs:
            torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)
    ensemble.eval()
    slow.eval()
    tiled = x.unsqueeze(1).expand(-1, members, *case[1])
    torch.testing.assert_close(ensemble(x), slow(tiled), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(ensemble.fold()(x), slow(tiled), rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(ensemble.forward_distinct(batch.inputs), slow(batch.inputs), rtol=1e-10, atol=1e-10)
    for m in range(members):
        torch.testing.assert_close(member_network(ensemble.network, m)(x), slow(tiled)[:, m], rtol=1e-10, atol=1e-10)


def slow_transform(transform: str, x: Tensor, weight: Tensor, axes: int) -> Tensor:
    """One member's fixed transform of one batch, with ordinary layers and loops."""
    if transform == "identity":
        return x
    if transform == "gaussian" and axes:
        kind = nn.Conv1d if axes == 1 else nn.Conv2d
        layer = kind(x.shape[1], x.shape[1], 3, padding=1, bias=False).double()
        layer.weight = nn.Parameter(weight)
        return layer(x)
    if transform == "gaussian":
        return torch.stack([x[..., f] * weight[f] for f in range(x.shape[-1])], dim=-1)
    if not axes:
        return torch.stack([(x * row).sum(dim=-1) for row in weight], dim=-1)
    rotated = torch.zeros_like(x)
    for b in range(x.shape[0]):
        for c in range(x.shape[1]):
            rotated[b, c] = torch.mv(weight, x[b, c].flatten()).view(x[b, c].shape)
    return rotated


@pytest.mark.slow
@every_case
@every_size
@pytest.mark.parametrize("transform", ["gaussian", "orthogonal", "identity"])
def test_fixed_transforms_are_summed_into_the_model_as_it_is(case: Case, members: int, transform: str) -> None:
    model, ensemble = wrap(case, members, transform=transform)
    transforms, network = ensemble.network.transforms, ensemble.network.network
    assert not any(True for _ in transforms.parameters())
    assert "network.transforms.weights" in ensemble.state_dict()
    assert torch.equal(stem_of(network).weight, stem_of(model).weight)
    x_BM, direction = torch.randn(6, members, *case[1]).double(), torch.randn(6, members, K).double()
    slow_head = network.head.layer

    def slow(inputs: Tensor) -> Tensor:
        total = sum(slow_transform(transform, inputs[:, m], transforms.weights[m], case[2]) for m in range(members))
        h = network.stem(total).tanh()
        h = h.mean(dim=model.space) if model.space else h
        return torch.stack(
            [h @ slow_head.weight[m * K : (m + 1) * K].T + slow_head.bias[m * K : (m + 1) * K] for m in range(members)],
            dim=1,
        )

    batch = Batch(inputs=x_BM, targets_BM=torch.zeros(6, members).long(), distinct=True)
    for out, expected in (
        (ensemble.forward_batch(batch), slow(x_BM)),
        (ensemble(x_BM[:, 0]), slow(x_BM[:, :1].expand_as(x_BM))),
    ):
        torch.testing.assert_close(out, expected, rtol=1e-10, atol=1e-10)
        parameters = list(ensemble.parameters())
        for one, other in zip(
            torch.autograd.grad(out, parameters, direction),
            torch.autograd.grad(expected, parameters, direction),
            strict=True,
        ):
            torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)
    folded = ensemble.eval().fold()
    torch.testing.assert_close(folded(x_BM[:, 0]), ensemble(x_BM[:, 0]), rtol=1e-10, atol=1e-10)
    assert len(folded.network.transforms.weights) == 1


def test_fixed_transforms_have_the_distributions_that_they_say() -> None:
    model = Net(nn.Conv2d(8, 4, 3), 4, space=(2, 3))
    weights = DataMUX(members=4, transform="gaussian").wrap(model, example=torch.zeros(1, 8, 5, 5)).network.transforms
    n = weights.weights.numel()
    assert weights.weights.shape == (4, 8, 8, 3, 3)
    assert abs(weights.weights.mean()) < 5 / math.sqrt(n)
    assert abs(weights.weights.std() - 1) < 5 / math.sqrt(2 * n)
    rotations = random_rotations(500, 4, like=torch.zeros(1, dtype=torch.float64))
    eye = torch.eye(4, dtype=torch.float64).expand(500, -1, -1)
    torch.testing.assert_close(rotations @ rotations.mT, eye, rtol=0, atol=1e-12)
    torch.testing.assert_close(torch.linalg.det(rotations), torch.ones(500).double(), rtol=0, atol=1e-12)
    # Uniform: every entry has mean 0 and mean square 1/4.
    assert rotations.mean(dim=0).abs().max() < 5 * 0.5 / math.sqrt(500)
    assert (rotations.square().mean(dim=0) - 0.25).abs().max() < 0.06
    assert random_rotations(2, 1, like=torch.zeros(1)).tolist() == [[[1.0]], [[1.0]]]


def test_members_have_transforms_of_their_own() -> None:
    for transform in ("learned", "gaussian", "orthogonal"):
        for case in CASES.values():
            _, ensemble = wrap(case, 2, transform=transform)
            transforms = ensemble.network.transforms
            weights = (
                transforms.layer.weight.unflatten(0, (2, -1))
                if isinstance(transforms, LearnedTransforms)
                else transforms.weights
            )
            assert not torch.equal(weights[0], weights[1])


def test_what_comes_before_the_input_layer_stays() -> None:
    class Normalises(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm, self.net = nn.BatchNorm1d(4), nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, K))

        def forward(self, x: Tensor) -> Tensor:
            return self.net(self.norm(x))

    for transform in ("learned", "gaussian", "orthogonal", "identity"):
        ensemble = DataMUX(members=2, transform=transform).wrap(Normalises(), example=torch.zeros(1, 4))
        ensemble.loss(torch.randn(6, 4), torch.randint(K, (6,))).backward()
        assert ensemble.network.network.norm.num_batches_tracked == 1


def test_a_model_of_one_layer_can_have_its_input_summed() -> None:
    ensemble = DataMUX(transform="gaussian").wrap(nn.Linear(4, K), example=torch.zeros(1, 4))
    assert ensemble(torch.zeros(2, 4)).shape == (2, 2, K)
    with pytest.raises(InputError, match="DataMUX needs a body between"):
        DataMUX().wrap(nn.Linear(4, K), example=torch.zeros(1, 4))


def test_two_input_layers_are_both_widened() -> None:
    class TwoWays(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.head = nn.Conv2d(2, 6, 3, padding=1), nn.Conv2d(2, 6, 1), nn.Linear(6, K)

        def forward(self, x: Tensor) -> Tensor:
            return self.head((self.a(x).relu() + self.b(x)).mean(dim=(2, 3)))

    with pytest.raises(InputError, match="2 candidates"):
        DataMUX().wrap(TwoWays(), example=torch.zeros(1, 2, 4, 4))
    ensemble = DataMUX().wrap(TwoWays(), example=torch.zeros(1, 2, 4, 4), first=("a", "b"))
    assert ensemble.network.network.a.layer.in_channels == ensemble.network.network.b.layer.in_channels == 4
    assert DataMUX(transform="orthogonal").wrap(TwoWays(), example=torch.zeros(1, 2, 4, 4)).members == 2


def test_models_that_cannot_work_are_refused_at_once() -> None:
    large = nn.Sequential(nn.Conv2d(1, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(2, K))
    with pytest.raises(InputError, match=r"at most 4096 numbers per channel, but got .* 4,225 x 4,225"):
        DataMUX(transform="orthogonal").wrap(large, example=torch.zeros(1, 1, 65, 65))
    volumes = nn.Sequential(nn.Flatten(), nn.Linear(16, 4), nn.ReLU(), nn.Linear(4, K))
    with pytest.raises(InputError, match=r"vectors, tokens, signals or images.*\(1, 2, 2, 4\)"):
        DataMUX().wrap(volumes, example=torch.zeros(1, 1, 2, 2, 4))


@pytest.mark.parametrize("transform", ["learned", "gaussian", "orthogonal", "identity"])
def test_tokens_are_multiplexed_as_vectors(transform: str) -> None:
    words = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, K)).double()
    ids_BM = torch.randint(9, (5, 2, 3))
    ensemble = DataMUX(members=2, transform=transform).wrap(words, example=ids_BM[:1, 0]).eval()  # type: ignore[arg-type]
    layer = ensemble.network[0]
    vectors = layer.layer(ids_BM)
    if transform == "learned":
        weight, bias = layer.transforms.layer.weight.view(2, 4, 4), layer.transforms.layer.bias.view(2, 4)
        parts = [(vectors[:, m] @ weight[m].T + bias[m]).relu() for m in range(2)]
    elif transform == "orthogonal":
        parts = [vectors[:, m] @ layer.transforms.weights[m].T for m in range(2)]
    else:
        parts = [vectors[:, m] * layer.transforms.weights[m] for m in range(2)]
    hidden = ensemble.network[2](sum(parts).flatten(1)).relu()
    expected = ensemble.network[4].layer(hidden).view(5, 2, K)
    torch.testing.assert_close(ensemble.forward_distinct(ids_BM), expected)
    torch.testing.assert_close(ensemble.fold()(ids_BM[:, 0]), ensemble(ids_BM[:, 0]))
    loss = ensemble.train().loss(ids_BM[:, 0], torch.randint(K, (5,)))
    loss.backward()
    assert layer.layer.weight.grad is not None


def test_the_model_is_kept_and_its_types_too() -> None:
    for dtype in (torch.float64, torch.bfloat16):
        for transform in ("learned", "gaussian", "orthogonal", "identity"):
            model = Net(nn.Conv2d(2, 8, 3), 8, space=(2, 3)).to(dtype)
            before = copy.deepcopy(model.state_dict())
            ensemble = DataMUX(transform=transform).wrap(model, example=torch.randn(1, 2, 5, 5).to(dtype))
            values = [value for value in ensemble.state_dict().values() if value.is_floating_point()]
            assert {value.dtype for value in values} == {dtype}
            assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
            assert ensemble.loss(torch.randn(4, 2, 5, 5).to(dtype), torch.randint(K, (4,))).isfinite()


def test_the_summary_counts_what_the_members_own() -> None:
    ensemble = DataMUX(members=2).wrap(Net(nn.Conv2d(3, 8, 3), 8, space=(2, 3)), example=torch.zeros(1, 3, 5, 5))
    summary = ensemble.summary()
    transforms = 2 * (3 * 3 * 9 + 3 + 3)
    assert summary.own == transforms + 2 * (8 * 3 * 9) + 2 * (8 * K + K)
    assert summary.shared == 8


def test_the_operations_are_those_of_mimmos_table() -> None:
    # A member's convolution without bias, batch norm and ReLU on 3 x 32 x 32: 92,160 in the table's convention.
    ensemble = DataMUX(members=2).wrap(Net(nn.Conv2d(3, 8, 3), 8, space=(2, 3)), example=torch.zeros(1, 3, 32, 32))
    layer = ensemble.network.transforms.layer
    assert layer.bias is None
    pixels = 32 * 32
    assert layer.weight[:3].numel() * pixels + 2 * 3 * pixels + 3 * pixels == 92160


def test_the_defaults_are_mimmos() -> None:
    method = DataMUX()
    assert (method.members, method.transform, method.norm) == (2, "learned", True)
    assert (method.batch_repetition, method.input_repetition, method.combination) == (2, 0.25, "mixture")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"transform": "graded"}, "transform must be one of learned, gaussian, orthogonal, identity, but got 'graded'"),
        ({"batch_repetition": 0}, "batch_repetition=0"),
        ({"input_repetition": -1.0}, "input_repetition=-1"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, object], message: str, unchecked: None) -> None:
    with pytest.raises(InputError, match=message):
        DataMUX(**settings)
