"""The main result of a comparison and its uncertainty, in sentences."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from motet.experiments.records import Measure
from motet.metrics.latency import wide
from motet.report.numbers import fixed, significant, spread
from motet.report.record import Comparison, Ranking, Row

_EFFICIENT = 1.5  # methods up to this latency, relative to one network, count as efficient


@dataclass(frozen=True, kw_only=True)
class Finding:
    """The sentences at the top of the page.

    Attributes:
        headline: one sentence with the best method, its advantage and its cost.
        caveat: whether the difference may be due to chance.
        basis: the reason for the ranking's score, if it is not the negative log-likelihood.
        advice: the best method at about the cost of one network, if it is not the best method overall; else empty.
        chosen: the methods that are recommended instead of the single network: the best method, and the best efficient
            method.
    """

    headline: str
    caveat: str = ""
    basis: str = ""
    advice: str = ""
    chosen: Sequence[Row] = ()


def main_finding(comparison: Comparison) -> Finding:
    """Return the main result of a comparison, by the score of `Comparison.ranking`."""
    by = comparison.ranking
    single = comparison.single
    ranked = sorted((row for row in comparison.rows if row.measure(by.key).known), key=lambda row: _mean(row, by))
    if not ranked:
        return Finding(headline=f"No method has a finite {by.name}, so none can be recommended.", basis=by.reason)
    best = ranked[0]
    if len(ranked) == 1:
        headline = f"{_name(best)} reached a {by.name} of {_value(best, by)}; there is nothing to compare it with."
        return Finding(headline=headline[:1].upper() + headline[1:], basis=by.reason)
    if single is None or single not in ranked:
        against = ranked[1]
        headline = (
            f"{best.label} has the lowest {by.name} of the {len(ranked)} methods: {_value(best, by)}, "
            f"followed by {against.label} with {_value(against, by)}."
        )
    elif best is single:
        against = ranked[1]
        headline = (
            f"No ensemble was better than the single network. The single network has the lowest {by.name}, "
            f"{_value(best, by)}, followed by {against.label} with "
            f"{_value(against, by)}{_cost(against, single, ' at ')}."
        )
    else:
        against = single
        headline = (
            f"{best.label} has the lowest {by.name}, {_value(best, by)} against {_value(single, by)} of the single "
            f"network, at {_cost(best, single) or 'a cost that was not measured'}."
        )
    advice, pick = _advice(ranked, best, single, by)
    return Finding(
        headline=headline,
        caveat=" ".join(
            filter(None, [_caveat(best, against, len(comparison.seeds), by), _ties(ranked, best, against, by)])
        ),
        basis=by.reason,
        advice=advice,
        chosen=[row for row in (best if against is single else None, pick) if row is not None],
    )


def errors_apart(a: Measure, b: Measure) -> float:
    """Return the difference of two means in units of its standard error; NaN if the standard errors are unknown."""
    if not (a.has_error and b.has_error):
        return math.nan
    error = math.hypot(a.standard_error, b.standard_error)
    difference = abs(a.mean - b.mean)
    return difference / error if error > 0 else (math.inf if difference > 0 else 0.0)


def _caveat(best: Row, against: Row, seeds: int, by: Ranking) -> str:
    apart = errors_apart(best.measure(by.key), against.measure(by.key))
    if math.isnan(apart):
        ran = "Only one seed was run" if seeds <= 1 else "The standard errors are unknown"
        return f"{ran}, so this difference may be due to chance: run several seeds before relying on it."
    few = " With so few seeds, standard errors are rough estimates." if seeds < 5 else ""
    if apart <= 1:
        return f"The difference is within the standard errors over {seeds} seeds: treat the two as equal.{few}"
    size = "many times" if apart > 20 else f"{fixed(apart, 1)} times"
    strength = "only weak evidence" if apart <= 2 else "larger than expected by chance"
    return f"The difference is {size} its standard error over {seeds} seeds: {strength}.{few}"


def _ties(ranked: Sequence[Row], best: Row, against: Row, by: Ranking) -> str:
    """Return a sentence about other methods whose difference from the best is within the standard errors."""
    equal = [
        row.label
        for row in ranked
        if row is not best and row is not against and errors_apart(best.measure(by.key), row.measure(by.key)) <= 1
    ]
    if not equal:
        return ""
    names = " and ".join(filter(None, [", ".join(equal[:-1]), equal[-1]]))
    return f"{names} {'are' if len(equal) > 1 else 'is'} within the standard errors of {_name(best)}."


def _advice(ranked: Sequence[Row], best: Row, single: Row | None, by: Ranking) -> tuple[str, Row | None]:
    """Return the advice for a small budget, and its method: the best at about the cost of one network."""
    if single not in ranked or single is None or not best.measure("latency_ratio").mean > _EFFICIENT:
        return "", None
    cheap = [row for row in ranked if row is not single and row.measure("latency_ratio").mean <= _EFFICIENT]
    if not cheap:
        return "", None
    pick, base, top = cheap[0], single.measure(by.key).mean, best.measure(by.key).mean
    limit = f"at most {_EFFICIENT:g} times the latency of one network"
    if pick.measure(by.key).mean >= base:
        return f"No method with {limit} was better than the single network.", None
    kept = 100 * (base - pick.measure(by.key).mean) / (base - top)
    doubt = ""
    if errors_apart(pick.measure(by.key), single.measure(by.key)) <= 1:
        doubt = ", although its gain is within the standard errors"
    return (
        f"Of the methods with {limit}, {pick.label} is the best: it achieves {fixed(kept, 0)}% of this gain, "
        f"at {_cost(pick, single)}{doubt}."
    ), pick


def _cost(row: Row, single: Row, before: str = "") -> str:
    """Return a phrase with the latency and the parameters of `row`, relative to the single network."""
    size, unit = row.measure("parameters"), single.measure("parameters")
    parts = [
        _latency(row),
        _times(size.mean / unit.mean if unit.mean > 0 else math.nan, "number of parameters"),
    ]
    known = [part for part in parts if part]
    return before + " and ".join(known) if known else ""


def _latency(row: Row) -> str:
    """Return a phrase with the latency, and with its quartiles if they are far apart."""
    ratio, quartiles = row.measure("latency_ratio").mean, row.latency_quartiles
    if quartiles is None or not wide(ratio, *quartiles):
        return _times(ratio, "latency")
    return f"about {fixed(ratio, 2)} times the latency {spread(*quartiles)}"


def _times(ratio: float, what: str) -> str:
    if not math.isfinite(ratio):
        return ""
    text = fixed(ratio, 2)
    return f"the same {what}" if text == "1.00" else f"{text.removesuffix('.00')} times the {what}"


def _mean(row: Row, by: Ranking) -> float:
    return row.measure(by.key).mean


def _value(row: Row, by: Ranking) -> str:
    return significant(_mean(row, by))


def _name(row: Row) -> str:
    return "the single network" if row.method == "single" and row.width == 1 else row.label
