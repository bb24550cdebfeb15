"""Every method on models that are written as people write them: it works, or it says why not."""

import copy
import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any

import pytest
import torch
from small_data import random_targets
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from motet.ensemble import Ensemble
from motet.errors import InputError
from motet.methods import METHODS, Method

CLASSES = 3
ROWS = 4


class Nested(nn.Module):
    """Containers in containers; blocks picked by key and by index."""

    def __init__(self) -> None:
        super().__init__()
        self.stages = nn.ModuleList(
            [
                nn.ModuleDict(
                    {"body": nn.Sequential(nn.Linear(5, 8), nn.Sequential(nn.ReLU())), "norm": nn.LayerNorm(8)}
                ),
                nn.ModuleDict(
                    {"body": nn.Sequential(OrderedDict(fc=nn.Linear(8, 8), act=nn.Tanh())), "norm": nn.LayerNorm(8)}
                ),
            ]
        )
        self.heads = nn.ModuleDict({"main": nn.ModuleList([nn.Sequential(nn.Linear(8, CLASSES))])})

    def forward(self, x: Tensor) -> Tensor:
        for index in range(len(self.stages)):
            x = self.stages[index]["norm"](self.stages[index]["body"](x))
        return self.heads["main"][0](x)


class SharedBlock(nn.Module):
    """One block under two names, running twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(5, 8)
        self.one = nn.Sequential(nn.Linear(8, 8), nn.ReLU())
        self.two = self.one
        self.fc = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        h = self.stem(x).relu()
        return self.fc(h + self.two(h + self.one(h)))


class SharedNorm(nn.Module):
    """A layer that stands in two places and runs once in a pass, and a norm that runs twice."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(5, 8)
        self.norm = nn.LayerNorm(8)
        self.body = nn.Sequential(nn.Linear(8, 8), self.norm)
        self.alias = self.body[0]
        self.fc = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.body(self.norm(self.stem(x)).relu()).relu())


class GroupedConvs(nn.Module):
    """A grouped first convolution, a depthwise one inside, circular padding, a pointwise one without bias."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(4, 8, 3, padding=1, groups=2)
        self.depthwise = nn.Conv2d(8, 8, 3, padding=1, groups=8, padding_mode="circular")
        self.norm = nn.GroupNorm(2, 8)
        self.pointwise = nn.Conv2d(8, 8, 1, bias=False)
        self.batch_norm = nn.BatchNorm2d(8)
        self.fc = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(self.depthwise(self.stem(x).relu())).relu()
        return self.fc(self.batch_norm(self.pointwise(h)).relu().mean((2, 3)))


class DepthwiseFirst(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv1d(4, 8, 3, groups=4, stride=2)
        self.conv = nn.Conv1d(8, 8, 2)
        self.fc = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.conv(self.stem(x).relu()).amax(-1))


class Tokens(nn.Module):
    """(B, T, D) tokens; bare parameters, a buffer, a mixer over tokens, functional dropout."""

    def __init__(self, tokens: int) -> None:
        super().__init__()
        self.embed = nn.Linear(5, 8)
        self.position = nn.Parameter(0.1 * torch.randn(1, tokens + 1, 8))
        self.cls = nn.Parameter(torch.randn(8))
        self.register_buffer("scale", torch.full((8,), 0.5))
        self.norm1, self.norm2 = nn.RMSNorm(8), nn.LayerNorm(8)
        self.mix = nn.Linear(tokens + 1, tokens + 1)
        self.mlp = nn.Sequential(nn.Linear(8, 16), nn.GELU(), nn.Linear(16, 8))
        self.fc = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        h = self.embed(x)
        h = torch.cat([self.cls.expand(h.shape[0], 1, -1), h], dim=1) + self.position
        h = h + self.mix(self.norm1(h).transpose(1, 2)).transpose(1, 2) * self.scale
        h = F.dropout(h, 0.2, self.training)
        return self.fc((h + self.mlp(self.norm2(h)))[:, 0])


class Reader(nn.Module):
    """Reads attributes of layers that may have been replaced."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 8, 3, stride=2, padding=1)
        self.blocks = nn.ModuleList([nn.Linear(8, 8) for _ in range(2)])
        self.fc = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = x.to(dtype=self.conv.weight.dtype, device=self.conv.weight.device)
        assert self.conv.bias is not None
        assert (self.conv.in_channels, self.conv.out_channels, self.conv.groups) == (2, 8, 1)
        assert tuple(self.conv.weight.shape) == (8, 2, 3, 3)
        h = F.pad(x, (0, self.conv.stride[0] - self.conv.padding[0], 0, 0))
        h = self.conv(h).relu().mean((2, 3)).view(-1, self.fc.in_features)
        for index in range(len(self.blocks)):
            h = h + self.blocks[index](h).relu() / len(self.blocks)
        assert self.fc.out_features == self.fc.weight.shape[0] == self.fc.bias.shape[0] == CLASSES
        return self.fc(h)


class Casting(nn.Module):
    """The head is computed in another precision, as mixed-precision models do by hand."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(5, 8), nn.SiLU(), nn.BatchNorm1d(8), nn.Dropout(0.1), nn.Linear(8, 8))
        self.temperature = nn.Parameter(torch.ones(()))
        self.fc = nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.body(x).to(self.fc.weight.dtype)) / self.temperature


@dataclass(frozen=True)
class Case:
    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    branch: str


CASES = {
    "nested": Case(Nested, (5,), "stages.0.norm"),
    "shared block": Case(SharedBlock, (5,), "stem"),
    "shared norm": Case(SharedNorm, (5,), "body"),
    "grouped": Case(GroupedConvs, (4, 5, 5), "norm"),
    "depthwise first": Case(DepthwiseFirst, (4, 9), "stem"),
    "as many tokens as rows": Case(lambda: Tokens(ROWS), (ROWS, 5), "embed"),
    "as many tokens as members": Case(lambda: Tokens(2), (2, 5), "embed"),
    "attributes": Case(Reader, (2, 6, 6), "conv"),
    "casting": Case(Casting, (5,), "body"),
}
# Every pair of a method and a model that does not work, with the reason. All other pairs must work.
BOTH_SIDES = "everything that runs after the branching point must be in modules that run only there, but got "
REFUSED = {
    ("tree-net", "shared block"): f"{BOTH_SIDES}branch='stem', where 'two.0.bias', 'two.0.weight' are used",
    ("tree-net", "as many tokens as rows"): f"{BOTH_SIDES}branch='embed', where 'cls', 'position' are used",
    ("tree-net", "as many tokens as members"): f"{BOTH_SIDES}branch='embed', where 'cls', 'position' are used",
    ("tree-net", "casting"): f"{BOTH_SIDES}branch='body', where 'temperature' is used",
}
PAIRS = [(name, model) for model in CASES for name in METHODS if (name, model) not in REFUSED]
every_pair = pytest.mark.parametrize(("name", "model"), PAIRS, ids=lambda value: value)


def method_named(name: str, case: Case) -> Method:
    wanted: dict[str, Any] = {"members": 2, "branch": case.branch}
    return METHODS[name](**{item.name: wanted[item.name] for item in fields(METHODS[name]) if item.name in wanted})


def wrapped(name: str, model: nn.Module | Callable[[], nn.Module], case: Case, **settings: Any) -> Ensemble:
    return method_named(name, case).wrap(model, example=torch.randn(1, *case.shape), **settings)


def test_refusals_are_of_methods_and_models_that_exist() -> None:
    assert {name for name, _ in REFUSED} <= METHODS.keys()
    assert {model for _, model in REFUSED} <= CASES.keys()


@pytest.mark.parametrize(("name", "model"), REFUSED, ids=lambda value: value)
@pytest.mark.parametrize("given", ["module", "function", "trained module"])
def test_what_does_not_work_is_refused_with_the_reason(name: str, model: str, given: str) -> None:
    case = CASES[model]
    settings = {"init": "keep"} if given == "trained module" else {}
    with pytest.raises(InputError, match=f"^{re.escape(REFUSED[name, model])}"):
        wrapped(name, case.make if given == "function" else case.make(), case, **settings)


@every_pair
@pytest.mark.parametrize("given", ["module", pytest.param("function", marks=pytest.mark.slow)])
def test_it_wraps_trains_and_predicts(name: str, model: str, given: str) -> None:
    case = CASES[model]
    ensemble = wrapped(name, case.make() if given == "module" else case.make, case)
    x, y = torch.randn(ROWS, *case.shape), random_targets(ensemble.likelihood, ROWS, CLASSES)
    optimizer = torch.optim.SGD(ensemble.parameter_groups(weight_decay=1e-4, learning_rate=0.01), lr=0.01)
    before = {key: value.clone() for key, value in ensemble.state_dict().items()}
    for _ in range(2):
        optimizer.zero_grad()
        ensemble.train()
        loss = ensemble.loss(x, y)
        assert loss.isfinite()
        loss.backward()
        optimizer.step()
    unreached = [key for key, value in ensemble.named_parameters() if value.grad is None]
    assert unreached == []
    moved = [key for key, value in ensemble.named_parameters() if not torch.equal(value, before[key])]
    assert len(moved) == len(list(ensemble.parameters()))
    prediction = ensemble.predict(x)
    assert prediction.outputs_BMC.shape == (ROWS, ensemble.members, CLASSES)
    assert prediction.outputs_BMC.isfinite().all()
    if ensemble.members > 1:
        assert (prediction.outputs_BMC[:, 0] - prediction.outputs_BMC[:, 1]).abs().max() > 0
    torch.testing.assert_close(ensemble.predict(x[:1]).outputs_BMC, prediction.outputs_BMC[:1], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(ensemble.fold()(x), prediction.outputs_BMC, rtol=1e-4, atol=1e-5)
    twin = copy.deepcopy(ensemble)
    twin.load_state_dict(ensemble.state_dict())
    torch.testing.assert_close(twin.predict(x).outputs_BMC, prediction.outputs_BMC)


@every_pair
@pytest.mark.slow
def test_a_trained_model_stays_near_what_it_was(name: str, model: str) -> None:
    """With init="keep" the mean of the members' outputs is near the model's, and MIMO's and Multihead's is it."""
    case = CASES[model]
    trained = case.make()
    optimizer = torch.optim.SGD(trained.parameters(), lr=0.05)
    for _ in range(5):
        optimizer.zero_grad()
        F.cross_entropy(trained(torch.randn(8, *case.shape)), torch.randint(CLASSES, (8,))).backward()
        optimizer.step()
    trained.eval()
    x = torch.randn(16, *case.shape)
    ensemble = wrapped(name, trained, case, init="keep").eval()
    with torch.no_grad():
        wanted, outputs_BMC = trained(x), ensemble(x)
    if name in ("single", "multihead", "mimo"):
        torch.testing.assert_close(outputs_BMC.mean(dim=1), wanted, rtol=1e-4, atol=1e-5)
    elif name == "deep-ensemble":
        assert (outputs_BMC.mean(dim=1) - wanted).abs().max() < 1e-4
    assert outputs_BMC.isfinite().all()


@pytest.mark.parametrize("init", ["fresh", "keep"])
@pytest.mark.parametrize("name", ["multihead", "deep-ensemble", "mimo"])
def test_members_of_a_model_whose_head_is_zero_part(name: str, init: str) -> None:
    """As torchvision's vision transformers start: equal heads would get equal gradients for ever."""
    model = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, CLASSES))
    nn.init.zeros_(model[2].weight)
    nn.init.zeros_(model[2].bias)
    ensemble = METHODS[name](members=2).wrap(model, example=torch.zeros(1, 5), init=init)
    x, y = torch.randn(8, 5), torch.randint(CLASSES, (8,))
    optimizer = torch.optim.SGD(ensemble.parameters(), lr=0.1)
    for _ in range(3):
        optimizer.zero_grad()
        ensemble.loss(x, y).backward()
        optimizer.step()
    outputs_BMC = ensemble(x)
    assert (outputs_BMC[:, 0] - outputs_BMC[:, 1]).abs().max() > 1e-3
