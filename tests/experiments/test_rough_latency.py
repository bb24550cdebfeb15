"""What a comparison says and records about a latency that varied while it was measured."""

import sys
from pathlib import Path
from typing import Any

import pytest

from motet import MIMO, Single, Training
from motet.experiments import compare
from motet.experiments.plan import Plan
from motet.metrics import Latency
from motet.models import MLP

PLAN = Plan(
    data="digits",
    model=MLP(hidden=(8,)),
    methods=(Single(), MIMO(members=2, batch_repetition=1)),
    training=Training(epochs=1, batch_size=512, learning_rate=0.1),
    seeds=(0,),
)


@pytest.mark.slow
@pytest.mark.parametrize(("high", "rough"), [(1.02, False), (1.9, True)])
def test_a_latency_that_varied_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, high: float, rough: bool
) -> None:
    def measured(networks: Any, example: Any, *, baseline: str, seconds: float) -> dict[str, Latency]:
        own = {"low": 1.0, "high": 1.0}
        others = {"low": 0.98, "high": high}
        return {
            name: Latency(ratio=1.0, seconds=1e-3, rounds=150, **(own if name == baseline else others))
            for name in networks
        }

    monkeypatch.setattr(sys.modules["motet.experiments.compare"], "latency_ratios", measured)
    said: list[str] = []
    record = compare(PLAN, tmp_path, command="motet compare digits", progress=False, say=said.append)
    cost = record.rows[1].cost
    assert (cost.latency_ratio_low, cost.latency_ratio_high, cost.latency_rounds) == (0.98, high, 150)
    named = [line for line in said if "although it was measured again (MIMO)" in line]
    assert len(named) == rough
