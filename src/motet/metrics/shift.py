"""One number from many corruptions and severities."""

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
"""AlexNet's top-1 error on ImageNet-C, its mean over severities, by corruption (Hendrycks and Dietterich 2019).

CIFAR has no such official reference: take a run of your own.
"""


def by_corruption(rows: Iterable[Mapping[str, object]], metric: str) -> dict[str, dict[int, float]]:
    """A metric's `Table` from a list of rows with "corruption", "severity" and the metric itself.

    Raises:
        InputError: a row without the metric (with the nearest name), or two of one corruption and severity.
    """
    table: dict[str, dict[int, float]] = {}
    for row in rows:
        if metric not in row:
            known = [name for name in row if name not in ("corruption", "severity")]
            raise InputError("the metric must be one of the rows'", got=repr(metric), fix=nearest(metric, known))
        name, severity = str(row["corruption"]), int(str(row["severity"]))
        if severity in table.setdefault(name, {}):
            raise InputError(
                "each corruption must come once at each severity",
                got=f"{name} at severity {severity} twice",
                fix="Pass the rows of one run",
            )
        table[name][severity] = float(str(row[metric]))
    return table


def mean_by_severity(table: Table) -> dict[int, float]:
    """The mean over corruptions at each severity.

    Raises:
        InputError: an empty table, or corruptions that were not all measured at the same severities.
    """
    _check_complete(table)
    severities = sorted(next(iter(table.values())))
    return {at: math.fsum(row[at] for row in table.values()) / len(table) for at in severities}


def mean_over_shifts(table: Table) -> float:
    """The mean over corruptions at each severity, then over severities: the "c" in cA, cNLL and cECE.

    Raises:
        InputError: an empty table, or corruptions that were not all measured at the same severities.
    """
    means = mean_by_severity(table)
    return math.fsum(means.values()) / len(means)


def corruption_errors(errors: Table, reference: Table | Mapping[str, float]) -> dict[str, float]:
    """Each corruption's error summed over severities, over the reference's, times 100 (CE of Hendrycks and Dietterich).

    Args:
        errors: error rates (1 - accuracy) by corruption and severity.
        reference: another run's, by corruption and severity, or already averaged over them, as `ALEXNET_ERRORS` are.

    Raises:
        InputError: an empty or incomplete table; a corruption that the reference has not, or not at the same
            severities, or where it makes no error at all.
    """
    _check_complete(errors)
    relative = {}
    for name, row in errors.items():
        if name not in reference:
            raise InputError(
                "the reference must have every corruption that is measured",
                got=f"none of {name!r}",
                fix=f"Measure the reference run too. {nearest(name, reference)}",
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
                "the reference must make errors to be compared with",
                got=f"an error of {against:g} for {name}",
                fix="Choose a reference run that is not perfect",
            )
        relative[name] = 100 * math.fsum(row.values()) / len(row) / against
    return relative


def mce(errors: Table, reference: Table | Mapping[str, float]) -> float:
    """Mean corruption error relative to a reference run; 100 is as good as the reference. See `corruption_errors`.

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
