"""What evaluations under shift find of one run: the sections of its record, put together of parts that are kept."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import torch

from motet.data import Dataset, Split, in_order
from motet.ensemble import Ensemble
from motet.evaluation import summarise_shifts
from motet.evaluation.shifted import Row, doubts, row_of, score_shifted
from motet.experiments.parts import Parts
from motet.experiments.run import Run
from motet.experiments.shift_source import ShiftSource
from motet.metrics import COVERAGES, RunningScores, ood_scores

SEED = 0
"""Of the corruptions, the same for every run, so that all are shown the same images."""
_CLEAN = ("none", 0)


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluated:
    """A run that is evaluated: its ensemble and its data on one device, and what was found of it so far."""

    run: Run
    ensemble: Ensemble
    dataset: Dataset
    parts: Parts


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Strange:
    """Rows out of distribution, those that overlap dropped; `digest` is of the rows."""

    split: Split
    dropped: int
    digest: str


def shift_sections(
    evaluated: Sequence[Evaluated],
    source: ShiftSource,
    *,
    severities: Sequence[int],
    device: torch.device,
    say: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Each run's section under one shift: ``clean``, ``rows``, their means, and risk-coverage curves.

    Shifted rows are made once for all runs, and only for those that have not been evaluated on them. Each variant's
    result is kept as soon as it is there.
    """
    dataset = evaluated[0].dataset
    found: list[list[dict[str, Any]]] = [[] for _ in evaluated]
    clean = _variant(evaluated, *_CLEAN, in_order(dataset.test, 512), {"shift": None})
    seen: set[str] = set()
    for name, severity, batches in source.rows(dataset, severities=severities, seed=SEED, device=device):
        if name not in seen:
            seen.add(name)
            say(f"[{len(seen)}/{len(source.names)}] {name}")
        what = {"shift": source.kind, "corruption": name, "severity": severity}
        what |= {"seed": SEED} if source.files is None else {"files": source.stamp(name, severity)}
        results = _variant(evaluated, name, severity, batches, what)
        for kept, result in zip(found, results, strict=True):
            kept.append(result)
    return [
        _section(source, before, results, severities=severities) for before, results in zip(clean, found, strict=True)
    ]


def ood_section(each: Evaluated, others: Mapping[str, Strange], *, say: Callable[[str], None]) -> dict[str, Any]:
    """A run's section of each other data set: ``rows``, ``dropped``, and AUROC and FPR95 of every score."""
    say(f"out of distribution: {each.run.folder.name}")
    known = None
    section: dict[str, Any] = {}
    for name, other in others.items():
        what = {"ood": other.digest}
        scores = each.parts.find(**what)
        if scores is None:
            if known is None:
                known = doubts(each.ensemble, each.dataset, each.dataset.test)
            scores = ood_scores(known, doubts(each.ensemble, each.dataset, other.split))
            each.parts.keep(scores, **what)
        section[name] = {"rows": len(other.split), "dropped": other.dropped, "scores": scores}
    return section


def averaged(section: Mapping[str, Any], source: ShiftSource) -> list[Row]:
    """The rows that means are taken over."""
    return [row for row in section["rows"] if row["corruption"] in source.averaged]


def _variant(
    evaluated: Sequence[Evaluated], name: str, severity: int, batches: Any, what: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """What was found for each run: its ``row``, and its ``risk`` where there are classes."""
    results = [each.parts.find(**what) for each in evaluated]
    missing = [index for index, result in enumerate(results) if result is None]
    if missing:
        dataset = evaluated[0].dataset
        scores = score_shifted([evaluated[index].ensemble for index in missing], dataset, batches)
        for index, score in zip(missing, scores, strict=True):
            results[index] = _result(name, severity, score, dataset)
            evaluated[index].parts.keep(results[index], **what)
    return results


def _result(name: str, severity: int, scores: RunningScores, dataset: Dataset) -> dict[str, Any]:
    row, curve = row_of(name, severity, scores), scores.risk_coverage()
    row |= dataset.spec.in_own_units({score: float(row[score]) for score in ("rmse", "nll", "crps") if score in row})
    return {"row": row, "risk": None if curve is None else curve.at().tolist()}


def _section(
    source: ShiftSource,
    clean: Mapping[str, Any],
    results: Sequence[Mapping[str, Any]],
    *,
    severities: Sequence[int],
) -> dict[str, Any]:
    section: dict[str, Any] = {
        "kind": source.kind,
        "seed": SEED if source.files is None else None,
        "clean": clean["row"],
        "rows": [result["row"] for result in results],
        "averaged": list(source.averaged),
    }
    section |= summarise_shifts(averaged(section, source))
    section["severities"] = list(severities)
    if clean["risk"] is not None:
        by_name: dict[str, list[list[float]]] = {}
        for result in results:
            by_name.setdefault(result["row"]["corruption"], []).append(result["risk"])
        corruptions = {name: _mean(curves) for name, curves in by_name.items()}
        section["risk_coverage"] = {
            "coverage": list(COVERAGES),
            "clean": clean["risk"],
            "mean": _mean([corruptions[name] for name in source.averaged]),
            "corruptions": corruptions,
        }
    return section


def _mean(curves: Sequence[Sequence[float]]) -> list[float]:
    """The mean at each coverage."""
    mean: list[float] = torch.tensor(curves, dtype=torch.float64).mean(dim=0).tolist()
    return mean
