"""What the evaluations of a comparison's runs found, put together method by method."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from motet.experiments.evaluate import earlier
from motet.experiments.records import Comparison, as_comparison
from motet.experiments.selective import risks_at_shown, side_by_side_selective
from motet.experiments.summary import mean_and_error
from motet.metrics import COVERAGES

Group = tuple[str, str, Sequence[Mapping[str, Any]]]
"""A method's key, its label, and its runs' evaluations, one a seed."""
_NOT_SCORES = ("corruption", "severity", "rows")


def gather(folder: Path, record: Comparison | Mapping[str, Any]) -> dict[str, Any]:
    """The evaluations of a comparison's runs: see `side_by_side`; and `side_by_side_selective` as ``selective``.

    Args:
        folder: the comparison's.
        record: the comparison's. A method of which some run was not evaluated is left out.
    """
    comparison = as_comparison(record)
    groups = [(row.key, row.label, [earlier(folder / name) for name in row.runs]) for row in comparison.rows]
    return side_by_side(groups) | {"selective": side_by_side_selective(folder, comparison)}


def side_by_side(groups: Sequence[Group]) -> dict[str, Any]:
    """Means over the seeds of each method, side by side.

    Returns:
        ``shifts``: for each, ``name``, ``severities``, ``corruptions``, ``averaged``, ``coverage``, and ``methods``,
        each with its ``key``, ``label``, scores on the data as they are (``clean``), their means under shift (``mean``,
        with ``mce`` where there is a reference), means over severities by corruption (``corruptions``), the ``curves``
        over severity of each seed, and, where there are classes, ``selective``: risk-coverage curves on the data as
        they are and the means under shift, ``{"clean": {"curves": [...], "at": {"0.5": ...}}, "mean": ...}``. ``ood``:
        for each data set, ``dataset``, ``rows``, ``dropped``, and ``methods`` with their ``scores``. Numbers are
        mappings of ``mean`` and ``standard_error``. What was measured at other severities than the first method's is
        left out, since it cannot be compared.
    """
    names = dict.fromkeys(name for _, _, runs in groups for run in runs for name in run.get("shifts") or {})
    others = dict.fromkeys(name for _, _, runs in groups for run in runs for name in run.get("ood") or {})
    shifts = [shift for name in names if (shift := _shift(name, groups)) is not None]
    return {"shifts": shifts, "ood": [found for name in others if (found := _ood(name, groups)) is not None]}


def _complete(part: str, name: str, groups: Sequence[Group]) -> list[Group]:
    """The groups whose every run has that section, with these sections."""
    found: list[Group] = []
    for key, label, runs in groups:
        sections = [(run.get(part) or {}).get(name) for run in runs]
        held = [section for section in sections if section is not None]
        if held and len(held) == len(sections):
            found.append((key, label, held))
    return found


def _shift(name: str, groups: Sequence[Group]) -> dict[str, Any] | None:
    complete = _complete("shifts", name, groups)
    if not complete:
        return None
    first = complete[0][2][0]
    methods = [
        _method(key, label, sections)
        for key, label, sections in complete
        if all(_measured(section) == _measured(first) for section in sections)
    ]
    if not methods:
        return None
    corruptions = list(dict.fromkeys(row["corruption"] for row in first["rows"]))
    return {
        "name": name,
        "kind": first["kind"],
        "rows": first["rows"][0]["rows"],
        "severities": first["severities"],
        "corruptions": corruptions,
        "averaged": first["averaged"],
        "coverage": list(COVERAGES),
        "methods": methods,
    }


def _measured(section: Mapping[str, Any]) -> tuple[Any, ...]:
    return section["severities"], [(row["corruption"], row["severity"], row["rows"]) for row in section["rows"]]


def _method(key: str, label: str, sections: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    metrics = [metric for metric in sections[0]["clean"] if metric not in _NOT_SCORES]
    references = {section.get("reference") for section in sections}
    mean = {metric: mean_and_error([section["mean"][metric] for section in sections]) for metric in metrics}
    if len(references) == 1 and None not in references:
        mean["mce"] = mean_and_error([section["mce"] for section in sections])
    by_corruption = {
        name: {metric: mean_and_error([_mean(section, name, metric) for section in sections]) for metric in metrics}
        for name in dict.fromkeys(row["corruption"] for row in sections[0]["rows"])
    }
    method = {
        "key": key,
        "label": label,
        "clean": {metric: mean_and_error([section["clean"][metric] for section in sections]) for metric in metrics},
        "mean": mean,
        "reference": references.pop() if len(references) == 1 else None,
        "corruptions": by_corruption,
        "curves": [_curve(section, metrics) for section in sections],
    }
    held = [section.get("risk_coverage") for section in sections]
    if all(held):
        curves = {part: [each[part] for each in held if each] for part in ("clean", "mean")}
        method["selective"] = {
            part: {"curves": of_part, "at": risks_at_shown(of_part)} for part, of_part in curves.items()
        }
    return method


def _mean(section: Mapping[str, Any], name: str, metric: str) -> float | None:
    values = [row[metric] for row in section["rows"] if row["corruption"] == name]
    return mean_and_error(values)["mean"]


def _curve(section: Mapping[str, Any], metrics: Sequence[str]) -> list[dict[str, Any]]:
    """Severity 0, the data as they are, then the means over corruptions at each severity."""
    points: list[dict[str, Any]] = [{"severity": 0} | {metric: section["clean"][metric] for metric in metrics}]
    for severity in section["severities"]:
        at = str(severity)  # JSON's keys are text
        points.append({"severity": severity} | {metric: section["by_severity"][metric].get(at) for metric in metrics})
    return points


def _ood(name: str, groups: Sequence[Group]) -> dict[str, Any] | None:
    complete = _complete("ood", name, groups)
    if not complete:
        return None
    methods = []
    for key, label, sections in complete:
        scores = {
            score: {
                metric: mean_and_error([section["scores"][score][metric] for section in sections])
                for metric in ("auroc", "fpr95")
            }
            for score in sections[0]["scores"]
        }
        methods.append({"key": key, "label": label, "scores": scores})
    first = complete[0][2][0]
    return {"dataset": name, "rows": first["rows"], "dropped": first["dropped"], "methods": methods}
