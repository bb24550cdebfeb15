"""Every method on models that motet has never heard of: it works, or it says why not, as in the record."""

import functools
import json
from pathlib import Path
from typing import Any

import pytest
from torch import nn
from torchvision_stubs import declare_missing_operators

declare_missing_operators()

from zoo_models import CASES, Case, outcome

from motet.methods import METHODS

RECORD = Path(__file__).resolve().parents[2] / "results" / "zoo" / "zoo.json"
QUICK = [case for case in CASES if case.quick]


@functools.cache
def made(case: Case) -> nn.Module:
    return case.make()


def recorded() -> dict[str, dict[str, Any]]:
    models: dict[str, dict[str, Any]] = json.loads(RECORD.read_text())["models"]
    return models


@pytest.mark.long
@pytest.mark.parametrize("case", QUICK, ids=str)
@pytest.mark.parametrize("name", METHODS)
def test_a_method_works_on_a_model_or_says_why_not(name: str, case: Case) -> None:
    """And it does what the record in results/ says, where that knows the method."""
    pytest.importorskip({"own": "torch"}.get(case.library, case.library))
    reason = outcome(name, made(case), case)
    before = recorded()[str(case)]["outcomes"]
    if name in before:
        assert (reason is None) == (before[name] is None), reason or before[name]
    assert reason is None or ", but got " in reason


def test_the_record_has_every_model() -> None:
    models = recorded()
    assert list(models) == [str(case) for case in CASES]
    assert all(set(each["outcomes"]) <= set(METHODS) for each in models.values())


@pytest.mark.parametrize("name", ["single", "deep-ensemble"])
def test_separate_networks_work_with_every_model(name: str) -> None:
    assert [model for model, each in recorded().items() if each["outcomes"][name] is not None] == []
