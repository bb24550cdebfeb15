import pytest

from motet.report.finding import Finding, main_finding
from motet.report.gains import gains
from motet.report.record import read_comparison


def finding(rows, seeds=(0, 1)) -> Finding:
    return main_finding(read_comparison({"rows": rows, "seeds": list(seeds)}))


@pytest.fixture
def single(make_row):
    return make_row("single", "Single", 0.092, members=1)


def test_the_best_method_its_gain_and_its_cost(record) -> None:
    found = finding(record["rows"])
    assert found.headline == (
        "Deep ensemble has the lowest negative log-likelihood, 0.0690 against 0.0920 of the single network, "
        "at 2.93 times the latency and 3 times the number of parameters."
    )
    assert found.advice == (
        "Of the methods with at most 1.5 times the latency of one network, MIMO is the best: it achieves 74% of "
        "this gain, at 1.07 times the latency and 3 times the number of parameters."
    )
    assert [row.label for row in found.chosen] == ["Deep ensemble", "MIMO"]
    assert "5.4 times its standard error over 2 seeds" in found.caveat
    assert "so few seeds" in found.caveat


@pytest.mark.parametrize(
    ("scored", "seeds", "said"),
    [
        ((0.091, 0.003), 2, "within the standard errors over 2 seeds: treat the two as equal"),
        ((0.086, 0.003), 5, "1.4 times its standard error over 5 seeds: only weak evidence."),
        ((0.010, 0.001), 5, "many times its standard error over 5 seeds: larger than expected by chance."),
        ((0.010, None), 1, "Only one seed was run, so this difference may be due to chance"),
        ((0.010, None), 2, "The standard errors are unknown"),
        ((0.092, 0.0), 5, "within the standard errors"),
    ],
)
def test_how_sure_one_may_be(make_row, single, scored, seeds, said) -> None:
    nll, error = scored
    rows = [single, make_row("mimo", "MIMO", nll)]
    for row in rows:
        row["scores"]["nll"]["standard_error"] = error
    assert said in finding(rows, range(seeds)).caveat


def test_when_no_ensemble_is_better_the_page_says_so(make_row, single) -> None:
    found = finding([single, make_row("mimo", "MIMO", 0.1, latency=1.0)])
    assert found.headline == (
        "No ensemble was better than the single network. The single network has the lowest negative log-likelihood, "
        "0.0920, followed by MIMO with 0.100 at the same latency and 3 times the number of parameters."
    )
    assert not found.advice
    assert not found.chosen


def test_when_nothing_cheap_is_better_the_page_says_so(make_row, single) -> None:
    found = finding([single, make_row("deep", "Deep", 0.05, latency=3.0), make_row("mimo", "MIMO", 0.1, latency=1.1)])
    assert found.advice == (
        "No method with at most 1.5 times the latency of one network was better than the single network."
    )
    assert [row.label for row in found.chosen] == ["Deep"]


def test_a_cheap_gain_within_the_standard_errors_is_doubted(make_row, single) -> None:
    found = finding([single, make_row("deep", "Deep", 0.05, latency=3.0), make_row("mimo", "MIMO", 0.091)])
    assert found.advice.endswith("although its gain is within the standard errors.")


def test_without_a_single_network_the_first_two_are_compared(make_row) -> None:
    found = finding([make_row("a", "A", 0.2), make_row("b", "B", 0.1)])
    assert (
        found.headline == "B has the lowest negative log-likelihood of the 2 methods: 0.100, followed by A with 0.200."
    )
    assert not found.chosen


def test_one_method_or_none_with_a_finite_score(make_row, single) -> None:
    assert finding([single]).headline == (
        "The single network reached a negative log-likelihood of 0.0920; there is nothing to compare it with."
    )
    assert "none can be recommended" in finding([make_row("a", "A", None), make_row("b", "B", None)]).headline


def test_a_cost_that_was_not_measured_is_not_made_up(make_row, single) -> None:
    mimo = make_row("mimo", "MIMO", 0.05)
    mimo["cost"] = {"latency_ratio": None}
    assert "at a cost that was not measured." in finding([single, mimo]).headline


def test_gains_say_what_changed_and_from_what_to_what(record) -> None:
    rows = read_comparison(record).rows
    values = {
        gain.name: (gain.change, gain.unit, gain.values.replace("\u202f", " ")) for gain in gains(rows[1], rows[0])
    }
    assert values["Negative log-likelihood"] == ("\u221225%", "", "0.092 → 0.069")
    assert values["Accuracy"] == ("0.0", "points", "97.0% → 97.0%")
    assert values["Latency"] == ("2.93\u00d7", "", "1.20 ms → 3.52 ms")
    assert values["Parameters"] == ("3.00\u00d7", "", "38.0 k → 114 k")


def test_gains_of_negative_scores_are_differences(make_row) -> None:
    rows = [make_row("single", "Single", -0.5, members=1), make_row("mimo", "MIMO", -0.75)]
    rows[1]["scores"]["accuracy"]["mean"] = 0.99
    read = read_comparison({"rows": rows}).rows
    first, second, *_ = gains(read[1], read[0])
    assert first.change == "\u22120.250"
    assert second.change == "+2.0"


def test_methods_that_cannot_be_told_from_the_best_are_named(make_row, single) -> None:
    rows = [single, make_row("deep", "Deep", 0.0500), make_row("a", "A", 0.0501), make_row("b", "B", 0.0502)]
    assert finding(rows).caveat.endswith("A and B are within the standard errors of Deep.")
    assert finding(rows[:3]).caveat.endswith("A is within the standard errors of Deep.")
    assert "within" not in finding([single, make_row("deep", "Deep", 0.05), make_row("a", "A", 0.09)]).caveat


@pytest.mark.parametrize(
    ("low", "high", "said"),
    [(0.98, 1.02, "at the same latency"), (0.5, 2.2, "at about 1.00 times the latency (0.50\u20132.20)")],
)
def test_a_latency_that_varied_is_said_to_be_rough(record, low, high, said) -> None:
    for row in record["rows"][1:]:
        row["cost"] |= {"latency_ratio": 1.0, "latency_ratio_low": low, "latency_ratio_high": high}
    assert said in main_finding(read_comparison(record)).headline


def test_the_latency_gained_stands_with_its_quartiles(record) -> None:
    def shown() -> list[str]:
        rows = read_comparison(record).rows
        return [each.values for each in gains(rows[3], rows[0]) if each.name == "Latency"]

    assert shown() == ["1.20\u202fms \u2192 1.28\u202fms"]
    record["rows"][3]["cost"] |= {"latency_ratio_low": 1.05, "latency_ratio_high": 1.1}
    assert shown() == ["quartiles 1.05\u20131.10"]
