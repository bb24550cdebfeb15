"""A tiny data set, tiny ensembles, and signals sent from within a training step."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import final

import pytest
import torch
from torch import nn

from motet import MIMO, Dataset, DeepEnsemble, Ensemble, Method, Single, Training, fit

METHODS: dict[str, Method] = {
    "single": Single(),
    "mimo": MIMO(members=2, batch_repetition=2, input_repetition=0.5),
    "deep-ensemble": DeepEnsemble(members=2),
}

Make = Callable[..., Ensemble]
Rows = list[dict[str, float]]


def network() -> nn.Module:
    """Has what resuming can forget: dropout (random state) and batch normalisation (buffers)."""
    return nn.Sequential(nn.Linear(4, 12, bias=False), nn.BatchNorm1d(12), nn.ReLU(), nn.Dropout(0.2), nn.Linear(12, 3))


def make_ensemble(method: str = "single", *, seed: int = 0, model: Callable[[], nn.Module] = network) -> Ensemble:
    """An ensemble by its method's name, with the initial weights and random state of a seed."""
    torch.manual_seed(seed)
    return METHODS[method].wrap(model, example=torch.zeros(2, 4))


@pytest.fixture
def regression() -> tuple[Ensemble, Dataset]:
    """A linear ensemble of one, and rows whose target is the sum of their inputs."""
    x = torch.randn(60, 4, generator=torch.Generator().manual_seed(4))
    y = x.sum(dim=1)
    data = Dataset.from_tensors("sums", train=(x, y), validation=(x, y), test=(x, y))
    torch.manual_seed(0)
    return Single().wrap(nn.Linear(4, 1), example=x[:1], likelihood=data.spec.likelihood), data


@pytest.fixture(name="network")
def _network() -> Callable[[], nn.Module]:
    return network


@pytest.fixture
def make() -> Make:
    return make_ensemble


# Four epochs of four steps.
SHORT = Training(epochs=4, batch_size=16, learning_rate=0.1, warmup_epochs=0.5)


@pytest.fixture
def short() -> Training:
    return SHORT


@pytest.fixture
def at_step() -> Callable[..., object]:
    """``with at_step(ensemble, 6, action)``: the action runs in the forward pass of the sixth training step."""

    @contextmanager
    def during(ensemble: Ensemble, step: int, action: Callable[[], object] | None = None) -> Iterator[None]:
        seen = 0

        def count(module: nn.Module, args: object) -> None:
            nonlocal seen
            if module.training:
                seen += 1
                if seen == step:
                    (action or (lambda: os.kill(os.getpid(), signal.SIGINT)))()

        handle = ensemble.network.register_forward_pre_hook(count)
        try:
            yield
        finally:
            handle.remove()

    return during


@pytest.fixture
def same_weights() -> Callable[[Ensemble, Ensemble], bool]:
    """Whether two ensembles have bitwise the same parameters and buffers."""

    def same(one: Ensemble, other: Ensemble) -> bool:
        first, second = one.state_dict(), other.state_dict()
        return list(first) == list(second) and all(torch.equal(first[name], second[name]) for name in first)

    return same


@pytest.fixture
def untimed() -> Callable[[Rows], Rows]:
    """A history without its one column that no two runs share."""
    return lambda rows: [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


@final
@dataclass(frozen=True)
class Lab:
    """What most tests of `fit` need, in one fixture."""

    make: Make
    data: Dataset
    short: Training
    folder: Path
    at_step: Callable[..., AbstractContextManager[None]]
    same_weights: Callable[[Ensemble, Ensemble], bool]
    untimed: Callable[[Rows], Rows]

    def never_stopped(self, method: str, training: Training) -> tuple[Ensemble, Rows]:
        """The ensemble and the history of a run with seed 3 in one go."""
        ensemble = self.make(method)
        return ensemble, fit(ensemble, self.data, training, seed=3, folder=self.folder / "whole")


@pytest.fixture
def lab(request: pytest.FixtureRequest) -> Lab:
    get = request.getfixturevalue
    names = ("make", "blobs", "short", "tmp_path", "at_step", "same_weights", "untimed")
    return Lab(*(get(name) for name in names))
