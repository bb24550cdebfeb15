"""Ensembles are built once: what is kept is what would be built anew."""

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch

import motet
from motet import Dataset, Ensemble, Experiment, Training
from motet.data import digits
from motet.experiments import compare, make_plan
from motet.experiments.build import Builder, build, single_network_of
from motet.models import SmallCNN

DIGITS = digits()


def experiment(method: motet.Method, *, seed: int = 3, epochs: int = 1) -> Experiment:
    return Experiment(
        data="digits", model=SmallCNN(width=1), method=method, training=Training(epochs=epochs), seed=seed
    )


@pytest.fixture(name="built")
def _built(monkeypatch: pytest.MonkeyPatch) -> list[Experiment]:
    """The experiments that are built from now on."""
    module, built = importlib.import_module("motet.experiments.build"), []
    original = module._build

    def build_and_note(one: Experiment, dataset: Dataset, **named: Any) -> Ensemble:
        built.append(one)
        return original(one, dataset, **named)

    monkeypatch.setattr(module, "_build", build_and_note)
    return built


@pytest.mark.parametrize("method", [motet.Single(), motet.MIMO(members=2), motet.MCDropout(members=2)])
def test_a_kept_ensemble_is_the_one_that_would_be_built(method: motet.Method) -> None:
    wanted = build(experiment(method), DIGITS)
    state = torch.get_rng_state()
    builder = Builder(DIGITS)
    builder.try_out(experiment(method))
    torch.rand(3)
    found = builder.take(experiment(method, epochs=9))
    assert torch.equal(torch.get_rng_state(), state)
    assert found.training == wanted.training
    expected = wanted.state_dict()
    assert found.state_dict().keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in found.state_dict().items())
    assert builder.take(experiment(method)) is not found


def test_another_seed_method_or_model_is_built() -> None:
    builder = Builder(DIGITS)
    builder.try_out(experiment(motet.Single()))
    kept = builder.take(experiment(motet.Single(), seed=4))
    wanted = build(experiment(motet.Single(), seed=4), DIGITS)
    assert torch.equal(next(kept.parameters()), next(wanted.parameters()))


def test_nothing_is_kept_beyond_the_memory_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    module, built = importlib.import_module("motet.experiments.build"), []
    monkeypatch.setattr(
        module, "_build", lambda *args, _build=module._build, **named: built.append(args) or _build(*args, **named)
    )
    for keep_bytes, number in ((0, 2), (2**30, 1)):
        built.clear()
        builder = Builder(DIGITS, keep_bytes=keep_bytes)
        builder.try_out(experiment(motet.Single()))
        builder.take(experiment(motet.Single()))
        assert len(built) == number


def test_the_single_networks_operations_are_counted_once(monkeypatch: pytest.MonkeyPatch) -> None:
    builder = Builder(DIGITS)
    number = builder.single_flops(experiment(motet.MIMO(members=2)))
    monkeypatch.setattr(importlib.import_module("motet.experiments.build"), "_build", None)
    assert builder.single_flops(experiment(motet.Single(), seed=7)) == number > 0
    assert single_network_of(experiment(motet.MIMO())).method == motet.Single()


@pytest.mark.slow
@pytest.mark.parametrize("methods", [("single", "multihead"), ("multihead", "mimo")])
def test_a_comparison_builds_each_run_once(
    methods: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, built = importlib.import_module("motet.experiments.build"), []
    monkeypatch.setattr(
        module, "_build", lambda *args, _build=module._build, **named: built.append(args) or _build(*args, **named)
    )
    plan = make_plan("digits", methods=methods, epochs=1, seeds=2)
    compare(plan, tmp_path / "out", command="test", progress=False)
    # Latency is relative to the single network, which is built where it is not among the rows.
    assert len(built) == 4 + ("single" not in methods)
