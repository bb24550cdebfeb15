"""How an ensemble holds when the data shifts: corruptions, official sets, shifted tables, other data sets.

Results are rows of plain numbers and names, one for each corruption and severity; `summarise_shifts` draws their means.
Images are corrupted on the ensemble's device, a batch at a time, so that memory does not grow with the data.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import torch
from torch import Tensor

from motet.data import Dataset, Split
from motet.data.batches import in_order
from motet.ensemble import Ensemble
from motet.errors import InputError
from motet.evaluation.shifted_rows import Batches, Shifted, shifted_files, shifted_images, shifted_table
from motet.metrics import by_corruption, mce, mean_by_severity, mean_over_shifts, ood_scores, uncertainties
from motet.metrics.running import RunningScores
from motet.shifts import SEVERITIES, TABLE_SHIFTS, CifarC, Constants, Corruption, ImageNetC, without_overlap

Row = dict[str, str | int | float]
"""``{"corruption": "fog", "severity": 3, "rows": 10000, "accuracy": ..., "nll": ..., "ece": ..., ...}``."""


def evaluate_clean(ensemble: Ensemble, dataset: Dataset, split: Split | None = None, *, batch_size: int = 512) -> Row:
    """The row of the data as they are: corruption "none", severity 0.

    Args:
        ensemble: on any device; batches are moved to it.
        dataset: normalises the inputs.
        split: rows to evaluate, the data set's test rows by default.
        batch_size: rows per forward pass.
    """
    (scores,) = score_shifted([ensemble], dataset, in_order(split or dataset.test, batch_size))
    return row_of("none", 0, scores)


def evaluate_shift(
    ensemble: Ensemble,
    dataset: Dataset,
    shifts: str | Sequence[str | Corruption] = "cifar-c",
    *,
    split: Split | None = None,
    severities: Sequence[int] = SEVERITIES,
    seed: int = 0,
    batch_size: int = 512,
    constants: Constants | None = None,
) -> Iterator[Row]:
    """Evaluate under each corruption at each severity, one row after the other.

    Args:
        ensemble: on any device; batches are moved to it.
        dataset: its test rows must be images, in uint8 or with a known `DataSpec.full_scale`; it normalises them after
            they were corrupted.
        shifts: a set ("cifar-c", "cifar-c-19", "mimmo"), a corruption's name, or several corruptions.
        split: rows to evaluate, the data set's test rows by default.
        severities: from 1 to 5.
        seed: of the corruptions. Runs that are compared should have the same.
        batch_size: rows per forward pass. The result does not depend on it.
        constants: CIFAR's or ImageNet's; see `motet.shifts.corrupt`.

    Yields:
        a row for each corruption and severity: accuracy, nll, ece, brier and aurc.

    Raises:
        InputError: at the first row, for an unknown shift (with the nearest), a severity outside 1..5, or inputs that
            are not such images.
    """
    parts = shifted_images(
        dataset,
        shifts,
        split=split,
        severities=severities,
        seed=seed,
        batch_size=batch_size,
        constants=constants,
        device=_device(ensemble),
    )
    yield from (row for (row,) in evaluate_shifted([ensemble], dataset, parts))


def evaluate_official(
    ensemble: Ensemble,
    dataset: Dataset,
    source: CifarC | ImageNetC,
    names: Sequence[str] | None = None,
    *,
    severities: Sequence[int] = SEVERITIES,
    batch_size: int = 512,
) -> Iterator[Row]:
    """`evaluate_shift` on the files of an official corrupted test set.

    Args:
        ensemble: on any device; batches are moved to it.
        dataset: what the ensemble was trained on: it normalises the images.
        source: the files.
        names: which corruptions, by default all that are there. CIFAR-C's means are over 15 (`motet.shifts.SETS`).
        severities: from 1 to 5.
        batch_size: rows per forward pass.

    Raises:
        InputError: at the first row that needs it, for a corruption that is not there, or images of another shape than
            the data set's.
    """
    parts = shifted_files(dataset, source, names, severities=severities, batch_size=batch_size)
    yield from (row for (row,) in evaluate_shifted([ensemble], dataset, parts))


def evaluate_table_shift(
    ensemble: Ensemble,
    dataset: Dataset,
    names: Sequence[str] = tuple(TABLE_SHIFTS),
    *,
    split: Split | None = None,
    severities: Sequence[int] = SEVERITIES,
    seed: int = 0,
    batch_size: int = 512,
) -> Iterator[Row]:
    """`evaluate_shift` for tables ``(N, D)``, with means and deviations of the training rows.

    Raises:
        InputError: at the first row, for an unknown shift, a severity outside 1..5, or inputs that are no table.
    """
    parts = shifted_table(dataset, names, split=split, severities=severities, seed=seed, batch_size=batch_size)
    yield from (row for (row,) in evaluate_shifted([ensemble], dataset, parts))


def evaluate_shifted(
    ensembles: Sequence[Ensemble], dataset: Dataset, parts: Iterable[Shifted]
) -> Iterator[tuple[Row, ...]]:
    """Evaluate several ensembles of the same data on the same shifted rows, which are made once for all of them.

    Args:
        ensembles: on one device.
        dataset: normalises the inputs.
        parts: corruptions, severities and batches, of `motet.evaluation.shifted_rows`.

    Yields:
        for each corruption and severity, a row for each ensemble.
    """
    for name, severity, batches in parts:
        yield tuple(row_of(name, severity, scores) for scores in score_shifted(ensembles, dataset, batches))


def evaluate_ood(
    ensemble: Ensemble, dataset: Dataset, others: Mapping[str, Split], *, batch_size: int = 512
) -> list[Row]:
    """How well the ensemble's uncertainty tells the test rows from other data sets.

    Rows of the others that stand in the data set itself (any split) are dropped first.

    Args:
        ensemble: a classifier, on any device; batches are moved to it.
        dataset: what the ensemble was trained on; its test rows are the known ones. It normalises all inputs.
        others: other data sets' rows, by name, of the data set's input shape and on its scale (both uint8 or both not).
        batch_size: rows per forward pass.

    Returns:
        A row for each other set and score: ``{"dataset": ..., "score": "entropy", "auroc": ..., "fpr95": ..., "rows":
        ..., "dropped": ...}``.

    Raises:
        InputError: for regression, for rows of another shape or scale, or a set whose rows all stand in the data set.
    """
    known = doubts(ensemble, dataset, dataset.test, batch_size=batch_size)
    table: list[Row] = []
    for name, other in others.items():
        kept, dropped = without_overlap(other, dataset.train, dataset.validation, dataset.test)
        scores = ood_scores(known, doubts(ensemble, dataset, kept, batch_size=batch_size))
        counts = {"rows": len(kept), "dropped": dropped}
        table += [{"dataset": name, "score": score, **values, **counts} for score, values in scores.items()]
    return table


def summarise_shifts(
    rows: Iterable[Mapping[str, str | int | float]],
    *,
    reference: Iterable[Mapping[str, str | int | float]] | Mapping[str, float] | None = None,
) -> dict[str, object]:
    """Means over corruptions and severities.

    Args:
        rows: of `evaluate_shift` or its likes, for one ensemble.
        reference: the same for a reference run, or its mean errors by corruption (`motet.metrics.ALEXNET_ERRORS`), for
            the mean corruption error.

    Returns:
        "mean": each metric's mean over corruptions at each severity, then over severities; "by_severity": the former,
        by metric and severity; "mce": where there is a reference.

    Raises:
        InputError: no rows, corruptions at different severities, or a reference that does not fit.
    """
    table = list(rows)
    metrics = [name for name in (table[0] if table else {}) if name not in ("corruption", "severity", "rows")]
    if not metrics:
        raise InputError("means need at least one row with a metric", got="none", fix="Pass the rows of a run")
    by_metric = {metric: by_corruption(table, metric) for metric in metrics}
    summary: dict[str, object] = {
        "mean": {metric: mean_over_shifts(each) for metric, each in by_metric.items()},
        "by_severity": {metric: mean_by_severity(each) for metric, each in by_metric.items()},
    }
    if reference is not None:
        against = reference if isinstance(reference, Mapping) else _errors(by_corruption(reference, "accuracy"))
        summary["mce"] = mce(_errors(by_corruption(table, "accuracy")), against)
    return summary


def score_shifted(ensembles: Sequence[Ensemble], dataset: Dataset, batches: Batches) -> list[RunningScores]:
    """The scores of several ensembles of the same data on the same rows, which are made once for all of them.

    Args:
        ensembles: on one device.
        dataset: normalises the inputs.
        batches: inputs as the data set stores them, and their targets.
    """
    scores = [RunningScores() for _ in ensembles]
    device = _device(ensembles[0])
    for x, y in batches:
        inputs, targets = dataset.prepare(x.to(device)), y.to(device)
        for ensemble, each in zip(ensembles, scores, strict=True):
            each.add(ensemble.predict(inputs, targets=targets))
    return scores


def row_of(name: str, severity: int, scores: RunningScores) -> Row:
    """What was found for a corruption at a severity, as a row."""
    return {"corruption": name, "severity": severity, "rows": scores.rows, **scores.result()}


def doubts(ensemble: Ensemble, dataset: Dataset, split: Split, *, batch_size: int = 512) -> dict[str, Tensor]:
    """`motet.metrics.uncertainties` of every row of `split`, ``(N,)`` each, on the CPU."""
    device = _device(ensemble)
    parts = [uncertainties(ensemble.predict(dataset.prepare(x.to(device)))) for x, _ in in_order(split, batch_size)]
    return {name: torch.cat([part[name].cpu() for part in parts]) for name in parts[0]}


def _errors(accuracy: Mapping[str, Mapping[int, float]]) -> dict[str, dict[int, float]]:
    return {name: {severity: 1 - value for severity, value in row.items()} for name, row in accuracy.items()}


def _device(ensemble: Ensemble) -> torch.device:
    return next(ensemble.parameters()).device
