"""MIMO against M ordinary networks' input layers, one body and M heads, member by member."""

import copy
import math
from collections.abc import Callable

import pytest
import torch
from small_models import AddsItsInput, ConvNet, StepsFirst
from torch import Generator, Tensor, nn
from torch.nn import functional as F  # noqa: N812

import motet
from motet.ensemble import Ensemble
from motet.errors import InputError
from motet.grouping import Permuted
from motet.layers import InputsInTurn, MultiEmbedding
from motet.methods import MIMO
from motet.types import Batch

K = 4  # classes


class ConvHead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv1d(2, 6, 3, padding=1), nn.Conv1d(6, K, 1)

    def forward(self, x: Tensor) -> Tensor:
        return F.log_softmax(self.head(self.stem(x).tanh()).mean(dim=2), dim=1)


def mlp() -> nn.Module:
    return nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 8), nn.Tanh(), nn.Linear(8, K))


Case = tuple[Callable[[], nn.Module], tuple[int, ...], str, str]
CASES: dict[str, Case] = {
    "mlp": (mlp, (5,), "0", "4"),
    "conv2d": (lambda: ConvNet(padding=1, bias=False), (2, 7, 7), "stem", "head"),
    "conv2d groups": (lambda: ConvNet(groups=2), (2, 7, 7), "stem", "head"),
    "conv2d reflect": (lambda: ConvNet(padding=2, padding_mode="reflect", dilation=2), (2, 7, 7), "stem", "head"),
    "conv2d same": (lambda: ConvNet(padding="same"), (2, 7, 7), "stem", "head"),
    "conv1d and conv head": (ConvHead, (2, 6), "stem", "head"),
}

every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
every_size = pytest.mark.parametrize("members", [1, 2, 3])


def wrap(case: Case, members: int, **settings: float) -> tuple[nn.Module, Ensemble]:
    model = case[0]().double()
    return model, MIMO(members=members, **settings).wrap(model, example=torch.randn(1, *case[1]).double())


class Slow(nn.Module):
    """The definition: every member's own input layer, summed; the body; every member's own head."""

    def __init__(self, case: Case, model: nn.Module, ensemble: Ensemble) -> None:
        super().__init__()
        self.first, self.last = case[2], case[3]
        multi_input = ensemble.network.get_submodule(self.first)
        multi_head = ensemble.network.get_submodule(self.last)
        self.members = ensemble.members
        self.body = copy.deepcopy(model)
        first, last = model.get_submodule(self.first), model.get_submodule(self.last)
        self.inputs = nn.ModuleList(copy.deepcopy(first) for _ in range(self.members))
        self.heads = nn.ModuleList(copy.deepcopy(last) for _ in range(self.members))
        with torch.no_grad():
            # The interleaved order, written out: channel c of member m stands at c M + m.
            weight = multi_input.layer.weight
            for m, layer in enumerate(self.inputs):
                for c in range(layer.weight.shape[1]):
                    layer.weight[:, c] = weight[:, c * self.members + m]
                if m > 0:  # there is one bias
                    layer.bias = None
            for m, layer in enumerate(self.heads):
                for k in range(K):
                    layer.weight[k] = multi_head.layer.weight[m * K + k]
                    layer.bias[k] = multi_head.layer.bias[m * K + k]

    def forward(self, x_BM: Tensor) -> Tensor:
        """``(B, M, ...)`` to ``(B, M, K)``; the first and the last layer of the body are replaced for a moment."""
        total = sum(layer(x_BM[:, m]) for m, layer in enumerate(self.inputs))
        outputs = []
        for head in self.heads:
            # A fresh body for each head: the body's own norm statistics move once only.
            body = copy.deepcopy(self.body) if outputs else self.body
            for name, parameter in self.body.named_parameters():
                owner, _, leaf = name.rpartition(".")
                setattr(body.get_submodule(owner), leaf, parameter)
            first, last = body.get_submodule(self.first), body.get_submodule(self.last)
            handles = [
                first.register_forward_hook(lambda *_: total.clone()),
                last.register_forward_hook(lambda module, args, out, head=head: head(args[0])),
            ]
            outputs.append(body(x_BM[:, 0]))
            for handle in handles:
                handle.remove()
        return torch.stack(outputs, dim=1)


@every_case
@every_size
@pytest.mark.parametrize("training", [True, False])
def test_outputs_and_gradients_equal_the_slow_network(case: Case, members: int, training: bool) -> None:
    model, ensemble = wrap(case, members)
    slow = Slow(case, model, ensemble).train(training)
    ensemble.train(training)
    x_BM, y_BM = torch.randn(6, members, *case[1]).double(), torch.randint(K, (6, members))
    expected = slow(x_BM)
    out = ensemble.forward_batch(Batch(inputs=x_BM, targets_BM=y_BM, distinct=True))
    torch.testing.assert_close(out, expected, rtol=1e-10, atol=1e-10)

    ensemble.objective(out, y_BM, ensemble.likelihood).backward()
    sum(F.cross_entropy(expected[:, m], y_BM[:, m]) for m in range(members)).backward()
    network, body = ensemble.network, slow.body
    multi_input, multi_head = network.get_submodule(case[2]).layer, network.get_submodule(case[3]).layer
    for m, (layer, head) in enumerate(zip(slow.inputs, slow.heads, strict=True)):
        for c in range(layer.weight.shape[1]):
            grad = multi_input.weight.grad[:, c * members + m]
            torch.testing.assert_close(grad, layer.weight.grad[:, c], rtol=1e-10, atol=1e-10)
        block = slice(m * K, (m + 1) * K)
        torch.testing.assert_close(multi_head.weight.grad[block], head.weight.grad, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(multi_head.bias.grad[block], head.bias.grad, rtol=1e-10, atol=1e-10)
    if multi_input.bias is not None:
        torch.testing.assert_close(multi_input.bias.grad, slow.inputs[0].bias.grad, rtol=1e-10, atol=1e-10)
    compared = 0
    for name, parameter in body.named_parameters():
        if not name.startswith((f"{case[2]}.", f"{case[3]}.")):
            grad = network.get_parameter(name).grad
            torch.testing.assert_close(grad, parameter.grad, rtol=1e-10, atol=1e-10)
            compared += 1
    assert compared == len(list(network.parameters())) - sum(
        len(list(network.get_submodule(name).parameters())) for name in case[2:]
    )
    for name, buffer in body.named_buffers():
        torch.testing.assert_close(network.get_buffer(name), buffer)


@every_case
@every_size
def test_a_shared_input_equals_the_explicitly_tiled_one(case: Case, members: int) -> None:
    model, ensemble = wrap(case, members)
    slow = Slow(case, model, ensemble).eval()
    ensemble.eval()
    x = torch.randn(5, *case[1]).double()
    x_BM = x.unsqueeze(1).expand(-1, members, *case[1])
    direction = torch.randn(5, members, K).double()
    batch = Batch(inputs=x_BM, targets_BM=torch.zeros(5, members, dtype=torch.long), distinct=True)
    grads = []
    for out in (ensemble(x), ensemble.forward_batch(batch)):
        torch.testing.assert_close(out, slow(x_BM), rtol=1e-10, atol=1e-10)
        grads.append(torch.autograd.grad(out, list(ensemble.parameters()), direction))
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


@every_case
def test_the_training_loss_equals_the_papers(case: Case) -> None:
    members, repetition = 3, 2
    model, ensemble = wrap(case, members, batch_repetition=repetition, input_repetition=0.5)
    slow = Slow(case, model, ensemble).train()
    x, y = torch.randn(6, *case[1]).double(), torch.randint(K, (6,))
    loss = ensemble.loss(x, y, generator=Generator().manual_seed(1))
    grouping = Permuted(batch_repetition=repetition, input_repetition=0.5)
    indices = grouping.indices(6, members=members, generator=Generator().manual_seed(1))
    probs = slow(x[indices]).softmax(dim=-1)
    # The mean over rows of the sum over members of the cross-entropy with each member's own label.
    total = 0.0
    for row in range(12):
        for m in range(members):
            total -= math.log(probs[row, m, int(y[indices[row, m]])].item())
    assert loss.item() == pytest.approx(total / 12, rel=1e-10)


def wide_resnet_of_three() -> Ensemble:
    """With norm statistics and scales other than the initial ones."""
    ensemble = MIMO(members=3).wrap(
        motet.models.wide_resnet(depth=10, width=2, num_classes=10), example=torch.zeros(1, 3, 8, 8)
    )
    with torch.no_grad():
        for module in ensemble.modules():
            if isinstance(module, nn.BatchNorm2d):
                nn.init.uniform_(module.weight, 0.5, 1.5)
                nn.init.normal_(module.bias)
        for _ in range(5):
            ensemble.loss(torch.randn(16, 3, 8, 8), torch.randint(10, (16,)))
    return ensemble.eval()


def test_fold_of_a_wide_resnet_equals_the_tiled_unfolded_pass() -> None:
    ensemble = wide_resnet_of_three()
    x = torch.randn(8, 3, 16, 16)
    tiled = Batch(
        inputs=x.unsqueeze(1).expand(-1, 3, -1, -1, -1),
        targets_BM=torch.zeros(8, 3, dtype=torch.long),
        distinct=True,
    )
    with torch.no_grad():
        folded = ensemble.fold()
        torch.testing.assert_close(folded(x), ensemble.forward_batch(tiled), rtol=1e-5, atol=1e-5)
    assert type(folded.network.stem) is nn.Conv2d
    assert folded.network.stem.in_channels == 3
    assert ensemble.network.stem.layer.in_channels == 9
    difference = sum(p.numel() for p in ensemble.parameters()) - sum(p.numel() for p in folded.parameters())
    assert difference == 2 * 3 * 16 * 9


def test_every_alias_of_an_input_layer_is_folded() -> None:
    class Aliased(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = nn.Linear(3, 8)
            self.alias, self.inner, self.out = self.a, nn.ModuleList([self.a]), nn.Linear(8, K)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(self.alias(x).relu())

    ensemble = MIMO(members=2).wrap(Aliased(), example=torch.zeros(1, 3))
    network = ensemble.network
    assert network.a is network.alias is network.inner[0]
    folded = ensemble.fold().network
    assert folded.a is folded.alias is folded.inner[0]
    assert type(folded.a) is nn.Linear


def test_initial_input_kernels_are_scaled_and_differ() -> None:
    members = 4
    model = nn.Sequential(nn.Conv2d(8, 32, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, K))
    ensemble = MIMO(members=members).wrap(model, example=torch.zeros(1, 8, 3, 3))
    kernels = ensemble.network[0].kernels
    torch.testing.assert_close(kernels.sum(dim=0), model[0].weight)
    for m in range(members):
        # Deviations of 2304 draws: five standard errors.
        torch.testing.assert_close(kernels[m].std(), model[0].weight.std() / 2, rtol=5 / math.sqrt(2 * 2304), atol=0)
        for other in range(m):
            assert not torch.equal(kernels[m], kernels[other])
    # One he_normal layer over M times the channels has this deviation too (its fan-in is 9 * 8 * M).
    he = motet.models.wide_resnet(depth=10, width=1, num_classes=2, in_channels=8).stem.weight.std() / 2
    wrn = MIMO(members=members).wrap(
        motet.models.wide_resnet(depth=10, width=1, num_classes=2, in_channels=8), example=torch.zeros(1, 8, 4, 4)
    )
    # Deviations of 1152 and 4608 draws: three standard errors, 3 / sqrt(2 * 1152).
    assert wrn.network.stem.kernels.std().item() == pytest.approx(he.item(), rel=3 / math.sqrt(2 * 1152))
    assert torch.equal(ensemble.network[0].layer.bias, model[0].bias)


def test_initial_heads_are_drawn_like_the_single_networks_head_and_differ() -> None:
    model = mlp()
    ensemble = MIMO(members=3).wrap(model, example=torch.zeros(1, 5))
    weights = ensemble.network[4].layer.weight.unflatten(0, (3, K))
    assert torch.equal(weights[0], model[4].weight)
    for m in range(3):
        torch.testing.assert_close(weights[m].std(), model[4].weight.std())
        for other in range(m):
            assert not torch.equal(weights[m], weights[other])
    assert torch.equal(ensemble.network[2].weight, model[2].weight)


class TwoWays(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(2, 6, 3, padding=1), nn.Conv2d(2, 6, 1, bias=False)
        self.head = nn.Linear(6, K)

    def forward(self, x: Tensor) -> Tensor:
        return self.head((self.a(x).relu() + self.b(x)).mean(dim=(2, 3)))


def test_two_input_layers_are_replaced_when_both_are_named() -> None:
    model, x = TwoWays().double(), torch.randn(4, 2, 5, 5).double()
    with pytest.raises(InputError, match=r"2 candidates: 'a', 'b'.*first=\('a', 'b'\)"):
        MIMO(members=2).wrap(model, example=x[:1])
    with pytest.raises(InputError, match=r"another way than 'a'.*first=\(\.\.\.\)"):
        MIMO(members=2).wrap(model, example=x[:1], first="a")
    ensemble = MIMO(members=2).wrap(model, example=x[:1], first=("a", "b"))
    x_BM = torch.randn(4, 2, 2, 5, 5).double()
    batch = Batch(inputs=x_BM, targets_BM=torch.zeros(4, 2, dtype=torch.long), distinct=True)
    parts = []
    for name in ("a", "b"):
        layer, kernels = getattr(model, name), getattr(ensemble.network, name).kernels
        parts.append(sum(F.conv2d(x_BM[:, m], kernels[m], padding=layer.padding) for m in range(2)))
    h = ((parts[0] + model.a.bias.view(-1, 1, 1)).relu() + parts[1]).mean(dim=(2, 3))
    head = ensemble.network.head.layer
    expected = (h @ head.weight.T + head.bias).unflatten(1, (2, K))
    torch.testing.assert_close(ensemble.forward_batch(batch), expected, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(ensemble.eval().fold()(x), ensemble(x), rtol=1e-10, atol=1e-10)


def test_a_named_linear_layer_behind_an_embedding_takes_the_members_words() -> None:
    model = nn.Sequential(nn.Embedding(9, 4), nn.Flatten(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, K))
    x, y = torch.randint(9, (6, 3)), torch.randint(K, (6,))
    assert type(MIMO(members=2).wrap(model, example=x[:1]).network[0]) is MultiEmbedding
    ensemble = MIMO(members=2).wrap(model, example=x[:1], first="2").eval()
    ensemble.loss(x, y).backward()
    torch.testing.assert_close(ensemble.fold()(x), ensemble(x))


def test_a_model_needs_a_body() -> None:
    for model in (
        nn.Linear(4, K),
        nn.Sequential(nn.Flatten(), nn.Linear(4, K)),
        nn.Sequential(nn.Linear(4, K), nn.ReLU()),
    ):
        with pytest.raises(InputError, match=r"needs a body between.*at least two layers"):
            MIMO(members=2).wrap(model, example=torch.zeros(1, 4))


class ReshapesByItsInput(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.out = nn.Conv1d(3, 8, 3), nn.Linear(16, K)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.conv(x).view(len(x), -1))


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_models_that_cannot_work_are_refused_at_once(rows: int) -> None:
    with pytest.raises(InputError, match=r"must work row by row.*RuntimeError"):
        MIMO(members=2).wrap(AddsItsInput(), example=torch.zeros(rows, 3))


@pytest.mark.parametrize("example", [torch.zeros(1, 6, 3), torch.zeros(2, 6, 3), torch.randn(3, 6, 3)])
def test_a_model_that_moves_its_batch_axis_reads_its_inputs_in_turn(example: Tensor) -> None:
    check_same_input(StepsFirst(), example, torch.randn(5, 6, 3))


@pytest.mark.parametrize("rows", [1, 2, 5])
def test_a_model_that_reshapes_by_its_input_reads_its_inputs_in_turn(rows: int) -> None:
    check_same_input(ReshapesByItsInput(), torch.zeros(rows, 3, 4), torch.randn(5, 3, 4))


def check_same_input(model: nn.Module, example: Tensor, x: Tensor) -> None:
    """Copies of one input give the members what the shared input gives; a member's input reaches no other row."""
    ensemble = MIMO(members=2).wrap(model, example=example).eval()
    assert type(ensemble.network) is InputsInTurn
    copies = x.unsqueeze(1).expand(-1, 2, *x.shape[1:])
    torch.testing.assert_close(ensemble.forward_distinct(copies), ensemble(x))
    changed = copies.clone()
    changed[3, 1] += 1
    differs = (ensemble.forward_distinct(changed) - ensemble(x)).abs().amax(dim=(1, 2)) > 1e-4
    assert differs.tolist() == [False, False, False, True, False]
    assert MIMO(members=1).wrap(model, example=example).members == 1


class Noisy(nn.Module):
    """Random in evaluation mode too, as Monte Carlo dropout is."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.out = nn.Linear(3, 8), nn.Linear(8, K)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(F.dropout(self.a(x), training=True))


class NotANumber(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.out = nn.Linear(3, 8), nn.Linear(8, K)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.a(x)).sqrt()


@pytest.mark.parametrize("model", [Noisy, NotANumber])
def test_a_model_that_cannot_be_compared_with_itself_is_trusted(model: type[nn.Module]) -> None:
    for seed in range(10):
        torch.manual_seed(seed)
        assert MIMO(members=2).wrap(model(), example=torch.zeros(1, 3)).members == 2


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_rounding_is_not_taken_for_mixed_rows(dtype: torch.dtype) -> None:
    for seed in range(10):
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, K)).to(dtype)
        assert MIMO(members=4).wrap(model, example=torch.zeros(1, 64, dtype=dtype)).members == 4


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"input_repetition": -0.1}, "input_repetition=-0.1"),
        ({"input_repetition": 1.1}, "input_repetition=1.1"),
        ({"input_repetition": math.nan}, "input_repetition=nan"),
        ({"batch_repetition": 0}, "batch_repetition=0"),
        ({"members": 0}, "members=0"),
    ],
)
def test_settings_out_of_range_are_refused(settings: dict[str, float], message: str, unchecked: None) -> None:
    with pytest.raises(InputError, match=message):
        MIMO(**settings)


def test_the_defaults_are_the_papers() -> None:
    method = MIMO()
    assert (method.members, method.batch_repetition, method.input_repetition) == (3, 4, 0.0)
    assert method.grouping == Permuted(batch_repetition=4, input_repetition=0.0)
    assert method.default_objective.reduction == "sum"
    assert method.combination == "mixture"


def test_a_trained_model_stays_trained() -> None:
    model = motet.models.wide_resnet(depth=10, width=1, num_classes=K)
    with torch.no_grad():
        model.train()(torch.randn(16, 3, 8, 8))
    model.eval()
    x = torch.randn(5, 3, 8, 8)
    ensemble = MIMO(members=3).wrap(model, example=x[:1]).eval()
    # The kernels add up to the layer's own, and the heads' mean is its head.
    torch.testing.assert_close(ensemble(x).mean(dim=1), model(x), rtol=1e-4, atol=1e-5)
    assert (ensemble(x)[:, 0] - ensemble(x)[:, 1]).abs().max() > 1e-3
    fresh = MIMO(members=3).wrap(model, example=x[:1], init="fresh").eval()
    torch.testing.assert_close(fresh(x)[:, 0], model(x), rtol=1e-4, atol=1e-5)
    assert (fresh(x).mean(dim=1) - model(x)).abs().max() > 1e-2
