"""Every method on models of timm and torchvision that motet has never heard of: it works, or it says why not."""

import functools
import json
from pathlib import Path

import pytest
from torch import nn
from torchvision_stubs import declare_missing_operators
from zoo_models import CASES, Case, outcome

from motet.methods import METHODS

declare_missing_operators()
RECORD = Path(__file__).resolve().parents[2] / "results" / "zoo" / "zoo.json"
QUICK = [case for case in CASES if case.quick]


@functools.cache
def made(case: Case) -> nn.Module:
    return case.make()


@pytest.mark.long
@pytest.mark.parametrize("case", QUICK, ids=str)
@pytest.mark.parametrize("name", METHODS)
def test_a_method_works_on_a_model_or_says_why_not(name: str, case: Case) -> None:
    """And it does what the record in results/ says, where that knows the method."""
    reason = outcome(name, made(case), case)
    recorded = json.loads(RECORD.read_text())["outcomes"][str(case)]
    if name in recorded:
        assert (reason is None) == (recorded[name] is None), reason or recorded[name]
    if reason is not None:
        assert ", but got " in reason
        assert not reason.startswith("the model must work row by row") or case.library == "torchvision"


def test_the_record_has_every_model() -> None:
    outcomes = json.loads(RECORD.read_text())["outcomes"]
    assert list(outcomes) == [str(case) for case in CASES]
    assert all(set(each) <= set(METHODS) for each in outcomes.values())
    assert all(each["single"] is None and each["deep-ensemble"] is None for each in outcomes.values())
