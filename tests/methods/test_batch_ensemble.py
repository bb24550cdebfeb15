"""BatchEnsemble against a loop over members, each an ordinary network with its weights written out."""

import copy
import math
from collections.abc import Callable

import pytest
import torch
from small_models import AddsItsInput, FusedEncoder, GroupedConvNet
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

import motet
from motet.ensemble import Ensemble
from motet.errors import InputError
from motet.grouping import Shared, Split
from motet.layers import FastWeights, MemberBatchNorm, SeparateNetworks
from motet.methods import BatchEnsemble
from motet.metrics import parameters
from motet.objectives import Independent
from motet.surgery import SharedNetwork, member_network
from motet.surgery.convertible_layers import split_attention
from motet.training import Training
from motet.training.optimizers import make_optimizer, set_learning_rate

K = 4  # classes


class Tokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.norm = nn.Linear(3, 8), nn.LayerNorm(8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.out = nn.Linear(8, K)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(self.embed(x))
        return self.out((h + self.attention(h, h, h, need_weights=False)[0]).mean(dim=1))


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, K))


Case = tuple[Callable[[], nn.Module], tuple[int, ...]]
CASES: dict[str, Case] = {
    "mlp": (mlp, (5,)),
    "conv2d": (GroupedConvNet, (2, 5, 5)),
    "tokens": (Tokens, (4, 3)),
    "conv1d": (lambda: nn.Sequential(nn.Conv1d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16, K)), (2, 6)),
    "wrn": (lambda: motet.models.wide_resnet(depth=10, width=1, num_classes=K), (3, 4, 4)),
}


class SlowLayer(nn.Module):
    """Each member's rows through a layer of its own: W * sum_r gamma_r alpha_r^T, and its bias."""

    def __init__(self, layer: nn.Module, fast: FastWeights) -> None:
        super().__init__()
        self.layer = layer
        self.fast_in, self.fast_out = (nn.Parameter(v.detach().clone()) for v in (fast.fast_in, fast.fast_out))
        self.biases = None if fast.biases is None else nn.Parameter(fast.biases.detach().clone())

    def forward(self, rows: Tensor) -> Tensor:
        weight, groups, outputs = self.layer.weight, getattr(self.layer, "groups", 1), []
        for m, part in enumerate(rows.chunk(len(self.fast_in))):
            scales = 0
            for gamma, alpha in zip(self.fast_out[m], self.fast_in[m], strict=True):
                # Output o reads the inputs of its group.
                per_group = alpha.view(groups, -1).repeat_interleave(len(weight) // groups, dim=0)
                scales = scales + gamma[:, None] * per_group
            own = {"weight": weight * scales.view(*scales.shape, *[1] * (weight.ndim - 2))}
            own |= {} if self.biases is None else {"bias": self.biases[m]}
            outputs.append(torch.func.functional_call(self.layer, own, part))
        return torch.cat(outputs)


class SlowNorm(nn.Module):
    def __init__(self, norm: nn.Module, members: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(copy.deepcopy(norm) for _ in range(members))

    def forward(self, rows: Tensor) -> Tensor:
        return torch.cat([norm(part) for norm, part in zip(self.norms, rows.chunk(len(self.norms)), strict=True)])


def slow_network(model: nn.Module, ensemble: Ensemble) -> nn.Module:
    """`model` with its layers replaced by the obvious ones; takes rows ``(M B)``."""
    slow = split_attention(copy.deepcopy(model))
    for name, layer in ensemble.network.network.named_modules():
        parent, _, own = name.rpartition(".")
        if isinstance(layer, FastWeights):
            setattr(slow.get_submodule(parent), own, SlowLayer(slow.get_submodule(name), layer))
        elif isinstance(layer, MemberBatchNorm):
            setattr(slow.get_submodule(parent), own, SlowNorm(slow.get_submodule(name), ensemble.members))
    return slow


def grads_by_name(network: nn.Module) -> dict[str, Tensor]:
    grads = {name.replace(".slow.", "."): value.grad for name, value in network.named_parameters()}
    return {name: grad for name, grad in grads.items() if grad is not None}


SETTINGS: list[dict[str, object]] = [
    {}, {"rank": 3}, {"members": 1}, {"fast_init": "signs"}, {"training_batches": "split"}, {"norm": "per-member"},
]  # fmt: skip
WITHOUT_BATCH_NORM = ("tokens", "conv1d")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("settings", "name"),
    [(each, name) for each in SETTINGS for name in CASES if "norm" not in each or name not in WITHOUT_BATCH_NORM],
    ids=str,
)
def test_outputs_and_gradients_equal_the_obvious_network(settings: dict[str, object], name: str) -> None:
    make, shape = CASES[name]
    model, x, y = make().double(), torch.randn(6, *shape).double(), torch.randint(K, (6,))
    method = BatchEnsemble(**{"members": 3} | settings)
    ensemble, members = method.wrap(model, example=x[:1]), method.members
    assert not ensemble.network.tiles
    slow = slow_network(model, ensemble)
    for training in (True, False):
        ensemble.train(training)
        slow.train(training)
        split = settings.get("training_batches") == "split"
        rows, targets = (x, y) if split else (x.repeat(members, *[1] * len(shape)), y.repeat(members))
        expected = F.cross_entropy(slow(rows), targets)
        loss = ensemble.loss(x, y)
        torch.testing.assert_close(loss, expected, rtol=1e-11, atol=1e-11)
        for network, value in ((ensemble.network, loss), (slow, expected)):
            network.zero_grad()
            value.backward()
        found, wanted = grads_by_name(ensemble.network.network), grads_by_name(slow)
        for key, grad in found.items():
            if key not in wanted:
                layer, _, own = key.rpartition(".")
                of_layer = slow.get_submodule(layer)
                if isinstance(of_layer, SlowNorm):
                    wanted[key] = torch.stack([getattr(norm, own).grad for norm in of_layer.norms])
                else:  # the slow weight is the layer's inside
                    wanted[key] = of_layer.layer.weight.grad
            torch.testing.assert_close(grad, wanted[key], rtol=1e-9, atol=1e-11)
    tiled = slow(x.repeat(members, *[1] * len(shape))).unflatten(0, (members, -1)).transpose(0, 1)
    torch.testing.assert_close(ensemble(x), tiled, rtol=1e-11, atol=1e-11)
    with torch.no_grad():
        torch.testing.assert_close(ensemble(x), tiled, rtol=1e-11, atol=1e-11)
    assert_folds(ensemble, x)


def assert_folds(ensemble: Ensemble, x: Tensor) -> None:
    ensemble.eval()
    folded, outputs = ensemble.fold(), ensemble(x)
    torch.testing.assert_close(folded(x), outputs, rtol=1e-10, atol=1e-11)
    assert type(folded.network) is SeparateNetworks
    assert not any(isinstance(part, FastWeights | MemberBatchNorm | SharedNetwork) for part in folded.modules())
    for m in range(ensemble.members):
        torch.testing.assert_close(member_network(ensemble.network, m)(x), outputs[:, m], rtol=1e-10, atol=1e-11)
        assert not any(
            type(part).__module__.startswith("motet.layers") for part in folded.network.networks[m].modules()
        )
    with torch.no_grad():
        for value in folded.parameters():
            value.zero_()
    torch.testing.assert_close(ensemble(x), outputs, rtol=0, atol=0)  # what a fold shares is its own


@pytest.mark.slow
def test_the_papers_network_has_the_codes_number_of_parameters() -> None:
    with torch.device("meta"):
        single = motet.models.wide_resnet(depth=28, width=10, num_classes=10)
    ensemble = BatchEnsemble(members=4).wrap(single, example=torch.zeros(1, 3, 32, 32, device="meta"))
    assert parameters(ensemble) == 36_557_548
    assert parameters(ensemble) - parameters(single) == 78_354
    summary = ensemble.summary()
    assert (summary.shared + summary.own, summary.own) == (36_557_548, 78_354 + 10)  # and the single network's bias
    assert [part.kind for part in summary.ordinary] == ["BatchNorm2d"]


def test_what_members_share_a_fold_shares() -> None:
    model = motet.models.wide_resnet(depth=10, width=1, num_classes=K)
    ensemble = BatchEnsemble(members=3).wrap(model, example=torch.zeros(1, 3, 8, 8))
    folded = ensemble.fold()
    first, *others = folded.network.networks
    for other in others:
        assert other.norm.weight is first.norm.weight
        assert other.norm.running_var is first.norm.running_var
        assert other.stem.weight is not first.stem.weight
    assert first.norm.weight is not ensemble.network.network.norm.weight
    kinds = [type(part) for part in model.modules()]
    assert all([type(part) for part in member.modules()] == kinds for member in folded.network.networks)
    copied = member_network(ensemble.network, 1)
    assert copied.norm.weight is not ensemble.network.network.norm.weight


def test_fast_weights_of_one_leave_the_single_network() -> None:
    model, x = GroupedConvNet().double().eval(), torch.randn(5, 2, 5, 5).double()
    for method in (
        BatchEnsemble(members=1, fast_std=0.0),
        BatchEnsemble(members=1, fast_std=0.0, rank=4),
        BatchEnsemble(members=1, fast_init="signs", fast_positive=1.0, rank=2, norm="per-member"),
    ):
        ensemble = method.wrap(model, example=x[:1]).eval()
        torch.testing.assert_close(ensemble(x)[:, 0], model(x), rtol=1e-11, atol=1e-11)
        torch.testing.assert_close(ensemble.fold()(x)[:, 0], model(x), rtol=1e-11, atol=1e-11)


class ReshapesByItsInput(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.out = nn.Conv1d(K, 8, 3), nn.Linear(8, K)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.conv(x.view(len(x), K, 1).expand(-1, -1, 3)).view(len(x), -1))


class Recurrent(nn.Module):
    """Its one layer reads the input, and then what it made of it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(K, K)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(3):
            x = torch.tanh(self.layer(x))
        return x


@pytest.mark.parametrize("model", [lambda: AddsItsInput(K), ReshapesByItsInput, Recurrent])
@pytest.mark.parametrize("training_batches", ["tiled", "split"])
def test_the_input_is_tiled_where_the_model_must_see_members_rows(
    model: Callable[[], nn.Module], training_batches: str
) -> None:
    single, x, y = model().double(), torch.randn(6, K).double(), torch.randint(K, (6,))
    ensemble = BatchEnsemble(members=3, training_batches=training_batches).wrap(single, example=x[:1])
    assert ensemble.network.tiles
    slow = slow_network(single, ensemble)
    torch.testing.assert_close(ensemble(x), slow(x.repeat(3, 1)).unflatten(0, (3, -1)).transpose(0, 1))
    torch.testing.assert_close(
        ensemble.forward_distinct(x.unsqueeze(1).expand(-1, 3, -1)), ensemble(x), rtol=1e-12, atol=1e-12
    )
    ensemble.loss(x, y).backward()
    assert_folds(ensemble, x)


def test_torchs_fused_encoder_layers_do_not_go_past_the_fast_weights() -> None:
    ensemble = BatchEnsemble(members=2).wrap(FusedEncoder(), example=torch.zeros(1, 5, 3)).eval()
    x = torch.randn(4, 5, 3)
    assert isinstance(ensemble.network.network.body.layers[0].linear1, FastWeights)
    with torch.no_grad():
        fused = ensemble(x)
    torch.testing.assert_close(fused, ensemble(x))
    assert torch.backends.mha.get_fastpath_enabled()
    with torch.no_grad():
        torch.testing.assert_close(ensemble.fold()(x), fused)


def test_layers_that_cannot_be_converted_stay_shared() -> None:
    class Doubled(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return 2 * super().forward(x)

    model = nn.Sequential(nn.Embedding(7, 4), nn.Flatten(), Doubled(12, 8), nn.Linear(8, K))
    ensemble = BatchEnsemble(members=2).wrap(model, example=torch.zeros(1, 3, dtype=torch.long))
    assert [type(part) for part in ensemble.network.network] == [nn.Embedding, nn.Flatten, Doubled, FastWeights]
    tokens = BatchEnsemble(members=2).wrap(Tokens(), example=torch.zeros(1, 4, 3)).network.network
    assert type(tokens.attention.q_proj) is type(tokens.attention.out_proj) is FastWeights
    with pytest.raises(
        InputError, match=r"layer that it can convert, but got '0' \(Embedding\), '2' \(Doubled with its own"
    ):
        BatchEnsemble().wrap(model[:3], example=torch.zeros(1, 3, dtype=torch.long))
    with pytest.raises(InputError, match="a model without such layers"):
        BatchEnsemble().wrap(nn.Sequential(nn.LayerNorm(3)), example=torch.zeros(1, 3))


class ReadsAWeight(nn.Module):
    """Reads a layer's weight without calling the layer, as timm's beit and eva02 do."""

    def __init__(self) -> None:
        super().__init__()
        self.i, self.read, self.o = nn.Linear(4, 6), nn.Linear(6, 6), nn.Linear(6, K)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.o(F.linear(self.i(x).relu(), self.read.weight, self.read.bias).relu())
        return out


def test_a_layer_whose_weight_the_code_reads_stays_shared() -> None:
    ensemble = BatchEnsemble(members=2).wrap(ReadsAWeight().double(), example=torch.zeros(1, 4).double())
    network = ensemble.network.network
    assert [type(part) for part in (network.i, network.read, network.o)] == [FastWeights, nn.Linear, FastWeights]
    ensemble.loss(torch.randn(5, 4).double(), torch.zeros(5, dtype=torch.long)).backward()
    assert all(parameter.grad is not None for parameter in ensemble.parameters())
    assert_folds(ensemble, torch.randn(5, 4).double())


class OptionalBranch(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.i, self.spare, self.norm, self.o = nn.Linear(4, 4), nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, K)

    def forward(self, x: Tensor, more: bool = False) -> Tensor:
        hidden = self.i(x)
        return self.o(hidden + self.norm(self.spare(hidden)) if more else hidden)


def test_the_parameters_do_not_depend_on_what_the_example_ran() -> None:
    method, x = BatchEnsemble(members=2, norm="per-member"), torch.randn(4, 4)
    few, all_of_them = (
        method.wrap(OptionalBranch(), example={"x": x[:1], "more": more}).eval() for more in (False, True)
    )
    few.load_state_dict(all_of_them.state_dict())
    assert torch.equal(few({"x": x, "more": True}), all_of_them({"x": x, "more": True}))
    assert torch.equal(few({"x": x, "more": False}), all_of_them({"x": x, "more": False}))
    few.train().loss({"x": x, "more": False}, torch.zeros(4, dtype=torch.long)).backward()


def test_a_shared_layer_is_converted_once_and_stays_shared() -> None:
    shared = nn.Linear(4, 4)
    model = nn.Sequential(nn.Linear(3, 4), shared, nn.Tanh(), nn.Sequential(shared), nn.Linear(4, K)).double()
    x = torch.randn(5, 3).double()
    ensemble = BatchEnsemble(members=3).wrap(model, example=x[:1])
    network = ensemble.network.network
    assert network[1] is network[3][0]
    assert parameters(ensemble) == parameters(model) + 3 * (7 + 8 + 4 + K) + 2 * (4 + 4 + K)
    assert_folds(ensemble, x)
    assert ensemble.fold().network.networks[0][1] is not None


def test_tied_weights_stay_tied() -> None:
    model = nn.Sequential(nn.Embedding(7, 4), nn.Flatten(), nn.Linear(12, 4), nn.Linear(4, 7, bias=False))
    model[3].weight = model[0].weight
    ensemble = BatchEnsemble(members=2).wrap(model, example=torch.zeros(1, 3, dtype=torch.long))
    network = ensemble.network.network
    assert network[3].slow.weight is network[0].weight
    x = torch.randint(7, (5, 3))
    torch.testing.assert_close(ensemble.eval().fold()(x), ensemble(x))


def test_shared_norms_see_all_members_rows_and_members_norms_their_own() -> None:
    x, y = torch.randn(8, 5), torch.randint(K, (8,))
    shared = BatchEnsemble(members=3).wrap(mlp(), example=x[:1])
    assert type(shared.network.network[1]) is nn.BatchNorm1d
    own = BatchEnsemble(members=3, norm="per-member").wrap(mlp(), example=x[:1])
    for ensemble, size in ((shared, (8,)), (own, (3, 8))):
        seen: list[Tensor] = []
        handle = ensemble.network.network[0].register_forward_hook(lambda _, args, out, kept=seen: kept.append(out))
        ensemble.loss(x, y)
        handle.remove()
        blocks = seen[0].unflatten(0, (3, 8))
        mean = blocks.mean(dim=(0, 1)) if ensemble is shared else blocks.mean(dim=1)
        assert ensemble.network.network[1].running_mean.shape == size
        torch.testing.assert_close(ensemble.network.network[1].running_mean, 0.1 * mean)
    folded = own.eval().fold()
    assert not torch.equal(*(folded.network.networks[m][1].running_mean for m in (0, 1)))


class NormFirst(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.norm, self.a, self.out = nn.BatchNorm1d(4), nn.Linear(4, 8), nn.Linear(8, K)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.a(self.norm(x)).relu())


def test_a_norm_at_the_input_hands_on_members_rows() -> None:
    model, x, y = NormFirst().double(), torch.randn(6, 4).double(), torch.randint(K, (6,))
    ensemble = BatchEnsemble(members=3, norm="per-member").wrap(model, example=x[:1])
    network = ensemble.network.network
    assert (network.norm.layout, network.a.layout) == (ensemble.layout, None)
    torch.optim.SGD(ensemble.parameter_groups(), lr=0.5).step(lambda: backward(ensemble.loss(x, y)))
    assert_folds(ensemble, x)
    with pytest.raises(
        InputError, match=r"norm='per-member' needs torch's own batch norms.*without nn.BatchNorm1d.*norm='shared'"
    ):
        BatchEnsemble(norm="per-member").wrap(Tokens(), example=torch.zeros(1, 4, 3))


def backward(loss: Tensor) -> float:
    loss.backward()
    return loss.item()


def test_the_optimiser_of_fit_knows_the_fast_weights() -> None:
    ensemble = BatchEnsemble(members=2, norm="per-member", fast_weight_lr_scale=0.25).wrap(
        mlp(), example=torch.zeros(1, 5)
    )
    optimizer = make_optimizer(ensemble, Training(learning_rate=0.2, weight_decay=0.1, optimizer="sgd"))
    found = {id(value): group for group in optimizer.param_groups for value in group["params"]}
    for name, value in ensemble.network.network.named_parameters():
        group, own = found[id(value)], name.rpartition(".")[2]
        norm, fast = name.startswith("1."), own.startswith("fast")
        assert group["weight_decay"] == (0.0 if fast or norm else 0.1), name
        assert group["lr"] == pytest.approx(0.05 if fast or (own == "biases" and not norm) else 0.2), name
    set_learning_rate(optimizer, 0.1)
    assert {group["lr"] for group in optimizer.param_groups} == {0.1, 0.025}
    plain = BatchEnsemble(members=2, fast_weight_lr_scale=1.0).wrap(mlp(), example=torch.zeros(1, 5))
    groups = plain.parameter_groups(weight_decay=0.1, learning_rate=0.2)
    assert [group.get("lr") for group in groups] == [None, None]


def test_fast_weights_are_drawn_as_the_settings_say() -> None:
    n = 20_000
    normal = BatchEnsemble().initial(n, "fresh")
    assert normal.shape == (4, 1, n)
    assert normal.mean().item() == pytest.approx(1.0, abs=5 * 0.5 / math.sqrt(4 * n))
    assert normal.std().item() == pytest.approx(0.5, abs=5 * 0.5 / math.sqrt(8 * n))
    assert (normal[0] - normal[1]).abs().mean() > 0.1
    signs = BatchEnsemble(fast_init="signs", fast_positive=0.75).initial(n, "fresh")
    assert set(signs.unique().tolist()) == {-1.0, 1.0}
    assert (signs > 0).float().mean().item() == pytest.approx(0.75, abs=5 * 0.44 / math.sqrt(4 * n))
    assert (BatchEnsemble(fast_std=0.0).initial(5, "fresh") == 1).all()


@pytest.mark.parametrize(
    "settings", [{}, {"fast_init": "signs"}, {"fast_init": "signs", "fast_positive": 0.9}], ids=str
)
def test_the_scales_mean_square_does_not_depend_on_the_rank(settings: dict[str, object]) -> None:
    squares = []
    for rank in (1, 2, 5):
        method = BatchEnsemble(members=2, rank=rank, **settings)
        n = 50_000
        gamma, alpha = method.initial(n, "fresh"), method.initial(n, "fresh")
        # Mean over outputs o and inputs i of (sum_r gamma_ro alpha_ri)^2.
        squares.append((gamma @ gamma.mT / n * (alpha @ alpha.mT / n)).sum(dim=(1, 2)).mean().item())
    assert squares == pytest.approx([squares[0]] * 3, rel=0.03)


def test_slow_weights_are_the_models_own_and_biases_are_drawn_like_its() -> None:
    model = nn.Sequential(nn.Linear(5, 64), nn.ReLU(), nn.Linear(64, K))
    network = BatchEnsemble(members=3).wrap(model, example=torch.zeros(1, 5)).network.network
    assert torch.equal(network[0].slow.weight, model[0].weight)
    assert torch.equal(network[0].biases[0], model[0].bias)
    assert torch.equal(network[0].biases[1].sort().values, model[0].bias.sort().values)
    assert not torch.equal(network[0].biases[1], model[0].bias)


@pytest.mark.parametrize("settings", [{}, {"rank": 3}, {"fast_init": "signs"}, {"norm": "per-member"}], ids=str)
def test_a_trained_model_stays_trained(settings: dict[str, object]) -> None:
    model = motet.models.wide_resnet(depth=10, width=1, num_classes=K)
    with torch.no_grad():
        model.train()(torch.randn(16, 3, 8, 8))
    x = torch.randn(64, 3, 8, 8)
    expected = model.eval()(x)
    ensemble = BatchEnsemble(members=4, **settings).wrap(model, example=x[:1]).eval()
    network = ensemble.network.network
    assert torch.equal(network.stem.slow.weight, model.stem.weight)
    assert torch.equal(network.head.biases, model.head.bias.expand(4, -1))
    scales = network.stem.fast_in.mean(dim=0) * math.sqrt(ensemble.network.network.stem.rank)
    torch.testing.assert_close(scales, torch.ones_like(scales))
    away = (ensemble(x) - expected.unsqueeze(1)).std() / expected.std()
    together = (ensemble(x).mean(dim=1) - expected).std() / expected.std()
    assert 0.02 < away < 0.5
    assert together < 0.75 * away
    fresh = BatchEnsemble(members=4, **settings).wrap(model, example=x[:1], init="fresh").eval()
    assert (fresh(x) - expected.unsqueeze(1)).std() / expected.std() > 2 * away


class ChangesItsInput(nn.Linear):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.sub_(1.0))


def test_models_that_cannot_work_are_refused_at_once() -> None:
    model = nn.Sequential(ChangesItsInput(4, 4), nn.Linear(4, K))
    with pytest.raises(InputError, match="must not change it in place"):
        BatchEnsemble(members=2).wrap(model, example=torch.zeros(1, 4))
    assert BatchEnsemble(members=1).wrap(model, example=torch.zeros(1, 4)).members == 1


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"members": 0}, "members=0"),
        ({"rank": 0}, "rank must be at least 1, but got rank=0"),
        ({"fast_init": "ones"}, "fast_init must be one of 'normal', 'signs', but got fast_init='ones'"),
        ({"norm": "ensemble"}, "norm must be one of 'shared', 'per-member'"),
        ({"training_batches": "both"}, "training_batches must be one of 'tiled', 'split'"),
        ({"fast_std": -0.5}, "fast_std=-0.5"),
        ({"fast_std": math.nan}, "fast_std=nan"),
        ({"fast_std": math.inf}, "fast_std=inf"),
        ({"fast_positive": 1.5}, "fast_positive must be a probability"),
        ({"fast_positive": math.nan}, "fast_positive=nan"),
        ({"fast_weight_lr_scale": 0.0}, "fast_weight_lr_scale must be a positive number"),
        ({"fast_weight_lr_scale": math.inf}, "fast_weight_lr_scale=inf"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, object], message: str, unchecked: None) -> None:
    with pytest.raises(InputError, match=message):
        BatchEnsemble(**settings)


def test_the_defaults_are_the_papers() -> None:
    method = BatchEnsemble()
    assert (method.members, method.rank, method.fast_init, method.fast_std, method.fast_weight_lr_scale) == (
        4,
        1,
        "normal",
        0.5,
        0.5,
    )
    assert (method.norm, method.grouping) == ("shared", Shared())
    assert BatchEnsemble(training_batches="split").grouping == Split()
    assert method.default_objective == Independent(reduction="mean")
    assert method.combination == "mixture"


def test_around_a_trained_model_every_members_bias_learns_by_itself() -> None:
    x, y = torch.randn(8, 4), torch.randint(3, (8,))
    model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3))
    ensemble = BatchEnsemble(members=2).wrap(model, example=x[:1], init="keep")
    biases = ensemble.network.network[2].biases
    torch.testing.assert_close(biases, model[2].bias.expand(2, -1))
    optimizer = torch.optim.SGD(ensemble.parameters(), lr=0.1)
    ensemble.loss(x, y).backward()
    optimizer.step()
    assert not torch.equal(biases[0], biases[1])
