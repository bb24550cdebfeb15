"""Means of metrics over corruptions and severities."""

import math
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from motet.errors import InputError, nearest

Table = Mapping[str, Mapping[int, float]]
"""A metric by corruption and severity: ``{"fog": {1: 0.91, 2: 0.88, ...}, ...}``."""

ALEXNET_ERRORS: Mapping[str, float] = MappingProxyType(
    {
        "gaussian_noise": 0.886428,
        "shot_noise": 0.894468,
        "impulse_noise": 0.922640,
        "defocus_blur": 0.819880,
        "glass_blur": 0.826268,
        "motion_blur": 0.785948,
        "zoom_blur": 0.798360,
        "snow": 0.866816,
        "frost": 0.826572,
        "fog": 0.819324,
        "brightness": 0.564592,
        "contrast": 0.853204,
        "elastic_transform": 0.646056,
        "pixelate": 0.717840,
        "jpeg_compression": 0.606500,
    }
)
"""Top-1 error of AlexNet on ImageNet-C by corruption, a mean over severities (Hendrycks and Dietterich 2019).

There are no official reference errors for CIFAR: use those of one of your own runs.
"""


def by_corruption(rows: Iterable[Mapping[str, object]], metric: str) -> dict[str, dict[int, float]]:
    """Return the `Table` of a metric from rows with the keys "corruption", "severity" and the metric's name.

    Raises:
        InputError: for a row without the metric, and for two rows with the same corruption and severity.
    """
    table: dict[str, dict[int, float]] = {}
    for row in rows:
        if metric not in row:
            known = [name for name in row if name not in ("corruption", "severity")]
            raise InputError(
                "the metric must be one of the rows' metrics", got=repr(metric), fix=nearest(metric, known)
            )
        name, severity = str(row["corruption"]), int(str(row["severity"]))
        if severity in table.setdefault(name, {}):
            raise InputError(
                "each corruption must occur once at each severity",
                got=f"{name} at severity {severity} twice",
                fix="Pass the rows of one run",
            )
        table[name][severity] = float(str(row[metric]))
    return table


def mean_by_severity(table: Table) -> dict[int, float]:
    """Return the mean over corruptions at each severity.

    Raises:
        InputError: for an empty table, and corruptions measured at different severities.
    """
    _check_complete(table)
    severities = sorted(next(iter(table.values())))
    return {at: math.fsum(row[at] for row in table.values()) / len(table) for at in severities}


def mean_over_shifts(table: Table) -> float:
    """Return the mean over corruptions, then over severities, as in cA, cNLL and cECE.

    Raises:
        InputError: for an empty table, and corruptions measured at different severities.
    """
    means = mean_by_severity(table)
    return math.fsum(means.values()) / len(means)


def corruption_errors(errors: Table, reference: Table | Mapping[str, float]) -> dict[str, float]:
    """Return the corruption error (CE) of Hendrycks and Dietterich for each corruption.

    It is 100 times the error summed over severities, divided by the error of the reference summed over severities.

    Args:
        errors: error rates (1 - accuracy) by corruption and severity.
        reference: error rates of a reference run by corruption and severity, or their means over severities by
            corruption, as in `ALEXNET_ERRORS`.

    Raises:
        InputError: for an empty or incomplete table, and if the reference lacks a corruption, has it at other
            severities, or has an error of 0 for it.
    """
    _check_complete(errors)
    relative = {}
    for name, row in errors.items():
        if name not in reference:
            raise InputError(
                "the reference must contain every measured corruption",
                got=f"a reference without {name!r}",
                fix=f"Evaluate the reference run under this corruption too. {nearest(name, reference)}",
            )
        against = reference[name]
        if isinstance(against, Mapping):
            if set(against) != set(row):
                raise InputError(
                    "run and reference must be measured at the same severities",
                    got=f"{sorted(row)} and {sorted(against)} for {name}",
                    fix="Measure both at severities 1 to 5",
                )
            against = math.fsum(against.values()) / len(against)
        if not against > 0:
            raise InputError(
                "the reference must have an error above 0 for every corruption",
                got=f"an error of {against:g} for {name}",
                fix="Choose another reference run",
            )
        relative[name] = 100 * math.fsum(row.values()) / len(row) / against
    return relative


def mce(errors: Table, reference: Table | Mapping[str, float]) -> float:
    """Mean corruption error (mCE): the mean of `corruption_errors` over corruptions. The reference itself has 100.

    Args:
        errors, reference: see `corruption_errors`.

    Raises:
        InputError: see `corruption_errors`.

    >>> round(mce({"fog": {1: 0.2, 2: 0.4}}, {"fog": {1: 0.5, 2: 0.7}}), 1)
    50.0
    """
    relative: Sequence[float] = list(corruption_errors(errors, reference).values())
    return math.fsum(relative) / len(relative)


def _check_complete(table: Table) -> None:
    severities = {tuple(sorted(row)) for row in table.values()}
    if len(severities) != 1 or severities == {()}:
        odd = {name: sorted(row) for name, row in table.items()}
        raise InputError(
            "means over shifts need at least one corruption, and all of them at the same severities",
            got=str(dict(list(odd.items())[:6])) if odd else "none",
            fix="Measure every corruption at severities 1 to 5",
        )
