"""Names of evaluation that had another home."""

import importlib

import pytest

import motet.evaluation


@pytest.mark.parametrize("name", ["find_shift", "risks_at_shown", "side_by_side", "throughput_in_words"])
def test_old_homes_still_have_them(name: str) -> None:
    with pytest.warns(DeprecationWarning, match=f"motet.experiments.{name} has moved: use motet.evaluation.{name}"):
        found = getattr(importlib.import_module("motet.experiments"), name)
    assert found is getattr(motet.evaluation, name)
