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
from motet.metrics import by_corruption, mce, mean_by_severity, mean_over_shifts, ood_scores, uncertainties
from motet.metrics.running import RunningScores
from motet.shifts import (
    SEVERITIES,
    TABLE_SHIFTS,
    CifarC,
    Constants,
    Corruption,
    ImageNetC,
    corrupt,
    corruptions,
    shift_table,
    without_overlap,
)

Row = dict[str, str | int | float]
"""``{"corruption": "fog", "severity": 3, "rows": 10000, "accuracy": ..., "nll": ..., "ece": ..., ...}``."""
Batches = Iterable[tuple[Tensor, Tensor]]


def evaluate_clean(ensemble: Ensemble, dataset: Dataset, split: Split | None = None, *, batch_size: int = 512) -> Row:
    """The row of the data as they are: corruption "none", severity 0.

    Args:
        ensemble: on any device; batches are moved to it.
        dataset: normalises the inputs.
        split: rows to evaluate, the data set's test rows by default.
        batch_size: rows per forward pass.
    """
    return _row("none", 0, ensemble, dataset, in_order(split or dataset.test, batch_size))


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
        dataset: its test rows must be uint8 images; it normalises them after they were corrupted.
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
            are not uint8 images.
    """
    chosen = [each for item in ([shifts] if isinstance(shifts, str) else shifts) for each in _corruptions(item)]
    rows = split or dataset.test
    device = _device(ensemble)

    def corrupted(corruption: Corruption, severity: int) -> Batches:
        first = 0
        for x, y in in_order(rows, batch_size):
            index = torch.arange(first, first + len(x))
            first += len(x)
            yield (
                corrupt(x.to(device), corruption, severity=severity, seed=seed, index=index, constants=constants),
                y,
            )

    for corruption in chosen:
        for severity in severities:
            yield _row(corruption.name, severity, ensemble, dataset, corrupted(corruption, severity))


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
    for name in source.names if names is None else names:
        for severity in severities:
            batches = source.batches(name, severity, batch_size=batch_size)
            yield _row(name, severity, ensemble, dataset, batches)


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
    rows, train = split or dataset.test, dataset.train.inputs
    if not isinstance(train, Tensor) or train.ndim != 2 or not train.is_floating_point():
        raise InputError(
            "shifts of tables need inputs of shape (rows, features), floating",
            got=f"{str(train.dtype).removeprefix('torch.')} of shape {tuple(train.shape)}",
            fix="Use evaluate_shift for images",
        )
    mean, std = train.mean(dim=0), train.std(dim=0, correction=0)

    def shifted(name: str, severity: int) -> Batches:
        first = 0
        for x, y in in_order(rows, batch_size):
            index = torch.arange(first, first + len(x), device=x.device)
            first += len(x)
            yield shift_table(x, name, severity=severity, mean=mean, std=std, seed=seed, index=index), y

    for name in names:
        for severity in severities:
            yield _row(name, severity, ensemble, dataset, shifted(name, severity))


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
    known = _uncertainties(ensemble, dataset, dataset.test, batch_size)
    table: list[Row] = []
    for name, other in others.items():
        kept, dropped = without_overlap(other, dataset.train, dataset.validation, dataset.test)
        scores = ood_scores(known, _uncertainties(ensemble, dataset, kept, batch_size))
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


def _row(name: str, severity: int, ensemble: Ensemble, dataset: Dataset, batches: Batches) -> Row:
    scores, device = RunningScores(), _device(ensemble)
    for x, y in batches:
        scores.add(ensemble.predict(dataset.prepare(x.to(device)), targets=y.to(device)))
    return {"corruption": name, "severity": severity, "rows": scores.rows, **scores.result()}


def _uncertainties(ensemble: Ensemble, dataset: Dataset, split: Split, batch_size: int) -> dict[str, Tensor]:
    device = _device(ensemble)
    parts = [uncertainties(ensemble.predict(dataset.prepare(x.to(device)))) for x, _ in in_order(split, batch_size)]
    return {name: torch.cat([part[name].cpu() for part in parts]) for name in parts[0]}


def _corruptions(item: str | Corruption) -> tuple[Corruption, ...]:
    return corruptions(item) if isinstance(item, str) else (item,)


def _errors(accuracy: Mapping[str, Mapping[int, float]]) -> dict[str, dict[int, float]]:
    return {name: {severity: 1 - value for severity, value in row.items()} for name, row in accuracy.items()}


def _device(ensemble: Ensemble) -> torch.device:
    return next(ensemble.parameters()).device
