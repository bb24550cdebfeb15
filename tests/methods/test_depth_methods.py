"""EarlyExit, DUN and MIMMO against loops over rows, members and depths, in double precision."""

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from motet.ensemble import Ensemble
from motet.errors import InputError
from motet.methods import DUN, MIMMO, MIMO, EarlyExit, Method, Single
from motet.objectives import Independent
from motet.types import Progress

K = 3


class Images(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.conv2, self.norm2 = nn.Conv2d(4, 6, 3, stride=2, padding=1), nn.BatchNorm2d(6)
        self.conv3, self.norm3 = nn.Conv2d(6, 5, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(5)
        self.relu1, self.relu2 = nn.ReLU(), nn.ReLU()
        self.fc = nn.Linear(5, K)
        self.default_exits = ("relu1", "relu2")

    def forward(self, x: Tensor) -> Tensor:
        h = self.relu1(self.norm1(self.conv1(x)))
        h = self.relu2(self.norm2(self.conv2(h)))
        return self.fc(self.norm3(self.conv3(h)).relu().mean((2, 3)))


def images(rows: int) -> Tensor:
    return torch.randn(rows, 2, 6, 6, dtype=torch.float64)


def wrap(method: Method, model: nn.Module | None = None, **more: object) -> Ensemble:
    ensemble = method.wrap((model or Images()).double(), example=images(1), **more)
    if hasattr(ensemble.network, "weights"):
        with torch.no_grad():
            ensemble.network.weights.logits_MD.normal_()
    return ensemble


def batch_norm(h: Tensor, norm: nn.BatchNorm2d) -> Tensor:
    mean, var = h.mean((0, 2, 3)), h.var((0, 2, 3), unbiased=False)
    scaled = (h - mean[:, None, None]) / (var[:, None, None] + norm.eps).sqrt()
    return scaled * norm.weight[:, None, None] + norm.bias[:, None, None]


def slow_features(network: nn.Module, first: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Features at the two exits and those that the output layer reads."""
    one = batch_norm(first, network.norm1).relu()
    two = batch_norm(F.conv2d(one, network.conv2.weight, network.conv2.bias, stride=2, padding=1), network.norm2).relu()
    three = batch_norm(F.conv2d(two, network.conv3.weight, stride=2, padding=1), network.norm3).relu()
    return one, two, three.mean((2, 3))


def slow_adapter(h: Tensor, adapter: nn.Module) -> Tensor:
    out = torch.einsum("oc,bchw->bohw", adapter.project.weight[:, :, 0, 0], h) + adapter.project.bias[:, None, None]
    return batch_norm(out, adapter.norm).relu().mean((2, 3))


def slow_ce(logits: Tensor, label: Tensor) -> Tensor:
    return -(logits[label] - logits.exp().sum().log())


def agree(ensemble: Ensemble, fast: Tensor, slow: Tensor) -> None:
    torch.testing.assert_close(fast, slow, rtol=1e-10, atol=1e-12)
    parameters = list(ensemble.parameters())
    grads = [torch.autograd.grad(each, parameters, allow_unused=True) for each in (fast, slow)]
    for (name, _), one, other in zip(ensemble.named_parameters(), *grads, strict=True):
        if one is None or other is None:
            assert (one is None) == (other is None), name
        else:
            torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-11, msg=name)


@pytest.mark.parametrize("members", [1, 2, 3])
@pytest.mark.parametrize(
    ("alpha", "progress"),
    [
        (0.0, None),
        (1.0, None),
        (1e6, Progress(epoch=5.0, epochs=9, examples=100)),
        (45000.0, Progress(epoch=4.9, epochs=9, examples=45000)),
    ],
)
def test_mimmo_equals_a_loop(members: int, alpha: float, progress: Progress | None) -> None:
    ensemble = wrap(MIMMO(members=members, alpha=alpha)).train()
    network, heads = ensemble.network.network, ensemble.network.heads
    assert ensemble.network.points == ("relu1", "relu2")
    x, y = images(5), torch.randint(K, (5,))
    fast = ensemble.loss(x, y, generator=torch.Generator().manual_seed(1), progress=progress)
    batch = ensemble.grouping.deal(x, y, members=members, generator=torch.Generator().manual_seed(1))
    rows = len(batch.inputs)
    assert rows == 10  # each example twice
    weight = network.conv1.layer.weight
    first = sum(F.conv2d(batch.inputs[:, m], weight[:, m::members], padding=1) for m in range(members))
    one, two, last = slow_features(network, first + network.conv1.layer.bias[:, None, None])
    depths = [slow_adapter(one, heads[0]), slow_adapter(two, heads[1]), last]
    warm = progress is not None and progress.epoch < 5
    slow = torch.zeros((), dtype=torch.float64)
    for m in range(members):
        head = slice(m * K, (m + 1) * K)
        theta = ensemble.network.weights.logits_MD[m].softmax(0)
        for i in range(3):
            logits = depths[i] @ network.fc.layer.weight[head].T + network.fc.layer.bias[head]
            ce = sum(slow_ce(logits[b], batch.targets_BM[b, m]) for b in range(rows))
            slow = slow + (1 / 3 if warm else theta[i]) * ce / rows
            if not warm:
                n = rows if progress is None else progress.examples
                slow = slow + alpha / n * theta[i] * (theta[i] / (1 / 3)).log()
    agree(ensemble, fast, slow)
    if warm:
        fast = ensemble.loss(x, y, progress=progress)
        fast.backward()
        assert ensemble.network.weights.logits_MD.grad is None


@pytest.mark.parametrize("objective", ["vi", "mll"])
def test_dun_equals_a_loop(objective: str) -> None:
    ensemble = wrap(DUN(objective=objective)).train()
    before = ensemble.network.weights.logits_MD.detach().clone()
    network, heads = ensemble.network.network, ensemble.network.heads
    x, y, n = images(5), torch.randint(K, (5,)), 20
    fast = ensemble.loss(x, y, progress=Progress(epoch=6.0, epochs=9, examples=n))
    first = F.conv2d(x, network.conv1.weight, network.conv1.bias, padding=1)
    one, two, last = slow_features(network, first)
    features = [slow_adapter(one, heads[0]), slow_adapter(two, heads[1]), last]
    losses = []
    for h in features:
        logits = h @ network.fc.weight.T + network.fc.bias
        losses.append(sum(slow_ce(logits[b], y[b]) for b in range(5)) / 5)
    q = ensemble.network.weights.logits_MD[0].softmax(0)
    if objective == "vi":
        slow = sum(q[i] * losses[i] + q[i] * (3 * q[i]).log() / n for i in range(3))
        torch.testing.assert_close(ensemble.network.weights.logits_MD, before, rtol=0, atol=0)
    else:
        slow = -sum((-n * losses[i]).exp() / 3 for i in range(3)).log() / n
        expected = (1 - 5 / n) * before[0] - 5 * torch.stack(losses)
        torch.testing.assert_close(ensemble.network.weights.logits_MD[0], expected.detach())
        assert not isinstance(ensemble.network.weights.logits_MD, nn.Parameter)
        ensemble.eval()
        kept = ensemble.network.weights.logits_MD.clone()
        ensemble.loss(x, y)
        torch.testing.assert_close(ensemble.network.weights.logits_MD, kept, rtol=0, atol=0)
    agree(ensemble, fast, slow)


@pytest.mark.parametrize("gamma", [0.0, 0.3, 2.0])
@pytest.mark.parametrize(("alpha", "beta"), [(1.0, 0.0), (0.5, 0.25)])
def test_early_exits_equal_a_loop(gamma: float, alpha: float, beta: float) -> None:
    ensemble = EarlyExit(alpha=alpha, beta=beta, gamma=gamma).wrap(Images().double(), example=images(1)).train()
    network, heads = ensemble.network.network, ensemble.network.heads
    x, y = images(5), torch.randint(K, (5,))
    fast = ensemble.loss(x, y)
    *points, last = slow_features(network, F.conv2d(x, network.conv1.weight, network.conv1.bias, padding=1))
    exits = []
    for i, features in enumerate(points, start=1):
        head, h = heads[i - 1], features.mean((2, 3))
        if gamma:
            assert head.hidden.out_features == int(math.sqrt(1 + gamma) ** (3 - i) * 5)
        hidden = (h @ head.hidden.weight.T + head.hidden.bias).relu() if gamma else h
        exits.append(hidden @ head.out.weight.T + head.out.bias)
    exits.append(last @ network.fc.weight.T + network.fc.bias)
    slow = torch.zeros((), dtype=torch.float64)
    for b in range(5):
        ces = [slow_ce(logits[b], y[b]) for logits in exits]
        p = [logits[b].softmax(0) for logits in exits]
        pairs = [-(p[i] * p[j].log()).sum() for i, j in ((0, 1), (0, 2), (1, 2))]
        slow = slow + (ces[2] + alpha * (ces[0] + ces[1]) + beta * sum(pairs) / 3) / 5
    agree(ensemble, fast, slow)
    mean = sum(logits.softmax(-1) for logits in exits) / 3
    torch.testing.assert_close(ensemble(x)[:, 0].exp(), mean)


def test_the_prediction_is_the_mean_over_members_of_the_weighted_mean_over_depths() -> None:
    ensemble = wrap(MIMMO(members=2)).eval()
    x = images(4)
    exits_BMDC = ensemble.forward_exits(x)
    theta = ensemble.network.weights.logits_MD.softmax(-1)
    slow = sum(theta[m, i] * exits_BMDC[:, m, i].softmax(-1) for m in range(2) for i in range(3)) / 2
    torch.testing.assert_close(ensemble.predict(x).probs, slow.detach())
    torch.testing.assert_close(ensemble.fold().predict(x).probs, slow.detach())


@pytest.mark.parametrize("members", [1, 3])
def test_mimmo_of_one_depth_is_mimo(members: int) -> None:
    model = Images()
    settings = {"members": members, "batch_repetition": 2, "input_repetition": 0.25}
    mimo = MIMO(**settings).wrap(model.double(), example=images(1)).train()
    mimmo = MIMMO(exits=(), alpha=1e6, **settings).wrap(model.double(), example=images(1)).train()
    mimmo.network.network.load_state_dict(mimo.network.state_dict())
    x, y = images(5), torch.randint(K, (5,))
    losses = [each.loss(x, y, generator=torch.Generator().manual_seed(0)) for each in (mimo, mimmo)]
    torch.testing.assert_close(*losses, rtol=1e-14, atol=1e-14)
    for loss in losses:
        loss.backward()
    own = dict(mimmo.network.network.named_parameters())
    assert sum(1 for _ in mimmo.parameters()) == len(own)
    for name, parameter in mimo.network.named_parameters():
        torch.testing.assert_close(own[name].grad, parameter.grad, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(mimmo(x), mimo(x), rtol=1e-14, atol=1e-14)
    torch.testing.assert_close(mimmo.fold()(x), mimo.fold()(x), rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("method", [DUN(exits=()), DUN(exits=(), objective="mll"), EarlyExit(exits=())], ids=str)
def test_one_depth_is_the_single_network(method: Method) -> None:
    model = Images().double()
    single = Single().wrap(model, example=images(1)).train()
    ensemble = method.wrap(model, example=images(1)).train()
    x, y = images(5), torch.randint(K, (5,))
    losses = [each.loss(x, y) for each in (single, ensemble)]
    torch.testing.assert_close(*losses, rtol=1e-12, atol=1e-12)
    for loss in losses:
        loss.backward()
    for one, other in zip(single.parameters(), ensemble.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(ensemble(x), single(x), rtol=0, atol=0)


def test_independent_losses_are_of_the_average_over_depths() -> None:
    ensemble = wrap(MIMMO(members=2, batch_repetition=1), objective=Independent()).train()
    x, y = images(5), torch.randint(K, (5,))
    fast = ensemble.loss(x, y, generator=torch.Generator().manual_seed(0))
    batch = ensemble.grouping.deal(x, y, members=2, generator=torch.Generator().manual_seed(0))
    with ensemble.layout.distinct_rows():
        exits_MBDC = ensemble.network(batch.inputs.transpose(0, 1).flatten(0, 1)).unflatten(0, (2, 5))
    theta = ensemble.network.weights.logits_MD.softmax(-1)
    slow = torch.zeros((), dtype=torch.float64)
    for m in range(2):
        for b in range(5):
            p = sum(theta[m, i] * exits_MBDC[m, b, i].softmax(-1) for i in range(3))
            slow = slow - p[batch.targets_BM[b, m]].log() / 5
    agree(ensemble, fast, slow)


def test_mimmo_gamma_keeps_the_prior() -> None:
    ensemble = MIMMO(members=2, learn_depth=False, alpha=1e6).wrap(Images().double(), example=images(1))
    fixed = MIMMO(members=2, learn_depth=False, alpha=0.0).wrap(Images().double(), example=images(1))
    fixed.load_state_dict(ensemble.state_dict())
    assert "network.weights.logits_MD" not in dict(ensemble.named_parameters())
    x, y = images(5), torch.randint(K, (5,))
    losses = [each.loss(x, y, generator=torch.Generator().manual_seed(0)) for each in (ensemble, fixed)]
    torch.testing.assert_close(*losses, rtol=0, atol=0)
    torch.testing.assert_close(ensemble.network.weights().exp(), torch.full((2, 3), 1 / 3).double())


def test_the_last_layers_of_a_pretrained_model_are_kept() -> None:
    model = Images().double().eval()
    ensemble = MIMMO(members=2).wrap(model, example=images(1), init="keep").eval()
    x = images(6)
    torch.testing.assert_close(ensemble.forward_exits(x)[:, :, -1].mean(1), model(x), rtol=1e-10, atol=1e-12)


class Forgetful(nn.Module):
    """Its second layer lets nothing through: only the exit behind the first can know the answer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.act = nn.Linear(2, 16), nn.ReLU()
        self.second, self.out = nn.Linear(16, 16), nn.Linear(16, 2)
        self.second.weight.data.zero_()
        self.second.weight.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.second(self.act(self.first(x))))


@pytest.mark.slow
@pytest.mark.parametrize("method", [DUN(exits=("act",)), DUN(exits=("act",), objective="mll"), MIMMO(exits=("act",))])
def test_the_posterior_moves_to_the_exit_that_can_be_right(method: Method) -> None:
    ensemble = method.wrap(Forgetful(), example=torch.zeros(1, 2)).train()
    x = torch.randn(128, 2)
    y = (x[:, 0] > 0).long()
    optimizer = torch.optim.Adam(ensemble.parameter_groups(), lr=0.03)
    for step in range(120):
        optimizer.zero_grad()
        ensemble.loss(x, y, progress=Progress(epoch=step / 20, epochs=6, examples=128)).backward()
        if step < 100:
            assert torch.equal(ensemble.network.weights().exp(), torch.full((method.members, 2), 0.5))
        optimizer.step()
    assert (ensemble.network.weights().exp()[:, 0] > 0.6).all()
    with torch.no_grad():
        shallow, deep = (
            (each.argmax(-1) == y[:, None]).double().mean() for each in ensemble.forward_exits(x).unbind(2)
        )
    assert shallow > 0.9 > deep


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DUN(alpha=-1.0), "alpha must be a finite number of at least 0"),
        (lambda: DUN(warm_start_epochs=-1.0), "warm_start_epochs must be"),
        (lambda: DUN(objective="map"), "'vi' or 'mll', but got 'map'"),
        (lambda: DUN(objective="mll", alpha=3.0), "only objective='vi' has, but got alpha=3.0 with objective='mll'"),
        (lambda: DUN(skip_below=1.0), r"skip_below must lie in \[0, 1\)"),
        (lambda: DUN(skip_below=-0.1), "skip_below=-0.1"),
        (lambda: EarlyExit(gamma=-0.1), "gamma must be a finite number of at least 0"),
        (lambda: EarlyExit(gamma=math.inf), "gamma=inf"),
        (lambda: EarlyExit(alpha=-1.0), "alpha must be"),
        (lambda: EarlyExit(beta=math.nan), "beta must be"),
        (lambda: MIMMO(alpha=math.nan), "alpha must be"),
        (lambda: MIMMO(warm_start_epochs=-1.0), "warm_start_epochs must be"),
        (lambda: MIMMO(batch_repetition=0), "batch_repetition must be"),
        (lambda: MIMMO(input_repetition=1.5), "input_repetition"),
    ],
)
def test_settings_that_cannot_be_are_refused(make: object, message: str, unchecked: None) -> None:

    with pytest.raises(InputError, match=message):
        make()  # type: ignore[operator]


@pytest.mark.parametrize("method", [EarlyExit(exits=("1",)), DUN(exits=("1",)), EarlyExit()])
def test_models_of_tokens_have_exits_too(method: EarlyExit | DUN) -> None:
    model = nn.Sequential(nn.Embedding(11, 8), nn.Linear(8, 8), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3))
    x = torch.randint(11, (4, 4))
    ensemble = method.wrap(model, example=x[:1])
    ensemble.loss(x, torch.randint(3, (4,))).backward()
    assert all(value.grad is not None for value in ensemble.parameters())
    assert ensemble.forward_exits(x).shape[2] > 1


def test_the_summary_does_not_say_of_heads_that_they_were_left_as_they_were() -> None:
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.Linear(8, 3))
    for method, kind, size in (
        (EarlyExit(exits=("1",), gamma=0.0), "ExitHead", 27),
        (DUN(exits=("1",)), "Adapter", 88),
    ):
        summary = method.wrap(model, example=torch.zeros(1, 4)).summary()
        where, head = summary.converted[:2]
        assert (where.kind, where.shared, where.own) == ("Exits", 0, 0)
        assert where.note == "exits after 1 (50% of the layers) and at the end"
        assert (head.kind, head.shared) == (kind, size)
        assert [(part.kind, part.shared) for part in summary.ordinary] == [("Linear", 40 + 72 + 27)]
        assert summary.shared + summary.own == summary.trainable


def test_depths_are_kept_anew_for_weights_put_in_place_of_others() -> None:
    x = torch.randn(3, 4)
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    ensemble = DUN(exits=("1",)).wrap(model, example=x[:1]).eval()
    for depth, logits in ((0, [9.0, -9.0]), (1, [-9.0, 9.0])):
        state = {name: value.clone() for name, value in ensemble.state_dict().items()}
        state["network.weights.logits_MD"] = torch.tensor([logits])
        ensemble.load_state_dict(state, assign=True)
        torch.testing.assert_close(ensemble(x), ensemble.forward_exits(x)[:, :, depth])
