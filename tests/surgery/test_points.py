import pytest
import torch
from torch import Tensor, nn

from motet.errors import InputError
from motet.surgery import after_point, check_points, cut_points, ordinary_layers, points


class Residual(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(4, 6)
        self.inner = nn.Sequential(nn.Linear(6, 6), nn.ReLU(inplace=True))
        self.block = nn.Sequential(nn.Linear(6, 6), nn.ReLU())
        self.twice = nn.Tanh()
        self.out = nn.Linear(6, 3)
        self.scale = nn.Parameter(torch.ones(3))
        self.unused = nn.Linear(2, 2)

    def forward(self, x: Tensor) -> Tensor:
        h = self.twice(self.stem(x))
        h = h + self.inner(h)
        return self.out(self.twice(self.block(h))) * self.scale


def names(model: nn.Module, example: Tensor) -> list[str]:
    return [point.name for point in cut_points(model, example)]


def test_a_cut_is_what_every_path_goes_through() -> None:
    model, example = Residual(), torch.randn(2, 4)
    # `inner` stands beside a skip connection, and `twice` runs twice.
    assert names(model, example) == ["stem", "block.0", "block", "out"]
    assert [point.name for point in points(model, example)] == [
        "stem", "inner.0", "inner", "block.0", "block", "out",
    ]  # fmt: skip
    assert [point.mixing for point in cut_points(model, example)] == [1, 3, 3, 4]
    assert [point.output for point in cut_points(model, example)] == [(2, 6), (2, 6), (2, 6), (2, 3)]


def test_a_module_and_its_last_child_are_one_point() -> None:
    model, example = Residual(), torch.randn(2, 4)
    assert cut_points(model, example)[2].aliases == ("block.1",)
    for name in ("block", "block.1"):
        assert [point.name for point in check_points(model, example, [name], argument="exits")] == ["block"]


def test_what_passes_its_input_on_is_a_point_of_its_own() -> None:
    model = nn.Sequential(nn.Linear(4, 6), nn.Sequential(nn.Dropout(0.5), nn.Identity()), nn.Linear(6, 3))
    found = cut_points(model, torch.randn(2, 4))
    assert [(point.name, point.aliases) for point in found] == [("0", ()), ("1.0", ()), ("1", ("1.1",)), ("2", ())]


def test_a_path_around_everything_leaves_no_cut() -> None:
    class Skip(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(4, 4)

        def forward(self, x: Tensor) -> Tensor:
            return x + self.layer(x)

    assert names(Skip(), torch.randn(2, 4)) == []


def test_integer_inputs_begin_behind_the_layer_that_reads_them() -> None:
    model = nn.Sequential(nn.Embedding(10, 4), nn.Flatten(), nn.Linear(12, 5), nn.Tanh(), nn.Linear(5, 2))
    assert names(model, torch.randint(10, (2, 3))) == ["0", "1", "2", "3", "4"]


def test_points_come_in_the_order_in_which_they_run() -> None:
    model, example = Residual(), torch.randn(2, 4)
    assert [point.name for point in check_points(model, example, ["block", "stem"], argument="exits")] == [
        "stem", "block",
    ]  # fmt: skip
    assert check_points(model, example, [], argument="exits") == []


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        (["blck"], r"exits must name submodules of the model, but got 'blck'.*block"),
        ([""], "exits must name submodules"),
        (["inner"], r"must go through each point in exits, but got 'inner', which other paths bypass.*'stem'"),
        (["twice"], "must run once in a forward pass"),
        (["unused"], "must run once in a forward pass"),
        (["block", "block.1"], "must differ, but got 'block.1' twice"),
    ],
)
def test_names_that_are_no_points_are_refused(wanted: list[str], message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_points(Residual(), torch.randn(2, 4), wanted, argument="exits")


def test_what_is_executed_after_a_point() -> None:
    model, example = Residual(), torch.randn(2, 4)
    model.stem.weight.requires_grad_(False)
    rest = {"out.weight", "out.bias", "scale"}
    assert after_point(model, example, "block") == rest
    assert after_point(model, example, "block.0") == rest
    assert after_point(model, example, "stem") == rest | {
        f"{name}.{kind}" for name in ("inner.0", "block.0") for kind in ("weight", "bias")
    }
    assert after_point(model, example, "out") == {"scale"}
    assert not model.stem.weight.requires_grad
    assert sum(not value.requires_grad for value in model.parameters()) == 1
    assert all(value.grad is None for value in model.parameters())


def test_looking_leaves_no_trace() -> None:
    model, example = Residual().train(), torch.randn(2, 4)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    points(model, example)
    after_point(model, example, "block")
    assert model.training
    assert not any(part._forward_hooks for part in model.modules())
    assert not example.requires_grad
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_ordinary_layers_and_what_is_none() -> None:
    class Odd(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * 2

    shared = nn.Linear(4, 4)
    tied = nn.Linear(4, 4)
    tied.weight = shared.weight
    model = nn.ModuleDict({
        "a": nn.Sequential(nn.Conv2d(4, 4, 3, groups=2), nn.BatchNorm2d(4), shared),
        "b": nn.ModuleList([shared, tied, Odd(4, 4)]),
        "attention": nn.MultiheadAttention(4, 2),
        "embedding": nn.Embedding(3, 4),
    })  # fmt: skip
    layers, others = ordinary_layers(model)
    assert list(layers) == ["a.0", "a.2"]
    assert set(others) == {"b.1", "b.2", "attention", "embedding"}
    assert "shares its weight with 'a.2'" in others["b.1"]
    assert "its own forward" in others["b.2"]
