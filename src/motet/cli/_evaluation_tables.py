"""Evaluations as text: tables of scores, with a line for each corruption, and methods in columns."""

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # imported with torch, which --help does not need
    from motet.data import DataDescription
    from motet.evaluation.comparison_records import (
        Measure,
        MethodUnderShift,
        OODComparison,
        ShiftComparison,
        SideBySide,
    )
    from motet.evaluation.exits import ExitScores
    from motet.evaluation.records import CleanScores, PartScores

HEADS = {
    "accuracy": "accuracy",
    "rmse": "RMSE",
    "nll": "NLL",
    "crps": "CRPS",
    "ece": "ECE",
    "brier": "Brier",
    "aurc": "AURC",
}
_ALSO = {
    "deviance": "deviance",
    "coverage_90": "90 % coverage",
    "coverage_error": "coverage error",
    "interval_width": "90 % width",
}
_SHOWN = ("accuracy", "rmse", "nll", "crps", "ece", "brier")


def score_lines(uses: "Mapping[str, CleanScores | PartScores]") -> list[str]:
    """Return a line for each use of an ensemble, with a column for each score."""
    names = list(next(iter(uses.values())).scores)
    rows = [["", *((HEADS | _ALSO).get(name, name) for name in names), "FLOPs"]]
    for use, found in uses.items():
        rows.append([use, *(_score(found.scores.get(name)) for name in names), f"{found.flops:,}"])
    return aligned(rows)


def target_lines(uses: "Mapping[str, CleanScores]", data: "DataDescription") -> list[str]:
    """Return a table of each target's accuracy or RMSE, with a line for each use; no lines for one target.

    Args:
        uses: the scores of each use.
        data: the data, with the names of the targets.
    """
    found = {use: scores.targets for use, scores in uses.items() if scores.targets}
    if not found:
        return []
    metric = "accuracy" if "accuracy" in next(iter(found.values())) else "rmse"
    number = len(next(iter(found.values()))[metric])
    names = data.class_names or data.target_names or [f"target {index + 1}" for index in range(number)]
    rows = [[f"{HEADS[metric]} of each target", *names]]
    rows += [[use, *(f"{value:.4g}" for value in scores[metric])] for use, scores in found.items()]
    return ["", *aligned(rows)]


def exit_lines(uses: "Mapping[str, Sequence[ExitScores] | None]") -> list[str]:
    """Return a table of the scores of each exit by itself, with a line for each; no lines without exits.

    Args:
        uses: the exits by the name of the run; the name may be empty.
    """
    rows: list[list[str]] = []
    for use, exits in uses.items():
        for number, each in enumerate(exits or (), start=1):
            if not rows:
                names = list(each.scores)
                rows.append(
                    ["exit by itself", "after", "layers", "weight", *((HEADS | _ALSO).get(n, n) for n in names)]
                )
            name = f"{use} exit {number}" if use else f"exit {number}"
            scores = [_score(each.scores.get(score)) for score in names]
            rows.append([name, each.place or "the end", f"{each.depth:.0%}", f"{each.weight:.3f}", *scores])
    return ["", *aligned(rows)] if rows else []


def unit_lines(data: "DataDescription") -> list[str]:
    """Return a line about the unit of errors, if there are several targets in different units."""
    several = "RMSE, CRPS and widths are in standard deviations, because the targets have different units."
    return [several] if data.in_standard_deviations else []


def robustness_lines(gathered: "SideBySide", *, shift: str | None, ood: Sequence[str]) -> list[str]:
    """Return the tables of one shift and of some other data sets.

    Args:
        gathered: the result of `motet.experiments.gather`.
        shift: the name of the shift; None for none.
        ood: the names of the other data sets.
    """
    shifted = [line for found in gathered.shifts if found.name == shift for line in _shift(found)]
    return shifted + [line for found in gathered.ood if found.dataset in ood for line in _ood(found)]


def _shift(found: "ShiftComparison") -> list[str]:
    severities = ", ".join(map(str, found.severities))
    title = f"{found.name}: severit{'y' if len(found.severities) == 1 else 'ies'} {severities}"
    metrics = [metric for metric in _SHOWN if metric in found.methods[0].clean]
    by_corruption = _by_metric if len(found.methods) == 1 else _by_method
    means = [*_means(found), *_selective(found)]
    return [f"{title}; {found.rows:,} rows each", *means, *by_corruption(found, metrics)]


def _by_metric(found: "ShiftComparison", metrics: Sequence[str]) -> list[str]:
    """One method: a line for each corruption, a column for each metric."""
    (method,) = found.methods
    rows = [["mean over severities", *(HEADS[metric] for metric in metrics)]]
    for name, scores in method.corruptions.items():
        rows.append([name, *(number(scores[metric]) for metric in metrics)])
    return ["", *aligned(rows)]


def _by_method(found: "ShiftComparison", metrics: Sequence[str]) -> list[str]:
    """Several methods: a table for each metric, a line for each corruption, a column for each method."""
    lines: list[str] = []
    for metric in metrics:
        rows = [[f"{HEADS[metric]}, mean over severities", *(method.label for method in found.methods)]]
        rows.append(["unshifted", *(number(method.clean[metric]) for method in found.methods)])
        for name in found.corruptions:
            rows.append([name, *(number(method.corruptions[name][metric]) for method in found.methods)])
        lines += ["", *aligned(rows)]
    return lines


def _means(found: "ShiftComparison") -> list[str]:
    """Scores on unshifted data, and their means over corruptions and severities."""
    methods = found.methods
    metrics = [metric for metric in HEADS if metric in methods[0].clean]
    related = any("mce" in method.mean for method in methods)
    rows = [["", *(HEADS[metric] for metric in metrics), *["mCE"] * related]]
    for method in methods:
        unshifted, mean = _row_names(found, method)
        rows.append([unshifted, *(number(method.clean[metric]) for metric in metrics), *[""] * related])
        rows.append([mean, *(number(method.mean[metric]) for metric in metrics)])
        rows[-1] += [number(method.mean.get("mce"), places=1)] * related
    lines = aligned(rows)
    if related:
        names = dict.fromkeys(method.reference for method in methods if method.reference)
        lines.append(f"mCE: mean corruption error, in % of that of {', '.join(names)}")
    return lines


def _row_names(found: "ShiftComparison", method: "MethodUnderShift") -> tuple[str, str]:
    """Return the names of a method's two rows: on unshifted data, and the mean under shift."""
    over = f"mean over {len(found.averaged)}"
    return ("unshifted", over) if len(found.methods) == 1 else (f"{method.label}, unshifted", f"{method.label}, {over}")


def _selective(found: "ShiftComparison") -> list[str]:
    """The error rate among the predictions that are kept, by the fraction kept."""
    rows = []
    for method in found.methods:
        if method.selective is not None:
            unshifted, mean = _row_names(found, method)
            rows += [(unshifted, method.selective.clean.at), (mean, method.selective.mean.at)]
    return ["", *risk_lines(rows)] if rows else []


def risk_lines(rows: "Sequence[tuple[str, Mapping[str, Measure]]]") -> list[str]:
    """Return a table of selective risk, with a line for each name and its risks by coverage."""
    coverages = list(rows[0][1])
    table = [["error at coverage", *coverages]]
    table += [[name, *(number(risks.get(coverage)) for coverage in coverages)] for name, risks in rows]
    return aligned(table)


def _ood(found: "OODComparison") -> list[str]:
    dropped = f", {found.dropped:,} removed because they overlap" if found.dropped else ", none overlaps"
    lines = ["", f"against {found.dataset}: {found.rows:,} images{dropped}"]
    rows = [["", "AUROC", "FPR95"]]
    for method in found.methods:
        before = "" if len(found.methods) == 1 else f"{method.label}, "
        for name, scores in method.scores.items():
            rows.append([before + name.replace("_", " "), number(scores.auroc), number(scores.fpr95)])
    return [*lines, *aligned(rows)]


def number(value: "Measure | None", places: int = 4) -> str:
    """Return a mean over seeds, with its standard error if there is one."""
    if value is None or not value.known:
        return "-"
    return f"{value.mean:.{places}f}" + (f" ±{value.standard_error:.{places}f}" if value.has_error else "")


def _score(value: float | None) -> str:
    return "-" if value is None or not math.isfinite(value) else f"{value:.4f}"


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return lines with aligned columns: the first to the left, numbers to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            [row[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True))]
        ).rstrip()
        for row in rows
    ]
