"""The page's section "Under shift"."""

from typing import Any

import pytest

from motet.report import render


def measures(**values: float) -> dict[str, Any]:
    return {name: {"mean": value, "standard_error": 0.01} for name, value in values.items()}


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
             "averaged": ["fog", "frost"], "methods": methods}  # fmt: skip
    doubt = {name: measures(auroc=0.8771, fpr95=0.4) for name in ("max_probability", "entropy", "mutual_information")}
    other = {"dataset": "mnist", "rows": 90, "dropped": 10,
             "methods": [{"key": key, "label": key, "scores": doubt} for key in keys]}  # fmt: skip
    return {"shifts": [shift], "ood": [other]}


def test_figures_tables_and_what_was_dropped(record: dict[str, Any]) -> None:
    page = render(record, gathered({"accuracy": 0.7, "nll": 0.9, "ece": 0.1, "brier": 0.4, "aurc": 0.123}))
    for text in (
        "Under shift", "means over 2 shifts at severities 3, 5; 1,000 examples each",
        "Severity (0: the data as they are)",
        "Accuracy, % over severity", "Expected calibration error over severity", "0.123", "91.5",
        "relative to out/single-seed0", "Out of distribution: mnist", "10 that stand in the data itself were dropped",
        "87.7", "Each shift on its own: Accuracy in %",
    ):  # fmt: skip
        assert text in page, text


def test_nothing_was_evaluated(record: dict[str, Any]) -> None:
    assert "Under shift" not in render(record)
    assert render(record) == render(record, {}) == render(record, {"shifts": [], "ood": []})


def test_a_regression_and_a_method_that_was_not_evaluated(regression: dict[str, Any]) -> None:
    found = gathered({"rmse": 2.5, "nll": 1.5}, keys=("mimo", "gone"))
    page = render(regression, found | {"ood": []})
    assert "RMSE over severity" in page
    assert "Each shift on its own: RMSE" in page
    assert "Accuracy, % over" not in page


@pytest.mark.parametrize("value", [None, float("nan")])
def test_scores_without_a_number(record: dict[str, Any], value: float | None) -> None:
    found = gathered({"accuracy": 0.7, "nll": 0.9})
    for point in found["shifts"][0]["methods"][0]["curves"][0]:
        point["nll"] = value
    assert "Under shift" in render(record, found)
