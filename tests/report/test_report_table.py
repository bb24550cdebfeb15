import math

import pytest

from motet.experiments.records import Measure
from motet.report.columns import COMPARED, MEMBERS
from motet.report.numbers import counted, decimals, fixed, significant
from motet.report.record import read_comparison
from motet.report.table import build_table


def cells(record, key):
    table = build_table(read_comparison(record), COMPARED)
    at = [column.key for column in table.columns].index(key)
    return [row[at] for _, row in table.rows]


def test_means_stand_with_their_errors(record) -> None:
    record["rows"][0]["scores"]["accuracy"] = {"mean": 0.9712, "standard_error": 0.0021}
    accuracy = cells(record, "accuracy")
    assert (accuracy[0].text, accuracy[0].error) == ("97.12", "± 0.21")
    nll = cells(record, "nll")
    assert (nll[1].text, nll[1].error) == ("0.0690", "± 0.0030")


def test_the_best_is_marked_once_and_what_is_missing_is_not(record) -> None:
    nll = cells(record, "nll")
    assert [cell.best for cell in nll] == [False, True, False, False]
    assert (nll[2].text, nll[2].error, nll[2].sort) == ("\u2013", "", "")


def test_higher_is_better_for_accuracy_and_nothing_is_for_disagreement(record) -> None:
    record["rows"][3]["scores"]["accuracy"]["mean"] = 0.99
    record["rows"][3]["scores"]["disagreement"]["mean"] = 0.5
    assert [cell.best for cell in cells(record, "accuracy")] == [False, False, False, True]
    assert not any(cell.best for cell in cells(record, "disagreement"))


def test_what_reads_the_same_is_marked_together_and_not_at_all_if_all_do(record) -> None:
    record["rows"][1]["scores"]["nll"]["mean"] = 0.07500001
    assert [cell.best for cell in cells(record, "nll")] == [False, True, False, True]
    assert not any(cell.best for cell in cells(record, "flops"))


def test_one_row_has_no_best(record) -> None:
    record["rows"] = record["rows"][:1]
    assert not any(cell.best for key in ("nll", "accuracy", "flops") for cell in cells(record, key))


def test_costs_have_units_and_tell_the_exact_number(record) -> None:
    assert cells(record, "parameters")[1].text == "114\u202fk"
    assert cells(record, "parameters")[1].title == "114,000"
    assert cells(record, "flops")[0].text == "2.10\u202fM"
    assert cells(record, "latency_ratio")[3].text == "1.07\u00d7"
    assert cells(record, "latency_ratio")[3].title == "measured: 1.28 ms"
    assert (cells(record, "train_seconds")[0].text, cells(record, "train_seconds")[0].error) == (
        "3.10\u202fs",
        "± 0.10",
    )


def test_a_latency_stands_with_its_quartiles_where_they_were_recorded(record) -> None:
    for row in record["rows"][:2]:
        ratio = row["cost"]["latency_ratio"]
        spread = 0.0 if row["method"] == "single" else 0.068
        row["cost"] |= {"latency_ratio_low": ratio - spread, "latency_ratio_high": ratio + spread, "latency_rounds": 50}
    latency = cells(record, "latency_ratio")
    assert [(cell.text, cell.error) for cell in latency] == [
        ("1.00\u00d7", ""),
        ("2.93\u00d7", "(2.86\u20133.00)"),
        ("1.04\u00d7", ""),
        ("1.07\u00d7", ""),
    ]
    assert latency[1].title == "measured: 3.52 ms, the median of 50 rounds"
    assert all(not cell.error.startswith("(") for cell in cells(record, "train_seconds"))


@pytest.mark.parametrize(("high", "best"), [(0.95, True), (1.0, False), (2.2, False)])
def test_a_latency_is_the_best_if_no_other_is_between_its_quartiles(record, high, best) -> None:
    record["rows"][3]["cost"] |= {"latency_ratio": 0.5, "latency_ratio_low": 0.4, "latency_ratio_high": high}
    assert [cell.best for cell in cells(record, "latency_ratio")] == [False, False, False, best]


@pytest.mark.parametrize(("low", "best"), [(1.01, True), (0.99, False)])
def test_the_single_networks_latency_is_not_the_best_if_it_is_between_anothers_quartiles(record, low, best) -> None:
    record["rows"][3]["cost"] |= {"latency_ratio_low": low, "latency_ratio_high": 1.1}
    assert [cell.best for cell in cells(record, "latency_ratio")] == [best, False, False, False]


@pytest.mark.parametrize("gone", ["latency_ratio_low", "latency_ratio_high"])
def test_a_latency_with_one_quartile_stands_without(record, gone) -> None:
    record["rows"][1]["cost"] |= {"latency_ratio_low": 2.8, "latency_ratio_high": 3.1, gone: None}
    assert cells(record, "latency_ratio")[1].error == ""


def test_long_training_is_shown_in_hours(record) -> None:
    record["rows"][1]["cost"]["train_seconds"] = {"mean": 36000.0, "standard_error": None}
    texts = [cell.text for cell in cells(record, "train_seconds")]
    assert texts[1].endswith("\u202fh")
    assert float(texts[1].split("\u202f")[0]) == 10


def test_a_row_without_an_error_among_rows_with_one(record) -> None:
    record["rows"][1]["scores"]["nll"]["standard_error"] = None
    assert cells(record, "nll")[1].error == "± \u2013"


def test_sorting_uses_the_exact_number(record) -> None:
    record["rows"][1]["scores"]["nll"]["mean"] = 0.0691234567
    assert cells(record, "nll")[1].sort == "0.0691234567"


def test_the_members_table_has_only_what_was_recorded(record, regression) -> None:
    keys = [column.key for column in build_table(read_comparison(regression), MEMBERS).columns]
    assert keys == ["member_rmse", "member_nll"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (999, "999"), (1000, "1.00 k"), (999_900, "1.00 M"), (25_600_000, "25.6 M"), (4.1e9, "4.10 G")],
)
def test_counts(value, text) -> None:
    assert counted(float(value)).replace("\u202f", " ") == text


def test_minus_is_a_minus_and_zero_has_none() -> None:
    assert fixed(-1.25, 1) == "\u22121.2"
    assert fixed(-0.001, 2) == "0.00"
    assert significant(-0.05678) == "\u22120.0568"
    assert significant(0.0) == "0"


def test_decimals_of_nothing_and_of_zeros() -> None:
    assert decimals([]) == 1
    assert decimals([Measure(mean=0.0, standard_error=0.0)]) == 1
    assert decimals([Measure(mean=1e-9, standard_error=math.nan)]) == 4
    assert decimals([Measure(mean=1e9, standard_error=1e6)]) == 0
