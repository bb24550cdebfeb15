"""The page's sections "Selective prediction" and "Distribution shift"."""

from typing import Any

import pytest

from motet._internal.typed_records import from_plain
from motet.evaluation import SideBySide
from motet.report import render


def measures(**values: float) -> dict[str, Any]:
    return {name: {"mean": value, "standard_error": 0.01} for name, value in values.items()}


COVERAGE = [percent / 100 for percent in range(1, 101)]


def risks(*, seeds: int = 2) -> dict[str, Any]:
    curves = [[0.3 * at**2 + seed / 100 for at in COVERAGE] for seed in range(seeds)]
    return {"curves": curves, "at": {f"{at:g}": measures(r=0.3 * at**2)["r"] for at in (0.5, 0.8, 1.0)}}


def read(found: dict[str, Any]) -> SideBySide:
    """Plain data as the record that `render` takes."""
    return from_plain(found, SideBySide, where="the test")


def gathered(scores: dict[str, float], keys: tuple[str, ...] = ("single", "mimo")) -> dict[str, Any]:
    methods = [
        {
            "key": key,
            "label": key,
            "clean": measures(**scores),
            "mean": measures(**scores, mce=91.5),
            "reference": "out/single-seed0",
            "corruptions": {"fog": measures(**scores), "frost": measures(**scores)},
            "curves": [[{"severity": at, **{k: v + at / 100 for k, v in scores.items()}} for at in (0, 3, 5)]] * 2,
        }
        for key in keys
    ]
    shift = {"name": "cifar-c", "kind": "images", "rows": 1000, "severities": [3, 5], "corruptions": ["fog", "frost"],
             "averaged": ["fog", "frost"], "coverage": COVERAGE, "methods": methods}  # fmt: skip
    doubt = {name: measures(auroc=0.8771, fpr95=0.4) for name in ("max_probability", "entropy", "mutual_information")}
    other = {"dataset": "mnist", "rows": 90, "dropped": 10,
             "methods": [{"key": key, "label": key, "scores": doubt} for key in keys]}  # fmt: skip
    return {"shifts": [shift], "ood": [other]}


@pytest.mark.slow
def test_figures_tables_and_what_was_dropped(record: dict[str, Any]) -> None:
    page = render(record, read(gathered({"accuracy": 0.7, "nll": 0.9, "ece": 0.1, "brier": 0.4, "aurc": 0.123})))
    for text in (
        "Distribution shift", "means over 2 shifts at severities 3, 5; 1,000 examples each",
        "Severity (0: unshifted data)",
        "Accuracy, % over severity", "Expected calibration error over severity", "0.123", "91.5",
        "relative to out/single-seed0", "Out of distribution: mnist",
        "10 that occur in the data of the runs were removed",
        "87.7", "Single shifts: Accuracy in %",
    ):  # fmt: skip
        assert text in page, text


def selective(keys: tuple[str, ...] = ("single", "mimo")) -> dict[str, Any]:
    return {"coverage": COVERAGE, "methods": [{"key": key, "label": key, **risks()} for key in keys]}


@pytest.mark.slow
def test_risk_over_coverage_beside_the_curves(record: dict[str, Any]) -> None:
    found = gathered({"accuracy": 0.7, "nll": 0.9})
    plain = render(record, read(found))
    assert "Coverage: fraction of examples kept" not in plain
    assert "severities four" not in plain
    for method in found["shifts"][0]["methods"]:
        method["selective"] = {"clean": risks(), "mean": risks()}
    page = render(record, read(found))
    assert page.count(">Coverage: fraction of examples kept, %<") == 1
    assert "The last figure shows the error rate of the most confident predictions" in page
    for head, value in (("50\u00a0% kept", "7.5"), ("80\u00a0% kept", "19.2"), ("100\u00a0% kept", "30.0")):
        assert head in page
        assert f'<span class="value">{value}</span>' in page
    del found["shifts"][0]["methods"][0]["selective"]  # evaluated before there were curves
    assert page.count("<svg") == render(record, read(found)).count("<svg")


@pytest.mark.slow
def test_if_it_may_decline_to_answer(record: dict[str, Any]) -> None:
    page = render(record, read({"shifts": [], "ood": [], "selective": selective()}))
    assert "Selective prediction: rejecting uncertain examples" in page
    assert "Distribution shift" not in page
    assert page.count(">Coverage: fraction of examples kept, %<") == 2, "at a desk and on a telephone"
    assert "&lt;svg" not in page
    for found in (None, {"coverage": COVERAGE, "methods": []}, selective(("gone",))):
        assert "Selective prediction" not in render(record, read({"selective": found}))
    holes = selective()
    holes["methods"][0]["curves"] = [[None] * 100, [0.5] * 100]
    assert "Selective prediction: rejecting uncertain examples" in render(record, read({"selective": holes}))


@pytest.mark.slow
def test_nothing_was_evaluated(record: dict[str, Any]) -> None:
    assert "Distribution shift" not in render(record)
    assert render(record) == render(record, SideBySide()) == render(record, read({"shifts": [], "ood": []}))


@pytest.mark.slow
def test_a_regression_and_a_method_that_was_not_evaluated(regression: dict[str, Any]) -> None:
    found = gathered({"rmse": 2.5, "nll": 1.5}, keys=("mimo", "gone"))
    page = render(regression, read(found | {"ood": []}))
    assert "RMSE over severity" in page
    assert "Single shifts: RMSE" in page
    assert "Accuracy, % over" not in page


@pytest.mark.parametrize("value", [None, float("nan")])
@pytest.mark.slow
def test_scores_without_a_number(record: dict[str, Any], value: float | None) -> None:
    found = gathered({"accuracy": 0.7, "nll": 0.9})
    for point in found["shifts"][0]["methods"][0]["curves"][0]:
        point["nll"] = value
    assert "Distribution shift" in render(record, read(found))
