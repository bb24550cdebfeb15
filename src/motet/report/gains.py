"""Gains and costs of a method relative to the single network, shown as large numbers at the top of the report."""

import math
from dataclasses import dataclass

from motet.experiments.records import Measure
from motet.report.numbers import THIN, TIMES, counted, decimals, duration_unit, fixed, significant, spread
from motet.report.record import Row, measure

_MINUS, _TO = "\N{MINUS SIGN}", "\N{RIGHTWARDS ARROW}"


@dataclass(frozen=True, kw_only=True)
class Gain:
    """One gain or cost. `change` is the difference in `unit`, `values` are the values before and after."""

    name: str
    change: str
    unit: str = ""
    values: str


def gains(row: Row, single: Row, by: str = "nll") -> list[Gain]:
    """Return the gain or cost for each score and cost that both methods have.

    Args:
        row: the method.
        single: the single network.
        by: the name of the score that comes first.
    """
    found = []
    scores = (
        ("nll", "Negative log-likelihood", 1.0),
        ("accuracy", "Accuracy", 100.0),
        ("rmse", "Root mean squared error", 1.0),
        ("coverage_error", "Coverage error", 1.0),
        ("ece", "Calibration error", 1.0),
    )
    for key, name, scale in sorted(scores, key=lambda each: each[0] != by):
        now, before = row.measure(key), single.measure(key)
        if now.known and before.known:
            found.append(_score(name, now, before, scale))
    for key, name in (
        ("latency_seconds", "Latency"),
        ("parameters", "Parameters"),
        ("train_seconds", "Training time"),
    ):
        now, before = row.measure(key), single.measure(key)
        ratio = now.mean / before.mean if now.known and before.known and before.mean > 0 else math.nan
        values = f"{_cost(key, before.mean)} {_TO} {_cost(key, now.mean)}" if math.isfinite(ratio) else ""
        if key == "latency_seconds" and row.measure("latency_ratio").known:
            # The median of ratios, which is not the ratio of the medians of seconds.
            ratio = row.measure("latency_ratio").mean
            if row.latency_quartiles is not None:
                values = f"quartiles {spread(*row.latency_quartiles).strip('()')}"
        if math.isfinite(ratio):
            found.append(Gain(name=name, change=f"{fixed(ratio, 2)}{TIMES}", values=values))
    return found


def _score(name: str, now: Measure, before: Measure, scale: float) -> Gain:
    places = decimals([measure(scale * now.mean), measure(scale * before.mean)], most=3)
    if scale == 100.0:
        sign, unit, difference = "%", "points", _signed(scale * (now.mean - before.mean), places)
    elif now.mean > 0 and before.mean > 0:
        sign, unit, difference = "", "", f"{_signed(100 * (now.mean / before.mean - 1), 0)}%"
    else:
        sign, unit, difference = "", "", _signed(now.mean - before.mean, places)
    values = f"{fixed(scale * before.mean, places)}{sign} {_TO} {fixed(scale * now.mean, places)}{sign}"
    return Gain(name=name, change=difference, unit=unit, values=values)


def _cost(key: str, value: float) -> str:
    if key == "parameters":
        return counted(value)
    size, unit = duration_unit(value)
    return f"{significant(value / size)}{THIN}{unit}"


def _signed(value: float, places: int) -> str:
    text = fixed(value, places)
    return text if text.startswith(_MINUS) or float(text) == 0 else f"+{text}"
