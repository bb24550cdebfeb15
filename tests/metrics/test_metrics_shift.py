"""Means over corruptions, by hand."""

import pytest

from motet import InputError
from motet.metrics import (
    ALEXNET_ERRORS,
    by_corruption,
    corruption_errors,
    mce,
    mean_by_severity,
    mean_over_shifts,
)
from motet.shifts import SETS

TABLE = {"fog": {1: 0.1, 5: 0.5}, "snow": {1: 0.3, 5: 0.9}}


def test_means_are_over_types_then_severities() -> None:
    assert mean_by_severity(TABLE) == pytest.approx({1: 0.2, 5: 0.7})
    assert mean_over_shifts(TABLE) == pytest.approx(0.45)


def test_rows_become_a_table() -> None:
    rows = [{"corruption": "fog", "severity": s, "accuracy": s / 10, "nll": 1.0} for s in (1, 5)]
    assert by_corruption(rows, "accuracy") == {"fog": {1: 0.1, 5: 0.5}}
    with pytest.raises(InputError, match="Did you mean 'accuracy'"):
        by_corruption(rows, "acuracy")
    with pytest.raises(InputError, match="fog at severity 1 twice"):
        by_corruption(rows + rows[:1], "nll")


def test_mce_by_hand() -> None:
    reference = {"fog": {1: 0.2, 5: 0.4}, "snow": {1: 1.0, 5: 1.0}}
    assert corruption_errors(TABLE, reference) == pytest.approx({"fog": 100.0, "snow": 60.0})
    assert mce(TABLE, reference) == pytest.approx(80.0)
    assert mce(TABLE, {"fog": 0.3, "snow": 1.0}) == pytest.approx(80.0)
    assert mce(TABLE, TABLE) == pytest.approx(100.0)


def test_alexnets_errors_are_of_the_15() -> None:
    assert tuple(ALEXNET_ERRORS) == SETS["cifar-c"]
    assert mce({name: dict.fromkeys(range(1, 6), error) for name, error in ALEXNET_ERRORS.items()}, ALEXNET_ERRORS) == (
        pytest.approx(100.0)
    )
    # ResNet-50: 40.5 % accuracy on ImageNet-C and an mCE of 75.4 (uncertainty-baselines). Errors that are alike for all
    # corruptions come near it.
    assert 74 < mce({name: {1: 0.595} for name in ALEXNET_ERRORS}, ALEXNET_ERRORS) < 78


def test_bad_input() -> None:
    for table in ({}, {"fog": {}}, {"fog": {1: 0.1}, "snow": {1: 0.2, 2: 0.3}}):
        with pytest.raises(InputError, match="all of them at the same severities"):
            mean_over_shifts(table)
    with pytest.raises(InputError, match=r"without 'snow'.*Known: fog"):
        mce(TABLE, {"fog": 0.5})
    with pytest.raises(InputError, match="at the same severities"):
        mce(TABLE, {"fog": {1: 0.1, 2: 0.1}, "snow": {1: 0.1, 5: 0.1}})
    with pytest.raises(InputError, match="an error above 0 for every corruption"):
        mce(TABLE, {"fog": 0.0, "snow": 0.1})
