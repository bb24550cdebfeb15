"""What cannot predict row by row, or cannot be trained, is refused when it is wrapped, by every method."""

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from motet import Categorical, DeepEnsemble, InputError, MCDropout, Method, Single
from motet.methods import METHODS

X = torch.randn(6, 5, generator=torch.Generator().manual_seed(0))
Y = torch.tensor([0, 1, 2, 0, 1, 2])
EVERY = [kind() for kind in METHODS.values() if kind().default_likelihood == Categorical()]
every_method = pytest.mark.parametrize("method", EVERY, ids=lambda method: method.name)
SEVERAL = [method for method in EVERY if method.members > 1 and method.differ_by_weights]


class Net(nn.Module):
    """A network to derive others from: three linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.i, self.m, self.o = nn.Linear(5, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def features(self, x: Tensor) -> Tensor:
        return torch.relu(self.m(torch.relu(self.i(x))))

    def forward(self, x: Tensor) -> Tensor:
        return self.o(self.features(x))


class Centred(Net):
    def features(self, x: Tensor) -> Tensor:
        h = super().features(x)
        return h - h.mean(0)


class SoftmaxOverRows(Net):
    def features(self, x: Tensor) -> Tensor:
        return super().features(x).softmax(dim=0)


class Cumulative(Net):
    def features(self, x: Tensor) -> Tensor:
        return super().features(x).flip(0).cumsum(0).flip(0)


class Scaled(Net):
    def features(self, x: Tensor) -> Tensor:
        h = super().features(x)
        return h / h.abs().max()


class BatchStatistics(Net):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(8, track_running_stats=False)

    def features(self, x: Tensor) -> Tensor:
        return self.norm(super().features(x))


class AttentionOverRows(Net):
    """The batch axis is read as the sequence: ``batch_first`` is missing."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2)

    def features(self, x: Tensor) -> Tensor:
        h = super().features(x).unsqueeze(1)
        return h.squeeze(1) + self.attention(h, h, h)[0].squeeze(1)


MIXING = [Centred, SoftmaxOverRows, Cumulative, Scaled, BatchStatistics, AttentionOverRows]


@every_method
@pytest.mark.parametrize("make", MIXING)
def test_rows_that_mix(method: Method, make: type[nn.Module], unchecked: None) -> None:
    torch.manual_seed(0)
    with pytest.raises(InputError) as error:
        method.wrap(make(), example=X[:2])
    # A layer that a method has replaced may fail in another way first.
    if isinstance(method, Single):
        assert "depend only on the same row" in str(error.value)


def test_rows_of_integers_that_mix() -> None:
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.out = nn.Embedding(10, 8), nn.Linear(8, 3)

        def forward(self, ids: Tensor) -> Tensor:
            h = self.embed(ids).mean(1)
            return self.out(h - h.mean(0))

    with pytest.raises(InputError, match="depend only on the same row"):
        Single().wrap(Tokens(), example=torch.tensor([[1, 2, 3, 4]]))


class Noisy(Net):
    def features(self, x: Tensor) -> Tensor:
        h = super().features(x)
        return h + torch.randn_like(h)


class Dropping(Net):
    def features(self, x: Tensor) -> Tensor:
        return nn.functional.dropout(super().features(x), 0.5, self.training)


class NormInTraining(Net):
    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(8)

    def features(self, x: Tensor) -> Tensor:
        return self.norm(super().features(x))


class Squeezed(Net):
    """Cannot run a single row."""

    def features(self, x: Tensor) -> Tensor:
        if len(x) == 1 and not self.training:
            raise ValueError("a single row")
        return super().features(x)


@pytest.mark.parametrize("make", [Net, Noisy, Dropping, NormInTraining])
@every_method
def test_rows_that_do_not_mix(method: Method, make: type[nn.Module], unchecked: None) -> None:
    torch.manual_seed(0)
    ensemble = method.wrap(make(), example=X[:1])
    ensemble.loss(X, Y).backward()
    assert ensemble.predict(X).probs.shape == (6, 3)


def test_a_model_that_cannot_run_one_row_is_checked_with_two() -> None:
    Single().wrap(Squeezed(), example=X[:2])

    class Both(Squeezed, Centred):
        pass

    with pytest.raises(InputError, match="depend only on the same row"):
        Single().wrap(Both(), example=X[:2])


def plain() -> nn.Sequential:
    return nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 3))


def quantised() -> nn.Module:
    return torch.ao.quantization.quantize_dynamic(plain(), {nn.Linear})


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: torch.jit.script(plain()), "scripted or traced"),
        (lambda: torch.jit.trace(plain(), X), "scripted or traced"),
        (lambda: nn.Sequential(torch.jit.script(nn.Linear(5, 8)), nn.Linear(8, 3)), "scripted or traced"),
        (quantised, "a quantised model"),
        (lambda: nn.Sequential(nn.Linear(5, 5), quantised()), "a quantised model"),
    ],
)
@pytest.mark.parametrize("as_function", [False, True])
@every_method
def test_what_is_not_made_of_ordinary_modules(
    method: Method, make: Callable[[], nn.Module], match: str, as_function: bool
) -> None:
    with pytest.raises(InputError, match=match):
        method.wrap(make if as_function else make(), example=X[:1])


class Detached(Net):
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x).detach()


class WithoutGradients(Net):
    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x)


@pytest.mark.parametrize("make", [Detached, WithoutGradients])
def test_outputs_without_gradients(make: type[nn.Module]) -> None:
    with pytest.raises(InputError, match="no parameter has a gradient"):
        Single().wrap(make(), example=X[:1])


def test_training_mode_that_fails_names_the_line() -> None:
    class Fails(Net):
        def features(self, x: Tensor) -> Tensor:
            return super().features(x)[:, : 3 if self.training else 8]

    with pytest.raises(InputError, match=r"must work in training mode.*\(test_rehearsal\.py, line \d+\)"):
        Single().wrap(Fails(), example=X[:1])


@pytest.mark.parametrize("method", SEVERAL, ids=lambda method: method.name)
def test_a_function_that_always_returns_the_same_weights(method: Method) -> None:
    base = nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))
    base(torch.randn(64, 5))
    if method.shares_nothing or method.name == "tree-net":
        with pytest.raises(InputError, match="members of an ensemble must be different"):
            method.wrap(lambda: copy.deepcopy(base), example=X[:1])
        return
    ensemble = method.wrap(lambda: copy.deepcopy(base), example=X[:1])
    optimizer = torch.optim.SGD(ensemble.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        ensemble.loss(X, Y).backward()
        optimizer.step()
    outputs_BMC = ensemble.predict(X).outputs_BMC
    assert (outputs_BMC - outputs_BMC[:, :1]).abs().max() > 1e-6


@pytest.mark.parametrize("method", SEVERAL, ids=lambda method: method.name)
def test_an_output_layer_of_zeros(method: Method) -> None:
    net = plain()
    nn.init.zeros_(net[2].weight)
    nn.init.zeros_(net[2].bias)
    if method.name == "tree-net":  # its members are only output layers here, and zeros for ever
        with pytest.raises(InputError, match="same weights and the same gradients"):
            method.wrap(net, example=X[:1])
        return
    method.wrap(net, example=X[:1]).loss(X, Y).backward()


def test_frozen_models() -> None:
    frozen = plain().requires_grad_(False)
    Single().wrap(frozen, example=X[:1])
    MCDropout(members=2).wrap(frozen, example=X[:1])
    with pytest.raises(InputError, match="with frozen parameters"):
        DeepEnsemble(members=2).wrap(frozen, example=X[:1])
    frozen[2].requires_grad_()
    DeepEnsemble(members=2).wrap(frozen, example=X[:1]).loss(X, Y).backward()


class Keeps(Net):
    """Keeps what it computed, counts its passes, and has a buffer that changes."""

    def __init__(self) -> None:
        super().__init__()
        self.passes, self.kept, self.all = 0, None, []
        self.register_buffer("seen", torch.zeros(()))

    def features(self, x: Tensor) -> Tensor:
        self.passes += 1
        self.seen += 1
        self.kept = super().features(x)
        self.all.append({"features": self.kept})
        return self.kept


def test_the_rehearsal_changes_nothing() -> None:
    made: list[Keeps] = []
    state = torch.get_rng_state()
    ensemble = Single().wrap(lambda: made.append(Keeps()) or made[-1], example=X[:1])
    torch.set_rng_state(state)
    same = Keeps()
    assert (made[0].passes, made[0].kept, made[0].all, float(made[0].seen)) == (0, None, [], 0.0)
    assert all(torch.equal(a, b) for a, b in zip(made[0].parameters(), same.parameters(), strict=True))
    assert all(each.grad is None for each in ensemble.parameters())
    assert ensemble.network.training


@every_method
def test_it_works_without_gradients_and_in_inference_mode(method: Method) -> None:
    outputs = []
    for context in (torch.enable_grad(), torch.no_grad(), torch.inference_mode()):
        torch.manual_seed(0)
        net = plain()
        with context:
            ensemble = method.wrap(net, example=X[:1].clone())
        ensemble.loss(X, Y).backward()
        outputs.append(ensemble.predict(X).outputs_BMC)
    assert all(torch.equal(outputs[0], other) for other in outputs[1:])


@every_method
def test_kept_tensors_are_copied(method: Method) -> None:
    torch.manual_seed(0)
    ensemble = method.wrap(Keeps(), example=X[:1])
    ensemble.loss(X, Y).backward()
    expected = ensemble.predict(X).outputs_BMC
    ensemble.train().loss(X, Y)  # the kept tensors have a graph now
    fixed: Any = ensemble.predict(X).outputs_BMC
    for twin in (copy.deepcopy(ensemble), ensemble.fold(), ensemble.subset(range(ensemble.members))):
        torch.testing.assert_close(twin.predict(X).outputs_BMC, fixed, atol=1e-5, rtol=1e-4)
    assert expected.shape == fixed.shape
