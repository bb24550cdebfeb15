"""Adapters and exits."""

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn

from motet.errors import InputError
from motet.layers import Adapter, DepthWeights, Exits
from motet.likelihoods import Categorical
from motet.methods import DUN, MIMMO, EarlyExit, Method
from motet.surgery import member_network

CLASSES = 3


class TwoStages(nn.Module):
    """Counts how often its second stage runs."""

    def __init__(self) -> None:
        super().__init__()
        self.stage1 = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU())
        self.stage2 = nn.Sequential(nn.Conv2d(4, 6, 3, stride=2, padding=1), nn.BatchNorm2d(6), nn.ReLU())
        self.stage3 = nn.Sequential(nn.Conv2d(6, 6, 3, stride=2, padding=1), nn.Tanh())
        self.fc = nn.Linear(6, CLASSES)
        self.default_exits = ("stage1", "stage2")

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.stage3(self.stage2(self.stage1(x))).mean((2, 3)))


def images(rows: int = 4) -> Tensor:
    return torch.randn(rows, 2, 8, 8, dtype=torch.float64)


@pytest.mark.parametrize(("axes", "shape"), [(4, (5, 3, 7, 6)), (3, (5, 3, 9))])
@pytest.mark.parametrize("width", [1, 4, 2000])
def test_an_adapter_is_convolution_norm_relu_pool(axes: int, shape: tuple[int, ...], width: int) -> None:
    adapter = Adapter(axes=axes, axis=1, inputs=3, outputs=width, dtype=torch.float64).train()
    h = torch.randn(shape, dtype=torch.float64)
    weight, bias, norm = adapter.project.weight.flatten(1), adapter.project.bias, adapter.norm
    norm.weight.data.normal_()
    norm.bias.data.normal_()
    out = torch.einsum("oc,bcl->bol", weight, h.flatten(2)) + bias[:, None]
    mean, var = out.mean((0, 2), keepdim=True), out.var((0, 2), unbiased=False, keepdim=True)
    slow = ((out - mean) / (var + 1e-5).sqrt() * norm.weight[:, None] + norm.bias[:, None]).relu().mean(-1)
    torch.testing.assert_close(adapter(h), slow, rtol=1e-8, atol=1e-10)
    adapter.eval()
    with torch.no_grad():
        fast = adapter(h)  # part by part
    torch.testing.assert_close(fast, adapter(h), rtol=1e-10, atol=1e-12)


def test_parts_of_an_image_add_up() -> None:
    adapter = Adapter(axes=4, axis=1, inputs=2, outputs=1000).eval()
    h = torch.randn(2, 2, 20, 20)
    with torch.no_grad():
        fast = adapter(h)
    torch.testing.assert_close(fast, adapter(h), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("shape", [(5, 4), (5, 7, 4), (5, 3, 2, 4), (5, 4, 4), (5, 5, 4)])
@pytest.mark.parametrize("width", [1, 6])
def test_an_adapter_of_features_in_the_last_axis(shape: tuple[int, ...], width: int) -> None:
    adapter = Adapter(axes=len(shape), axis=-1, inputs=4, outputs=width, dtype=torch.float64)
    h = torch.randn(shape, dtype=torch.float64)
    out = h.reshape(5, -1, 4) @ adapter.project.weight.T + adapter.project.bias
    if width > 1:
        out = (out - out.mean(-1, keepdim=True)) / (out.var(-1, unbiased=False, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(adapter(h), out.relu().mean(1), rtol=1e-8, atol=1e-10)
    torch.testing.assert_close(adapter(h[:1]), adapter(h)[:1])


def posterior(ensemble: nn.Module, weights: list[float]) -> None:
    with torch.no_grad():
        ensemble.network.weights.logits_MD.copy_(torch.tensor([weights]).log())


def test_depths_of_little_weight_are_skipped_in_evaluation_and_what_comes_behind_is_not_run() -> None:
    ensemble = DUN().wrap(TwoStages().double(), example=images(1))
    assert ensemble.network.points == ("stage1", "stage2")
    x = images()
    ran: list[str] = []
    for name in ("stage1", "stage2", "stage3"):
        stage = ensemble.network.network.get_submodule(name)
        stage.register_forward_hook(lambda module, args, out, name=name: ran.append(name))
    posterior(ensemble, [0.6, 0.395, 0.005])
    ensemble.eval()
    exits_BDC = ensemble.forward_exits(x)[:, 0]
    assert ran == ["stage1", "stage2", "stage3"]  # asked for by name, all are there
    ran.clear()
    outputs = ensemble(x)[:, 0]
    assert ran == ["stage1", "stage2"]
    slow = (0.6 * exits_BDC[:, 0].softmax(-1) + 0.395 * exits_BDC[:, 1].softmax(-1)) / 0.995
    torch.testing.assert_close(outputs.exp(), slow)
    torch.testing.assert_close(ensemble.fold()(x)[:, 0], outputs)
    torch.testing.assert_close(ensemble.fold().fold()(x)[:, 0], outputs)
    torch.testing.assert_close(member_network(ensemble.network, 0)(x), outputs)
    losses = -exits_BDC.log_softmax(-1)[:, :, 0].mean(0)
    theta = ensemble.network.weights().exp()[0]
    elbo = (theta * losses).sum() + (theta * (3 * theta).log()).sum() / len(x)
    torch.testing.assert_close(ensemble.loss(x, torch.zeros(4, dtype=torch.long)), elbo)  # a loss is of all depths
    ensemble.train()
    ran.clear()
    ensemble(x)
    assert ran == ["stage1", "stage2", "stage3"]


def test_what_is_skipped_follows_the_weights() -> None:
    ensemble = DUN().wrap(TwoStages().double(), example=images(1)).eval()
    exits = ensemble.network
    assert exits.kept() == (0, 1, 2)
    posterior(ensemble, [0.001, 0.998, 0.001])
    assert exits.kept() == (1,)
    state = copy.deepcopy(ensemble.state_dict())
    posterior(ensemble, [0.5, 0.001, 0.499])
    assert exits.kept() == (0, 2)
    x = images()
    torch.testing.assert_close(ensemble(x), ensemble.fold()(x))
    ensemble.load_state_dict(state)
    assert exits.kept() == (1,)
    for twin in (copy.deepcopy(ensemble), pickle.loads(pickle.dumps(ensemble))):
        torch.testing.assert_close(twin(x), ensemble(x))
    torch.testing.assert_close(ensemble(x)[:, 0].softmax(-1), ensemble.forward_exits(x)[:, 0, 1].softmax(-1))
    exits.weights.logits_MD.data.copy_(torch.tensor([[0.0, 0.0, 9.0]]))  # behind torch's back
    ensemble.train().eval()
    assert exits.kept() == (2,)
    ensemble.train()
    assert exits.kept() is None


def test_the_depth_with_the_most_weight_is_kept_whatever_the_bound() -> None:
    ensemble = DUN(skip_below=0.9).wrap(TwoStages().double(), example=images(1)).eval()
    posterior(ensemble, [0.3, 0.4, 0.3])
    assert ensemble.network.kept() == (1,)
    everything = DUN(skip_below=0.0).wrap(TwoStages().double(), example=images(1)).eval()
    posterior(everything, [1e-9, 1e-9, 1.0])
    assert everything.network.kept() is None


def test_a_depth_that_one_member_needs_is_run_for_all() -> None:
    network = Exits(
        nn.Sequential(nn.Linear(2, 2)), ("0",), [nn.Linear(2, 2)], DepthWeights(2, 2, learned=True),
        likelihood=Categorical(), skip_below=0.01,
    ).eval()  # fmt: skip
    with torch.no_grad():
        network.weights.logits_MD.copy_(torch.tensor([[9.0, 0.0], [0.0, 9.0]]))
    assert network.kept() == (0, 1)


@pytest.mark.parametrize("method", [MIMMO(members=3), DUN(), EarlyExit(), MIMMO(members=1, exits=())], ids=str)
def test_one_member_is_an_ordinary_network(method: Method) -> None:
    ensemble = method.wrap(TwoStages().double(), example=images(1)).eval()
    with torch.no_grad():
        ensemble.network.weights.logits_MD.normal_()
    x = images()
    for m in range(method.members):
        network = member_network(ensemble.network, m)
        out = network(x)
        assert out.shape == (4, CLASSES)
        torch.testing.assert_close(out.log_softmax(-1), ensemble(x)[:, m].log_softmax(-1), rtol=1e-10, atol=1e-12)
        assert not any(hasattr(part, "member") for part in network.modules())
        if method != MIMMO(members=1, exits=()):
            torch.testing.assert_close(out.exp().sum(-1), torch.ones(4).double())
    kinds = {type(part).__name__ for part in ensemble.modules()}
    assert method.members == 1 or {"MultiInput", "MultiHead"} <= kinds  # the ensemble is left alone


class InPlace(nn.Module):
    """Writes on what its first layer put out."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(4, 6)
        self.drop = nn.Dropout(0.0, inplace=True)
        self.second = nn.Linear(6, 6)
        self.act = nn.ReLU(inplace=True)
        self.out = nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        h += 1.0
        return self.out(self.act(self.second(h)))


@pytest.mark.parametrize("exits", [("first",), ("second",), ("first", "act"), ("first", "second", "act")])
def test_a_model_that_writes_on_a_points_output_can_be_trained(exits: tuple[str, ...]) -> None:
    ensemble = DUN(exits=exits).wrap(InPlace().double(), example=torch.randn(1, 4).double())
    x = torch.randn(5, 4).double()
    ensemble.loss(x, torch.randint(CLASSES, (5,))).backward()
    network, heads = ensemble.network.network, ensemble.network.heads
    slow = network.out(heads[0](network.get_submodule(exits[0])(network.first(x) + 1 if exits[0] == "second" else x)))
    torch.testing.assert_close(ensemble.forward_exits(x)[:, 0, 0], slow)
    assert ensemble.network.written == frozenset(exits) & {"first", "second"}


def test_a_point_that_does_not_run_is_named() -> None:
    class Sometimes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.out = nn.Linear(4, 6), nn.Linear(6, CLASSES)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(nn.functional.linear(x, self.first.weight) if self.training else self.first(x))

    with pytest.raises(InputError, match="must run in each forward pass, but got 'first'"):
        EarlyExit().wrap(Sometimes(), example=torch.zeros(1, 4))


def test_hooks_do_not_stay() -> None:
    ensemble = MIMMO().wrap(TwoStages().double(), example=images(1))
    ensemble(images())
    with pytest.raises(RuntimeError):
        ensemble(torch.zeros(3, 5, 8, 8, dtype=torch.float64))
    assert not any(part._forward_hooks for part in ensemble.modules())
    assert "points=('stage1', 'stage2')" in repr(ensemble.network)
