import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812
from torch.nn import utils
from torch.nn.utils import parametrizations, parametrize, prune

from motet.errors import InputError
from motet.surgery import LayerNames, input_layers, output_layers, probe


class Net(nn.Module):
    """``first`` and ``last`` may be any layers; the input goes through `skip` as well where there is one."""

    def __init__(self, first: nn.Module, *, skip: nn.Module | None = None, last: nn.Module | None = None) -> None:
        super().__init__()
        self.first, self.skip, self.last = first, skip, last or nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        return self.last((h if self.skip is None else h + self.skip(x)).relu())


def settle_first(model: nn.Module, first: LayerNames = None, example: Tensor | None = None) -> list[nn.Module]:
    return list(input_layers(model, probe(model, torch.zeros(1, 4) if example is None else example), first))


def settle_last(model: nn.Module, last: LayerNames = None, example: Tensor | None = None) -> list[nn.Module]:
    return list(output_layers(model, probe(model, torch.zeros(1, 4) if example is None else example), last))


def test_what_is_clear_needs_no_name() -> None:
    model = Net(nn.Linear(4, 8))
    assert settle_first(model) == [model.first]
    assert settle_last(model) == [model.last]
    alone = nn.Linear(4, 3)
    assert settle_first(alone) == settle_last(alone) == [alone]


def test_two_ways_in_are_ambiguous_until_they_are_named() -> None:
    model = Net(nn.Linear(4, 8), skip=nn.Linear(4, 8))
    with pytest.raises(InputError) as caught:
        settle_first(model)
    message = str(caught.value)
    assert "reads the input" in message
    assert "2 candidates: 'first', 'skip'" in message
    assert "first='first', or first=('first', 'skip') to replace all of them" in message
    for names in (("first", "skip"), ["first", "skip"]):
        assert settle_first(model, names) == [model.first, model.skip]
    assert settle_first(model, "skip") == [model.skip]


def test_two_ways_out_are_ambiguous_until_they_are_named() -> None:
    model = nn.Sequential(nn.Linear(4, 8), Net(nn.Linear(8, 3), skip=nn.Linear(8, 3), last=nn.Identity()))
    with pytest.raises(
        InputError, match=r"makes the output, but got 2 candidates: '1\.first', '1\.skip'.*last='1\.first'"
    ):
        settle_last(model)
    assert settle_last(model, ("1.first", "1.skip")) == [model[1].first, model[1].skip]


def test_no_way_in_names_the_layers_that_ran() -> None:
    model = nn.Sequential(nn.Embedding(7, 4), nn.Flatten(), nn.Linear(12, 8), nn.Linear(8, 3))
    example = torch.randint(7, (2, 3))
    assert settle_first(model, None, example) == [model[0]]
    assert settle_first(model, "2", example) == [model[2]]
    assert settle_first(model, "0", example) == [model[0]]


def test_a_model_without_layers_says_so() -> None:
    with pytest.raises(InputError, match=r"an embedding that reads the input.*no such layer does"):
        settle_first(nn.Sequential(nn.Flatten()))


def test_a_name_that_is_none_gets_a_suggestion() -> None:
    with pytest.raises(InputError, match=r"first must name a layer.*got first='frist'. Did you mean 'first'"):
        settle_first(Net(nn.Linear(4, 8)), "frist")
    with pytest.raises(InputError, match=r"last must name a layer.*Known: first, last"):
        settle_last(Net(nn.Linear(4, 8)), "xyz")


def test_a_layer_can_be_named_by_any_of_its_names() -> None:
    model = Net(nn.Linear(4, 8))
    model.alias = model.first
    assert settle_first(model) == settle_first(model, "first") == settle_first(model, "alias") == [model.first]


def test_a_layer_that_runs_twice_or_never_is_refused() -> None:
    shared = nn.Linear(4, 4)
    model = nn.Sequential(shared, nn.ReLU(), shared, nn.Linear(4, 3))
    with pytest.raises(InputError, match="run once in a forward pass, but got '0', which ran 2 times"):
        settle_first(model)
    model = Net(nn.Linear(4, 8))
    model.unused = nn.Linear(4, 8)
    with pytest.raises(InputError, match="'unused', which ran 0 times"):
        settle_first(model, "unused")


def test_tied_weights_are_refused() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    model[2].weight = model[0].weight
    with pytest.raises(InputError, match="must not share its weight, but got '0', which shares it with '2'"):
        settle_first(model)
    with pytest.raises(InputError, match="must not share its weight, but got '2', which shares it with '0'"):
        settle_last(model)
    words = nn.Sequential(nn.Embedding(7, 4), nn.Flatten(), nn.Linear(4, 7, bias=False))
    words[2].weight = words[0].weight
    with pytest.raises(InputError, match="got '2', which shares it with '0'"):
        settle_last(words, None, torch.randint(7, (2, 1)))


def make_own_forward(layer: nn.Linear) -> None:
    layer.forward = lambda x: F.linear(2 * x, layer.weight, layer.bias)  # type: ignore[method-assign]


def make_old(kind: Callable[[nn.Module], object]) -> Callable[[nn.Module], None]:
    def make(layer: nn.Module) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch deprecates these, users have them
            kind(layer)

    return make


CHANGES: dict[str, Callable[[nn.Linear], object]] = {
    "parametrised weight norm": parametrizations.weight_norm,
    "parametrised spectral norm": parametrizations.spectral_norm,
    "parametrised bias": lambda layer: parametrize.register_parametrization(layer, "bias", nn.Tanh()),
    "weight norm": make_old(utils.weight_norm),
    "spectral norm": make_old(utils.spectral_norm),
    "pruning": lambda layer: prune.random_unstructured(layer, "weight", 0.5),
    "pruned bias": lambda layer: prune.random_unstructured(layer, "bias", 0.5),
    "a hook": lambda layer: layer.register_forward_hook(lambda *_: None),
    "a hook before": lambda layer: layer.register_forward_pre_hook(lambda *_: None),
    "its own forward": make_own_forward,
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_layers_that_compute_something_else_are_not_replaced(change: Callable[[nn.Linear], object]) -> None:
    model = Net(nn.Linear(4, 8))
    change(model.first)
    with pytest.raises(InputError, match=r"input layer must be an ordinary Linear.*'first'.*Put a Linear layer"):
        settle_first(model)
    assert settle_last(model) == [model.last]
    model = Net(nn.Linear(4, 8))
    change(model.last)
    with pytest.raises(InputError, match=r"output layer must be an ordinary Linear.*'last'.*End the model in"):
        settle_last(model)
    assert settle_first(model) == [model.first]


class SamePadding(nn.Conv2d):
    """As in timm: pads in its own forward."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, (0, 1, 0, 1)))


class Standardised(nn.Conv2d):
    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        return super()._conv_forward(input, weight - weight.mean(), bias)


class Named(nn.Conv2d):
    """Only a name and a constructor of its own."""

    def __init__(self) -> None:
        super().__init__(2, 8, 2)


def convolutional(first: nn.Module) -> nn.Module:
    return nn.Sequential(first, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))


@pytest.mark.parametrize(
    "layer",
    [
        SamePadding(2, 8, 2),
        Standardised(2, 8, 2),
        nn.ConvTranspose2d(2, 8, 2),
    ],
    ids=lambda layer: type(layer).__name__,
)
def test_only_ordinary_convolutions_are_replaced(layer: nn.Module) -> None:
    model, example = convolutional(layer), torch.zeros(2, 2, 5, 5)
    with pytest.raises(InputError, match=f"'0', a {type(layer).__name__}"):
        settle_first(model, None, example)


def test_a_subclass_that_computes_the_same_will_do() -> None:
    model = convolutional(Named())
    assert settle_first(model, None, torch.zeros(2, 2, 5, 5)) == [model[0]]


class Casting(nn.Linear):
    """As in timm: casts its weights in its own forward, and computes what torch's layer does."""

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight.to(input.dtype), None if self.bias is None else self.bias.to(input.dtype))


class Noisy(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        return super().forward(F.dropout(input, 0.5, self.training))


class Adapted(nn.Linear):
    """Starts as an ordinary layer, and does not stay one."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs)
        self.adapter = nn.Parameter(torch.zeros(outputs, inputs))

    def forward(self, input: Tensor) -> Tensor:
        return F.linear(input, self.weight + self.adapter, self.bias)


class Failing(nn.Linear):
    def forward(self, input: Tensor) -> Tensor:
        if input.shape[0] > 2:
            raise RuntimeError("two rows at most")
        return super().forward(input)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_linear_layer_with_a_forward_that_computes_the_same_will_do(bias: bool, dtype: torch.dtype) -> None:
    model = Net(Casting(4, 8, bias=bias), last=Casting(8, 3, bias=bias)).to(dtype).train()
    example = torch.zeros(2, 4, dtype=dtype)
    assert settle_first(model, None, example) == [model.first]
    assert settle_last(model, None, example) == [model.last]
    assert model.last.training


@pytest.mark.parametrize("kind", [Noisy, Adapted, Failing])
def test_a_linear_layer_with_a_forward_that_computes_something_else_is_refused(kind: type[nn.Linear]) -> None:
    model = Net(kind(4, 8))
    with pytest.raises(InputError, match=f"'first', an? {kind.__name__} with its own forward"):
        settle_first(model)


def test_a_grouped_output_convolution_is_refused() -> None:
    model = nn.Sequential(nn.Conv2d(2, 8, 3), nn.Conv2d(8, 4, 1, groups=2), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    example = torch.zeros(2, 2, 5, 5)
    with pytest.raises(InputError, match="output convolution must not be grouped, but got groups=2"):
        settle_last(model, None, example)
    assert settle_first(model, None, example) == [model[0]]


def test_a_three_dimensional_convolution_is_refused() -> None:
    model = nn.Sequential(nn.Conv3d(1, 2, 2), nn.Flatten(), nn.Linear(2, 3))
    with pytest.raises(InputError, match="'0', a Conv3d"):
        settle_first(model, None, torch.zeros(1, 1, 2, 2, 2))
