"""MixtureEnsembles against M ordinary networks whose weights are sums of templates, written out."""

import copy
import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from small_models import EqualConvNet
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional as F  # noqa: N812

import motet
from motet.ensemble import Ensemble
from motet.errors import InputError
from motet.layers import ParameterBlob, TemplateBank, TemplateLayer
from motet.layers.templates.blob import permutations
from motet.methods import MixtureEnsembles
from motet.surgery import member_network, ordinary_layers
from motet.surgery.convertible_layers import split_attention

K = 4  # classes


class Sequence(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv1d(3, 3, 3, padding=1, padding_mode="circular") for _ in range(3))
        self.head = nn.Conv1d(3, K, 1)

    def forward(self, x: Tensor) -> Tensor:
        for conv in self.convs:
            x = x + conv(x).tanh()
        return self.head(x).mean(dim=2)


class Tokens(nn.Module):
    """Torch's attention, layer norms, a class token, positions, a buffer, and a layer that runs twice."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(3, 8)
        self.cls_token = nn.Parameter(torch.randn(1, 1, 8))
        self.positions = nn.Parameter(0.1 * torch.randn(1, 6, 8))
        self.encoder = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True), 2, enable_nested_tensor=False
        )
        self.twice = nn.Linear(8, 16)
        self.out = nn.Linear(16, K)
        self.register_buffer("scale", torch.tensor(2.0))

    def forward(self, x: Tensor) -> Tensor:
        h = torch.cat([self.cls_token.expand(len(x), -1, -1), self.embed(x)], dim=1) + self.positions
        h = self.encoder(h)
        return self.out(self.twice(h[:, 0]) + self.twice(h[:, 1])) * self.scale


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6), nn.Linear(6, K))


Case = tuple[Callable[[], nn.Module], tuple[int, ...], dict[str, object]]
CASES: dict[str, Case] = {
    "mlp": (mlp, (5,), {}),
    "mlp in one blob": (mlp, (5,), {"sharing": "blob", "params": 90}),
    "conv2d": (EqualConvNet, (2, 6, 6), {"params": 500}),
    "conv2d single layers too": (
        lambda: EqualConvNet(bias=False),
        (2, 6, 6),
        {"bank_single_layers": True, "params": 611},
    ),
    "conv2d groups": (lambda: EqualConvNet(groups=2), (2, 6, 6), {"templates_per_layer": 1}),
    "conv1d": (Sequence, (3, 7), {}),
    "conv1d in a tiny blob": (Sequence, (3, 7), {"params": 20}),
    "tokens": (Tokens, (5, 3), {}),
    "tokens in one blob": (Tokens, (5, 3), {"sharing": "blob"}),
}
every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


def wrap(case: Case, members: int = 3, **settings: object) -> tuple[nn.Module, Ensemble]:
    model = case[0]().double()
    method = MixtureEnsembles(members=members, **{**case[2], **settings})
    return model, method.wrap(model, example=torch.randn(1, *case[1]).double())


def layers_of(model: nn.Module, bank: TemplateBank | ParameterBlob) -> list[str]:
    """Names of the layers that a bank must have: those of its shapes, in order."""
    layers, _ = ordinary_layers(model)
    if isinstance(bank, ParameterBlob):
        return list(layers)
    return [name for name, layer in layers.items() if layer.weight.shape == bank.shapes[0]]


class Slow:
    """M ordinary networks; every parameter a leaf that is held once."""

    def __init__(self, model: nn.Module, ensemble: Ensemble) -> None:
        model, self.network = split_attention(copy.deepcopy(model)), ensemble.network
        self.leaves = {name: value.detach().clone().requires_grad_() for name, value in self.network.named_parameters()}
        leaf_of = {id(value): self.leaves[name] for name, value in self.network.named_parameters()}
        self.models = [copy.deepcopy(model) for _ in range(ensemble.members)]
        self.parameters: list[dict[str, Callable[[], Tensor]]] = []
        for m, network in enumerate(self.network.members.networks):
            own: dict[str, Callable[[], Tensor]] = {}
            for name, value in network.named_parameters():
                own[name.replace(".layer.bias", ".bias")] = partial(leaf_of.__getitem__, id(value))
            for b, bank in enumerate(self.network.banks):
                for index, name in enumerate(layers_of(model, bank)):
                    own[f"{name}.weight"] = partial(self.mixture, b, index, m)
            assert own.keys() == dict(model.named_parameters()).keys()
            self.parameters.append(own)

    def mixture(self, b: int, layer: int, m: int) -> Tensor:
        bank = self.network.banks[b]
        entries, coefficients_MR = (self.leaves[f"banks.{b}.{kind}"] for kind in ("entries", "coefficients_MR"))
        count, size = bank.counts[layer], math.prod(bank.shapes[layer])
        members, n = len(coefficients_MR), len(entries)
        total = 0
        for t in range(count):
            if isinstance(bank, TemplateBank):
                turn = layer * members + m if bank.disjoint else layer
                start = (turn * count + t) % math.ceil(n / size) * size
            else:
                before = sum(c * math.prod(s) for c, s in zip(bank.counts[:layer], bank.shapes[:layer], strict=True))
                start = (before * members + m * count * size if bank.disjoint else before) + t * size
            places = [(start + i) % n for i in range(size)]
            if isinstance(bank, ParameterBlob) and size > n:  # the vector, and then permutations of it
                first = before * members if bank.disjoint else before
                turns = [divmod(start + i - first, n) for i in range(size)]
                orders = permutations(n, turns[-1][0] + 1)
                places = [(first + int(orders[turn, inside])) % n for turn, inside in turns]
            template = entries[places].view(bank.shapes[layer])
            total = total + coefficients_MR[m, sum(bank.counts[:layer]) + t] * template
        return total

    def __call__(self, x: Tensor) -> Tensor:
        outputs = [
            functional_call(model, {name: make() for name, make in own.items()}, (x,))
            for model, own in zip(self.models, self.parameters, strict=True)
        ]
        return torch.stack(outputs, dim=1)


@pytest.mark.slow
@every_case
@pytest.mark.parametrize("members", [1, 3])
@pytest.mark.parametrize("assignment", ["same", "disjoint"])
def test_outputs_and_gradients_equal_the_slow_networks(case: Case, members: int, assignment: str) -> None:
    model, ensemble = wrap(case, members, assignment=assignment)
    slow = Slow(model, ensemble)
    for network in (ensemble, *slow.models):
        network.train()
    x = torch.randn(6, *case[1]).double().requires_grad_()
    y = torch.randint(K, (6,))
    expected = slow(x)
    torch.testing.assert_close(ensemble(x), expected, rtol=1e-10, atol=1e-10)
    for m, alone in enumerate(slow.models):  # running statistics, moved by the pass
        for name, value in alone.named_buffers():
            torch.testing.assert_close(ensemble.network.members.networks[m].get_buffer(name), value)
    loss = sum(F.cross_entropy(expected[:, m], y) for m in range(members))
    torch.testing.assert_close(ensemble.loss(x, y), loss)
    wanted = torch.autograd.grad(loss, (x, *slow.leaves.values()))
    grads = torch.autograd.grad(ensemble.loss(x, y), (x, *ensemble.network.parameters()))
    assert len(wanted) == len(grads)
    for one, other in zip(grads, wanted, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-10)
    x_BM = torch.randn(4, members, *case[1]).double()
    ensemble.eval()
    own = torch.stack([ensemble(x_BM[:, m])[:, m] for m in range(members)], dim=1)
    torch.testing.assert_close(ensemble.forward_distinct(x_BM), own, rtol=1e-10, atol=1e-10)


@pytest.mark.slow
@every_case
def test_a_fold_and_every_subset_of_members_are_ordinary_networks(case: Case) -> None:
    model, ensemble = wrap(case)
    x = torch.randn(5, *case[1]).double()
    ensemble.train()(x)
    ensemble.eval()
    before = copy.deepcopy(ensemble.state_dict())
    expected, folded = ensemble(x), ensemble.fold()
    torch.testing.assert_close(folded(x), expected, rtol=1e-10, atol=1e-10)
    for m in range(3):
        alone = member_network(ensemble.network, m).eval()
        torch.testing.assert_close(alone(x), expected[:, m], rtol=1e-10, atol=1e-10)
        kinds = [type(part) for part in model.modules()]
        for network in (alone, folded.network.networks[m]):
            assert [type(part) for part in network.modules()] == kinds
            assert network.state_dict().keys() == model.state_dict().keys()
        # A member run as it is, without the others.
        torch.testing.assert_close(ensemble.network.members.networks[m](x), expected[:, m], rtol=1e-10, atol=1e-10)
    assert all(torch.equal(value, before[name]) for name, value in ensemble.state_dict().items())


def wrn(classes: int) -> nn.Module:
    with torch.device("meta"):
        return motet.models.wide_resnet(depth=28, width=10, num_classes=classes)


def of_wrn(classes: int = 10, **settings: object) -> Ensemble:
    return MixtureEnsembles(**settings).wrap(wrn(classes), example=torch.zeros(1, 3, 32, 32, device="meta"))


@pytest.mark.slow
def test_the_papers_numbers_on_a_wide_resnet() -> None:
    ensemble = of_wrn()
    banks, members = ensemble.network.banks, ensemble.network.members.networks
    assert [bank.shapes for bank in banks] == [((w, w, 3, 3),) * 7 for w in (160, 320, 640)]
    assert sum(bank.coefficients_MR.shape[1] for bank in banks) == 105
    norms = sum(
        value.numel()
        for part in members[1].modules()
        if isinstance(part, nn.BatchNorm2d)
        for value in part.parameters()
    )
    assert norms == 17_952
    summary = ensemble.summary()
    assert summary.own == 4 * 18_057
    assert summary.shared + norms == sum(value.numel() for value in wrn(10).parameters()) == 36_479_194
    single = {id(layer): layer.weight.numel() for network in members for layer in network.modules()
              if isinstance(layer, nn.Conv2d | nn.Linear) and layer.weight is not None}  # fmt: skip
    assert len(single) == 8  # the stem, three first convolutions, three shortcuts and the head: once, for all members
    assert all(members[0].get_submodule(name) is members[3].get_submodule(name) for name in ("stem", "head"))
    text = str(of_wrn(100, params=36_500_000).summary())
    for width in (160, 320, 640):
        assert f"7 templates of {width}x{width}x3x3 (6.996 whole) for 7 layers, 5 each" in text
    assert "36,500,000 parameters in the budget, and 18,057 more for each member" in text


@pytest.mark.slow
@pytest.mark.parametrize("params", [7_000_000, 15_000_000, 120_000_001])
def test_a_wide_resnets_budget_is_met_exactly(params: int) -> None:
    ensemble = of_wrn(params=params)
    assert ensemble.summary().shared == params
    kinds = {type(bank) for bank in ensemble.network.banks}
    assert kinds == {ParameterBlob if params == 7_000_000 else TemplateBank}


@pytest.mark.slow
@pytest.mark.parametrize("sharing", ["auto", "groups", "blob"])
@pytest.mark.parametrize("name", ["mlp", "conv2d", "conv1d", "tokens"])
@pytest.mark.parametrize("bank_single_layers", [False, True])
def test_the_budget_is_met_exactly_or_refused(name: str, sharing: str, bank_single_layers: bool) -> None:
    make, shape, _ = CASES[name]
    model, example = make(), torch.zeros(1, *shape)

    def build(params: int | None) -> Ensemble:
        method = MixtureEnsembles(members=2, params=params, sharing=sharing, bank_single_layers=bank_single_layers)
        return method.wrap(model, example=example)

    with pytest.raises(InputError, match="params must be at least") as refused:
        build(1 if sharing == "groups" else 0)
    if sharing != "groups":  # everything is in the blob
        assert "got 0" in str(refused.value)
        smallest = 1
    else:
        smallest = int(refused.value.fix.split("params=")[1].split(" ")[0])
        assert f"at least {smallest:,} for" in str(refused.value)
        if smallest > 1:
            with pytest.raises(InputError, match=f"at least {smallest:,} "):
                build(smallest - 1)
    plain = build(None).summary().shared
    for params in {smallest, smallest + 1, smallest + 13, plain - 1, plain, plain + 1, 2 * plain + 7, 5 * plain + 3}:
        if params >= smallest:
            assert build(params).summary().shared == params, params


def test_auto_takes_groups_where_they_hold_enough_and_the_blob_elsewhere() -> None:
    def kinds(model: nn.Module, shape: tuple[int, ...], params: int | None = None) -> list[str]:
        ensemble = MixtureEnsembles(params=params).wrap(model, example=torch.zeros(1, *shape))
        return [type(bank).__name__ for bank in ensemble.network.banks]

    assert kinds(mlp(), (5,)) == ["TemplateBank"]
    # 30 + 6 and 24 + 4 outside, 72 for two templates of 36.
    assert kinds(mlp(), (5,), 36 + 28 + 36) == ["TemplateBank"]
    assert kinds(mlp(), (5,), 36 + 28 + 35) == ["ParameterBlob"]
    assert kinds(motet.models.small_cnn(num_classes=3), (3, 8, 8)) == ["ParameterBlob"]
    lopsided = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 40))
    assert kinds(lopsided, (4,)) == ["ParameterBlob"]
    with pytest.raises(InputError, match=r"two or more trained layers of the same shape.*sharing='blob'"):
        MixtureEnsembles(sharing="groups").wrap(
            nn.Sequential(nn.Linear(4, 5), nn.Linear(5, 2)), example=torch.zeros(1, 4)
        )


def test_members_own_norms_tokens_buffers_and_biases_and_share_the_rest() -> None:
    model, ensemble = wrap(CASES["tokens"])
    networks = ensemble.network.members.networks
    for name in ("cls_token", "positions", "encoder.layers.0.norm1.weight", "encoder.layers.1.linear2.layer.bias",
        "encoder.layers.0.self_attn.q_proj.layer.bias"):  # fmt: skip
        assert len({id(network.get_parameter(name)) for network in networks}) == 3, name
    assert not torch.equal(networks[0].positions, networks[1].positions)
    assert torch.equal(networks[0].cls_token, model.cls_token)
    assert networks[0].scale.data_ptr() != networks[1].scale.data_ptr()
    for name in ("embed", "out"):
        assert len({id(network.get_submodule(name)) for network in networks}) == 1, name
    assert [bank.shapes for bank in ensemble.network.banks] == [((8, 8),) * 8, ((16, 8),) * 3, ((8, 16),) * 2]
    # Coefficients, class token, positions, four norms of 16, biases of eight, of three and of two layers.
    assert ensemble.summary().own == 3 * (8 * 5 + 3 * 3 + 2 * 2 + 8 + 48 + 4 * 16 + 8 * 8 + 3 * 16 + 2 * 8)


def test_coefficients_are_orthogonal_rows_of_length_one_and_differ_between_members() -> None:
    linear = nn.Linear(6, 6, bias=False)
    model = nn.Sequential(*(copy.deepcopy(linear) for _ in range(4)), nn.Linear(6, K))
    for params, count in ((None, 4), (6 * 6 * 2 + 28, 2), (6 * 6 + 28, 1)):
        method = MixtureEnsembles(members=3, params=params, sharing="groups")
        bank = method.wrap(model, example=torch.zeros(1, 6), init="fresh").network.banks[0]
        rows_MLT = bank.coefficients_MR.unflatten(1, (4, count))
        assert (rows_MLT[0] - rows_MLT[1]).abs().min() > 0
        if count > 1:
            torch.testing.assert_close(rows_MLT.norm(dim=2), torch.ones(3, 4))
        else:  # signs, and noise so that no two members are equal
            assert 0.5 < rows_MLT.abs().min() < rows_MLT.abs().max() < 1.5
        if count == 4:
            torch.testing.assert_close(rows_MLT @ rows_MLT.mT, torch.eye(4).expand(3, -1, -1))


def test_initial_weights_have_the_models_deviations() -> None:
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = nn.ModuleList(nn.Linear(40, 40) for _ in range(4))
            for index, part in enumerate(self.parts):
                nn.init.normal_(part.weight, std=(0.1, 0.1, 0.3, 0.0)[index])
            self.head = nn.Linear(40, K)

        def forward(self, x: Tensor) -> Tensor:
            for part in self.parts:
                x = x + part(x).tanh()
            return self.head(x)

    for sharing, params in (("groups", None), ("groups", 1600 * 3), ("blob", None), ("blob", 800)):
        method = MixtureEnsembles(members=2, sharing=sharing, params=params)
        ensemble = method.wrap(Scaled(), example=torch.zeros(1, 40))
        for network in ensemble.network.members.networks:
            for part, deviation in zip(network.parts, (0.1, 0.1, 0.3, 0.0), strict=True):
                # 1600 entries; in the smallest blob 800, and noise of a tenth on the only coefficient.
                allowed = 0.35 if params == 800 else 0.12
                assert part.weight.std().item() == pytest.approx(deviation, rel=allowed), (sharing, params)
    zeros = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    for layer in zeros:
        nn.init.zeros_(layer.weight)
    ensemble = MixtureEnsembles().wrap(zeros, example=torch.zeros(1, 4))
    assert not ensemble.network.members.networks[0][0].weight.any()
    assert ensemble.network.banks[0].coefficients_MR.all()


def test_a_kept_model_is_the_members_mean_and_they_part() -> None:
    model, x = mlp().double(), torch.randn(6, 5).double()
    before = model(x)
    names = ("2", "4")
    for settings in ({}, {"params": 300}, {"members": 2, "assignment": "disjoint", "params": 64 + 36 * 8}):
        ensemble = MixtureEnsembles(**settings).wrap(model, example=x[:1], init="keep")
        networks = ensemble.network.members.networks
        for name in names:
            weights = torch.stack([network.get_submodule(name).weight for network in networks])
            weight = model.get_submodule(name).weight
            if "assignment" not in settings:  # elsewhere members read different templates, and nudges do not cancel
                torch.testing.assert_close(weights.mean(dim=0), weight, rtol=1e-8, atol=1e-8)
            apart = (weights - weight).square().mean().sqrt() / weight.square().mean().sqrt()
            assert 0.01 < apart < 0.3
        spread = (ensemble(x) - before.unsqueeze(1)).std() / before.std()
        assert 0.001 < spread < 0.3
        assert all(torch.equal(network[4].bias, model[4].bias) for network in networks)
    # One template for two layers: the least-squares fit leaves what no multiple of one template can give.
    method = MixtureEnsembles(members=1, params=64 + 36)
    with pytest.warns(UserWarning, match=r"the budget keeps \d\d% of a trained model's weights.*larger params"):
        bank = method.wrap(model, example=x[:1], init="keep").network.banks[0]
    coefficients = bank.coefficients_MR[0]
    weights = torch.stack([model[2].weight.flatten(), model[4].weight.flatten()])
    torch.testing.assert_close(bank.entries, torch.linalg.pinv(coefficients.unsqueeze(1))[0] @ weights)


def test_a_kept_norm_shows_that_the_model_was_trained() -> None:
    model = EqualConvNet()
    model.train()(torch.randn(8, 2, 6, 6))
    model.eval()
    x = torch.randn(4, 2, 6, 6)
    outputs = MixtureEnsembles().wrap(model, example=x[:1]).eval()(x)
    expected = model(x).unsqueeze(1).expand_as(outputs)
    assert (outputs - expected).square().mean() < 0.1 * expected.var(dim=0).mean()


def test_frozen_tied_unusual_and_idle_layers_are_shared_as_they_are() -> None:
    class Mixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(9, 6)
            self.frozen, self.a, self.b, self.normed = (nn.Linear(6, 6) for _ in range(4))
            self.frozen.weight.requires_grad_(False)
            self.normed = nn.utils.parametrizations.weight_norm(self.normed)
            self.tied, self.again = nn.Linear(6, 6), nn.Linear(6, 6)
            self.again.weight = self.tied.weight
            self.read, self.idle = nn.Linear(6, 6), nn.Linear(6, 6)
            self.wide_norm, self.scale = nn.LayerNorm((3, 6)), nn.Conv1d(6, 6, 1, groups=6)
            self.out = nn.Linear(9, 6)
            self.out.weight = self.words.weight

        def forward(self, x: Tensor) -> Tensor:
            h = self.wide_norm(self.words(x)).mean(dim=1)
            for layer in (self.frozen, self.a, self.b, self.normed, self.tied, self.again):
                h = h + layer(h).tanh()
            return F.linear(F.linear(h, self.read.weight), self.out.weight)

    model, x = Mixed(), torch.randint(9, (5, 3))
    ensemble = MixtureEnsembles(members=2, sharing="groups").wrap(model, example=x[:1])
    one, other = ensemble.network.members.networks
    assert [name for name, part in one.named_modules() if isinstance(part, TemplateLayer)] == ["a", "b"]
    for name in ("words", "frozen", "normed", "tied", "again", "read", "idle", "out"):
        assert one.get_submodule(name) is other.get_submodule(name), name
    assert one.wide_norm is not other.wide_norm
    assert one.tied.weight is one.again.weight
    assert torch.equal(one.frozen.weight, model.frozen.weight)
    assert not one.frozen.weight.requires_grad
    shared = {id(value): value.numel() for part in (one.words, one.frozen, one.normed, one.tied, one.again, one.read,
              one.idle, one.out, one.scale) for value in part.parameters()}  # fmt: skip
    assert ensemble.summary().shared == sum(shared.values()) + len(ensemble.network.banks[0].entries)
    alone = member_network(ensemble.eval().network, 1)
    torch.testing.assert_close(alone(x), ensemble(x)[:, 1])
    with pytest.raises(InputError, match=f"at least {sum(shared.values()) + 36:,} for"):
        MixtureEnsembles(params=1, sharing="groups").wrap(model, example=x[:1])


def test_a_model_of_nothing_that_can_be_mixed_is_refused() -> None:
    class Own(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).tanh()

    with pytest.raises(InputError, match="at least one ordinary Linear layer or convolution that is trained"):
        MixtureEnsembles().wrap(nn.Sequential(Own(4, 3)), example=torch.zeros(1, 4))
    frozen = mlp().requires_grad_(False)
    with pytest.raises(InputError, match="with frozen parameters"):
        MixtureEnsembles().wrap(frozen, example=torch.zeros(1, 5))
    ensemble = MixtureEnsembles(members=1).wrap(frozen, example=torch.zeros(1, 5))
    assert len(ensemble.network.banks) == 0
    assert ensemble(torch.zeros(2, 5)).shape == (2, 1, K)


def test_coefficients_are_never_decayed_and_templates_are() -> None:
    _, ensemble = wrap(CASES["conv2d"])
    decays = {id(value): group["weight_decay"] for group in ensemble.parameter_groups(weight_decay=0.1)
              for value in group["params"]}  # fmt: skip
    (bank,) = ensemble.network.banks
    assert decays[id(bank.coefficients_MR)] == 0.0
    assert decays[id(bank.entries)] == 0.1


def test_members_part_in_training_even_with_one_template() -> None:
    x, y = torch.randn(16, 5), torch.randint(K, (16,))
    for settings in ({"params": 100}, {"params": 30}, {}):
        ensemble = MixtureEnsembles(members=3, **settings).wrap(mlp(), example=x[:1])
        optimizer = torch.optim.SGD(ensemble.parameter_groups(), lr=0.1)
        first = ensemble.loss(x, y).item()
        for _ in range(20):
            optimizer.zero_grad()
            loss = ensemble.loss(x, y)
            loss.backward()
            optimizer.step()
        assert loss.item() < first
        outputs = ensemble(x)
        assert all((outputs[:, m] - outputs[:, m - 1]).abs().max() > 1e-3 for m in range(3))


def test_autocast_does_not_round_the_templates_gradients() -> None:
    model = mlp()
    ensemble = MixtureEnsembles(members=2).wrap(model, example=torch.zeros(1, 5))
    with torch.autocast("cpu", dtype=torch.bfloat16), ensemble.network.banks[0].composed():
        assert ensemble.network.banks[0].weight(0, 0).dtype == torch.float32
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert ensemble.network.banks[0].weight(0, 0).dtype == torch.float32


def test_members_must_not_write_on_the_input_that_they_share() -> None:
    class Centred(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.a(x.sub_(1)))

    with pytest.raises(InputError, match="must not change it in place"):
        MixtureEnsembles(members=2).wrap(Centred(), example=torch.zeros(1, 4))


def test_bad_settings_are_named(unchecked: None) -> None:
    for settings, message in [
        ({"params": 0}, "params must be at least 1, but got 0"),
        ({"templates_per_layer": 0}, "templates_per_layer must be at least 1"),
        ({"coefficient_lr_scale": 0.0}, "coefficient_lr_scale must be a positive number"),
        ({"sharing": "group"}, "sharing must be 'auto' or 'groups' or 'blob', but got sharing='group'"),
        ({"assignment": "own"}, "assignment must be 'same' or 'disjoint'"),
        ({"filling": "repeat"}, "filling must be 'permute' or 'tile' or 'interpolate'"),
    ]:
        with pytest.raises(InputError, match=message):
            MixtureEnsembles(**settings)


@pytest.mark.parametrize("sharing", ["groups", "blob"])
def test_coefficients_may_learn_at_a_rate_of_their_own(sharing: str) -> None:
    model = nn.Sequential(*(nn.Linear(4, 4) for _ in range(3)), nn.Linear(4, 3))
    ensemble = MixtureEnsembles(members=2, sharing=sharing, coefficient_lr_scale=0.1).wrap(
        model, example=torch.zeros(1, 4)
    )
    groups = ensemble.parameter_groups(weight_decay=1e-4, learning_rate=2.0)
    rates = {id(value): group.get("lr", 2.0) for group in groups for value in group["params"]}
    for name, value in ensemble.named_parameters():
        assert rates[id(value)] == pytest.approx(0.2 if name.endswith("coefficients_MR") else 2.0)


@pytest.mark.slow
def test_a_blob_that_keeps_a_trained_model_has_entries_of_its_weights_size() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 5))
    spread = torch.cat([layer.weight.flatten() for layer in model[::2]]).square().mean().sqrt()
    for seed in range(6):  # of single draws some need entries 200 times as large, which cancel until training begins
        torch.manual_seed(seed)
        ensemble = MixtureEnsembles(members=2, sharing="blob").wrap(model, example=torch.zeros(1, 6), init="keep")
        assert ensemble.network.banks[0].entries.square().mean().sqrt() < 10 * spread
