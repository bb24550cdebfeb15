"""Small experiments on digits, quick latencies, and signals sent from within a training step."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest
from torch import nn

from motet import MIMO, Experiment, Method, Single, Training
from motet.models import MLP

QUICK = Training(epochs=2, batch_size=256, learning_rate=0.1)
MODEL = MLP(hidden=(8,))


def experiment(method: Method | None = None, **changes: Any) -> Experiment:
    settings = {"data": "digits", "model": MODEL, "method": method or Single(), "training": QUICK} | changes
    return Experiment(**settings)


@pytest.fixture(name="experiment")
def _experiment() -> Callable[..., Experiment]:
    """An experiment of two epochs of four steps; keyword arguments change its fields."""
    return experiment


@pytest.fixture
def two_members() -> Method:
    return MIMO(members=2, batch_repetition=1)


@pytest.fixture
def quick_latency(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times nothing longer than it must: the numbers are not looked at."""
    module = sys.modules["motet.experiments.compare"]  # the package's attribute of that name is the function
    quick = partial(module.latency_ratios, rounds=1, min_seconds=1e-4)

    def measure(networks: Any, example: Any, *, baseline: str, seconds: float) -> Any:
        return quick(networks, example, baseline=baseline, seconds=0.001)

    monkeypatch.setattr(module, "latency_ratios", measure)


@pytest.fixture
def no_training(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever trains now fails."""

    def fit(*_: object, **__: object) -> None:
        raise AssertionError("this must not train")

    monkeypatch.setattr("motet.experiments.run.fit", fit)


@pytest.fixture
def at_step() -> Callable[..., Any]:
    """``with at_step(6)``: Ctrl-C in the sixth training step from now on, whatever is trained."""

    @contextmanager
    def during(step: int) -> Iterator[None]:
        seen = 0

        def count(module: nn.Module, args: Any) -> None:
            nonlocal seen
            # Not in a rehearsal, which runs a few rows.
            if type(module).__name__ == "Flatten" and module.training and len(args[0]) > 8:
                seen += 1
                if seen == step:
                    os.kill(os.getpid(), signal.SIGINT)

        handle = nn.modules.module.register_module_forward_pre_hook(count)
        try:
            yield
        finally:
            handle.remove()

    return during
