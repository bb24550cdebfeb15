import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from motet.errors import InputError
from motet.surgery import probe


class Residual(nn.Module):
    """The input goes two ways, and two layers make the output."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.skip = nn.Conv2d(2, 4, 3, padding=1), nn.Conv2d(2, 4, 1)
        self.fc, self.shortcut = nn.Linear(4, 3), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = (F.relu(self.conv(x), inplace=True) + self.skip(x)).mean(dim=(2, 3))
        return self.fc(h) + self.shortcut(h)


class Aliased(nn.Module):
    """One module under two names, one of them used."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Linear(4, 8)
        self.alias = self.a
        self.out = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.alias(x).relu())


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.out = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.a(self.a(x).relu()))


class Siamese(nn.Module):
    """One layer that reads the input twice."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.out = nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.a(x).relu() + self.a(-x)) + self.out(self.a(2 * x))


class Unused(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.unused, self.a, self.out = nn.Linear(4, 8), nn.Linear(4, 8), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.a(x).relu())


class OutOfOrder(nn.Module):
    """Registered in the reverse of the order in which it runs, with functional code in between."""

    def __init__(self) -> None:
        super().__init__()
        self.out, self.mid, self.stem = nn.Linear(8, 3), nn.Linear(8, 8), nn.Linear(4, 8)

    def forward(self, x: Tensor) -> Tensor:
        h = F.normalize(self.stem(x / 2 + 1), dim=1)
        return F.log_softmax(self.out(h + self.mid(h).relu_()), dim=1).clamp(-10)


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(4, 8)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.out = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x)
        return self.out(self.attention(query=h, key=h, value=h)[0].mean(dim=1))


class AttentionFirst(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True)
        self.out = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.attention(x, x, x, need_weights=False)[0].mean(dim=1))


class Transformer(nn.Module):
    """In evaluation mode torch may take a path that calls none of the encoder's submodules."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Linear(4, 8)
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.out = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.encoder(self.embed(x)).mean(dim=1))


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.lstm, self.out = nn.Linear(4, 8), nn.LSTM(8, 6, batch_first=True), nn.Linear(6, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.lstm(self.embed(x))[1][0][-1])


class OwnMatrix(nn.Module):
    """A leaf with a weight matrix of its own is a mixing layer too."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 8))

    def forward(self, x: Tensor) -> Tensor:
        return x @ self.weight


def words() -> nn.Module:
    return nn.Sequential(nn.Embedding(7, 4), nn.Flatten(), nn.Linear(12, 3))


def wide_and_deep() -> nn.Module:
    class WideAndDeep(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.hidden, self.out = nn.Linear(4, 8), nn.Linear(12, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.out(torch.cat([self.hidden(x).relu(), x], dim=1))

    return WideAndDeep()


Case = tuple[Callable[[], nn.Module], tuple[int, ...], tuple[str, ...], tuple[str, ...]]
CASES: dict[str, Case] = {
    "sequential": (lambda: nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 3)), (4,), ("0",), ("2",)),
    "one layer": (lambda: nn.Sequential(nn.Flatten(), nn.Linear(4, 3)), (2, 2), ("1",), ("1",)),
    "is a layer": (lambda: nn.Linear(4, 3), (4,), ("",), ("",)),
    "residual": (Residual, (2, 5, 5), ("conv", "skip"), ("fc", "shortcut")),
    "aliased": (Aliased, (4,), ("a",), ("out",)),
    "twice": (Twice, (4,), ("a",), ("out",)),
    "siamese": (Siamese, (4,), ("a",), ("out",)),
    "unused": (Unused, (4,), ("a",), ("out",)),
    "out of order": (OutOfOrder, (4,), ("stem",), ("out",)),
    "attention": (Attention, (5, 4), ("embed",), ("out",)),
    "attention first": (AttentionFirst, (5, 4), ("attention",), ("out",)),
    "transformer": (Transformer, (5, 4), ("embed",), ("out",)),
    "recurrent": (Recurrent, (5, 4), ("embed",), ("out",)),
    "wide and deep": (wide_and_deep, (4,), ("hidden", "out"), ("out",)),
    "own matrix": (lambda: nn.Sequential(OwnMatrix(), nn.ReLU(), nn.Linear(8, 3)), (4,), ("0",), ("2",)),
    "norm first": (
        lambda: nn.Sequential(nn.BatchNorm1d(4), nn.PReLU(), nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 3)),
        (4,),
        ("2",),
        ("4",),
    ),
    "norm over two axes": (  # its scale is a matrix, and it mixes nothing
        lambda: nn.Sequential(nn.LayerNorm((2, 2)), nn.Flatten(), nn.Linear(4, 8), nn.Linear(8, 3)),
        (2, 2),
        ("2",),
        ("3",),
    ),
    "norm last": (lambda: nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 3), nn.BatchNorm1d(3)), (4,), ("0",), ("1",)),
    "in place first": (
        lambda: nn.Sequential(nn.ReLU(inplace=True), nn.Linear(4, 8), nn.ReLU(inplace=True), nn.Linear(8, 3)),
        (4,),
        ("1",),
        ("3",),
    ),
    "in place last": (lambda: nn.Sequential(nn.Linear(4, 3), nn.ReLU(inplace=True)), (4,), ("0",), ("0",)),
    "no layer": (lambda: nn.Sequential(nn.Flatten(), nn.ReLU()), (4,), (), ()),
}

every_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


@every_case
@pytest.mark.parametrize("rows", [1, 2])
def test_the_layers_at_the_ends_are_found(case: Case, rows: int) -> None:
    make, shape, first, last = case
    model, example = make().eval(), torch.randn(rows, *shape)
    found = probe(model, example)
    assert found.input_layers == first
    assert found.output_layers == last
    assert not found.output.requires_grad
    torch.testing.assert_close(found.output, model(example.clone()))


def test_calls_are_counted() -> None:
    assert probe(Twice(), torch.zeros(1, 4)).calls == {"a": 2, "out": 1}
    assert probe(Siamese(), torch.zeros(1, 4)).calls == {"a": 3, "out": 2}
    assert probe(Unused(), torch.zeros(1, 4)).calls["unused"] == 0
    assert probe(Aliased(), torch.zeros(1, 4)).calls == {"a": 1, "out": 1}


def test_an_embedding_reads_integer_inputs() -> None:
    found = probe(words(), torch.randint(7, (2, 3)))
    assert found.input_layers == ("0",)
    assert found.output_layers == ("2",)
    assert found.calls == {"0": 1, "2": 1}


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_it_works_without_gradients_around_it_and_in_double_precision(mode: Callable[[], Any]) -> None:
    model = OutOfOrder().double()
    with mode():
        found = probe(model, torch.randn(2, 4).double())
        assert not torch.is_grad_enabled()
    assert found.input_layers == ("stem",)
    assert found.output_layers == ("out",)


@pytest.mark.parametrize(
    ("first", "changes"),
    [(nn.ReLU(), False), (nn.ReLU(inplace=True), True), (nn.Identity(), False), (nn.Flatten(), False)],
)
def test_a_model_that_writes_on_its_input_is_noticed(first: nn.Module, changes: bool) -> None:
    assert probe(nn.Sequential(first, nn.Linear(4, 3)), torch.randn(2, 4)).changes_input == changes


@every_case
@pytest.mark.parametrize("training", [True, False])
def test_model_and_example_are_left_as_they_were(case: Case, training: bool) -> None:
    make, shape, *_ = case
    model = make().train(training)
    parts, parameters = list(model.modules()), list(model.parameters())
    parts[-1].training = not training
    if parameters:
        parameters[0].requires_grad_(False)
        parameters[-1].grad = torch.ones_like(parameters[-1])
    before = copy.deepcopy(model.state_dict())
    flags = [part.training for part in parts], [value.requires_grad for value in parameters]
    example = torch.randn(2, *shape).requires_grad_()
    kept, version = example.detach().clone(), example._version
    probe(model, example)
    assert [part.training for part in parts] == flags[0]
    assert [value.requires_grad for value in parameters] == flags[1]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in parts)
    assert torch.equal(example, kept)
    assert example._version == version
    assert example.grad is None
    if parameters:
        assert torch.equal(parameters[-1].grad, torch.ones_like(parameters[-1]))
        assert all(value.grad is None for value in parameters[:-1])


class Failing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        self.fc(x)
        raise KeyError("oh")


def test_a_model_that_fails_is_left_as_it_was() -> None:
    model = Failing().train()
    with pytest.raises(InputError, match=r"shape \(2, 4\), on which it failed: KeyError: 'oh'.*x\[:1\]") as caught:
        probe(model, torch.zeros(2, 4))
    assert isinstance(caught.value.__cause__, KeyError)
    assert model.training
    assert all(value.requires_grad for value in model.parameters())
    assert not model.fc._forward_hooks
    assert not model.fc._forward_pre_hooks


def test_lazy_layers_must_have_run() -> None:
    model = nn.Sequential(nn.LazyLinear(8), nn.LazyLinear(3))
    with pytest.raises(InputError, match=r"lazy layers.*Run it once first: net\(x\[:1\]\)"):
        probe(model, torch.zeros(1, 4))
    model(torch.zeros(1, 4))
    assert probe(model, torch.zeros(1, 4)).input_layers == ("0",)


def test_a_model_with_no_gradient_path_has_no_end() -> None:
    class Inference(Twice):
        @torch.no_grad()
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x)

    found = probe(Inference(), torch.zeros(1, 4))
    assert found.output_layers == ()
