"""Evaluate an ensemble under distribution shift: corruptions, official corrupted sets, shifted tables.

Results are rows of plain numbers and names, one for each corruption and severity; `summarise_shifts` computes their
means. Images are corrupted on the ensemble's device, one batch at a time, so that memory does not grow with the data.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from motet.data import Dataset, Split
from motet.ensemble import Ensemble
from motet.errors import InputError
from motet.evaluation.cache import EvaluationCache
from motet.evaluation.shift_records import Row
from motet.evaluation.shift_results import Subject, clean_results, score_shifted, shift_results
from motet.evaluation.shift_source import ShiftSettings, ShiftSource
from motet.evaluation.shifted_rows import Shifted
from motet.metrics import by_corruption, mce, mean_by_severity, mean_over_shifts
from motet.shifts import SEVERITIES, TABLE_SHIFTS, CifarC, Constants, Corruption, ImageNetC


def evaluate_clean(
    ensemble: Ensemble,
    dataset: Dataset,
    split: Split | None = None,
    *,
    batch_size: int = 512,
    cache: EvaluationCache | None = None,
) -> Row:
    """Return the row of unshifted data: corruption "none", severity 0.

    Args:
        ensemble: an ensemble on any device; batches are moved to it.
        dataset: normalises the inputs.
        split: the rows; the data set's test rows by default.
        batch_size: rows per forward pass.
        cache: stores the result, so that a later call finds it; None stores nothing.
    """
    settings = ShiftSettings(split=split, batch_size=batch_size)
    (result,) = clean_results([Subject(ensemble=ensemble, cache=cache)], dataset, settings)
    return result.row.to_row()


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
    cache: EvaluationCache | None = None,
) -> Iterator[Row]:
    """Evaluate under each corruption at each severity.

    Args:
        ensemble: an ensemble on any device; batches are moved to it.
        dataset: its test rows must be images, in uint8 or with a known `DataSpec.full_scale`; they are normalised after
            the corruption.
        shifts: a set ("cifar-c", "cifar-c-19", "mimmo"), a corruption's name, or several corruptions.
        split: the rows; the data set's test rows by default.
        severities: severities from 1 to 5.
        seed: the seed of the corruptions. Use the same seed for runs that are compared.
        batch_size: rows per forward pass. The result does not depend on it.
        constants: CIFAR's or ImageNet's; see `motet.shifts.corrupt`.
        cache: stores each row when it is computed, and finds those of an earlier, interrupted call; None stores
            nothing. Results under corruptions that motet does not have are not stored.

    Yields:
        A row for each corruption and severity: accuracy, nll, ece, brier and aurc.

    Raises:
        InputError: at the first row, for an unknown shift (with the nearest name), a severity outside 1..5, and inputs
            that are not such images.
    """
    settings = ShiftSettings(split=split, severities=severities, seed=seed, batch_size=batch_size, constants=constants)
    source = ShiftSource.of_images(shifts)
    yield from _rows_of_one(Subject(ensemble=ensemble, cache=cache), dataset, source, settings)


def evaluate_official(
    ensemble: Ensemble,
    dataset: Dataset,
    source: CifarC | ImageNetC,
    names: Sequence[str] | None = None,
    *,
    severities: Sequence[int] = SEVERITIES,
    batch_size: int = 512,
    cache: EvaluationCache | None = None,
) -> Iterator[Row]:
    """Evaluate on the files of an official corrupted test set, like `evaluate_shift`.

    Args:
        ensemble: an ensemble on any device; batches are moved to it.
        dataset: the data set that the ensemble was trained on; it normalises the images.
        source: the files.
        names: the corruptions; by default all that the files contain. CIFAR-C's means are over 15
            (`motet.shifts.SETS`).
        severities: severities from 1 to 5.
        batch_size: rows per forward pass.
        cache: see `evaluate_shift`.

    Raises:
        InputError: at the first row that needs it, for a corruption that is missing, and images of another shape than
            the data set's.
    """
    chosen = source.names if names is None else tuple(names)
    files = ShiftSource(name=source.folder.name, kind="files", names=chosen, files=source)
    settings = ShiftSettings(severities=severities, batch_size=batch_size)
    yield from _rows_of_one(Subject(ensemble=ensemble, cache=cache), dataset, files, settings)


def evaluate_table_shift(
    ensemble: Ensemble,
    dataset: Dataset,
    names: Sequence[str] = tuple(TABLE_SHIFTS),
    *,
    split: Split | None = None,
    severities: Sequence[int] = SEVERITIES,
    seed: int = 0,
    batch_size: int = 512,
    cache: EvaluationCache | None = None,
) -> Iterator[Row]:
    """Evaluate on shifted tables ``(N, D)``, like `evaluate_shift`; shifts use means and deviations of the training
    rows.

    Scores of a regression are in the targets' own units; of several targets see `motet.metrics.score`.

    Args:
        ensemble, dataset, split, severities, seed, batch_size, cache: see `evaluate_shift`.
        names: names of shifts; all by default.

    Raises:
        InputError: at the first row, for an unknown shift, a severity outside 1..5, and inputs that are not a table.
    """
    settings = ShiftSettings(split=split, severities=severities, seed=seed, batch_size=batch_size)
    source = ShiftSource(name="tables", kind="table", names=tuple(names))
    yield from _rows_of_one(Subject(ensemble=ensemble, cache=cache), dataset, source, settings)


def evaluate_shifted(
    ensembles: Sequence[Ensemble], dataset: Dataset, parts: Iterable[Shifted]
) -> Iterator[tuple[Row, ...]]:
    """Evaluate several ensembles of the same data on the same shifted rows, which are made once for all of them.

    Args:
        ensembles: ensembles on one device.
        dataset: normalises the inputs.
        parts: corruptions, severities and batches, from `motet.evaluation.shifted_rows`.

    Yields:
        For each corruption and severity, a row for each ensemble.
    """
    subjects = [Subject(ensemble=ensemble) for ensemble in ensembles]
    for shifted in parts:
        yield tuple(result.row.to_row() for result in score_shifted(subjects, dataset, shifted, None))


def summarise_shifts(
    rows: Iterable[Mapping[str, str | int | float]],
    *,
    reference: Iterable[Mapping[str, str | int | float]] | Mapping[str, float] | None = None,
) -> dict[str, object]:
    """Return means over corruptions and severities.

    Args:
        rows: rows of `evaluate_shift` or one of the similar functions, for one ensemble.
        reference: the rows of a reference run, or its mean errors by corruption (`motet.metrics.ALEXNET_ERRORS`), for
            the mean corruption error.

    Returns:
        "mean": each metric's mean over corruptions at each severity, then over severities; "by_severity": the means at
        each severity, by metric and severity; "mce": the mean corruption error, if there is a reference.

    Raises:
        InputError: for no rows, corruptions at different severities, and a reference that does not fit.
    """
    table = list(rows)
    mean, by_severity = means_of(table)
    summary: dict[str, object] = {"mean": mean, "by_severity": by_severity}
    return summary if reference is None else summary | {"mce": mce_of(table, reference)}


def means_of(
    rows: Sequence[Mapping[str, str | int | float]],
) -> tuple[dict[str, float], dict[str, dict[int, float]]]:
    """Return each metric's mean over corruptions and severities, and at each severity. See `summarise_shifts`.

    Raises:
        InputError: if there are no rows with a metric.
    """
    metrics = [name for name in (rows[0] if rows else {}) if name not in ("corruption", "severity", "rows")]
    if not metrics:
        raise InputError(
            "rows must contain at least one row with a metric",
            got=f"{len(rows)} rows without one",
            fix="Pass the rows that evaluate_shift yields",
        )
    by_metric = {metric: by_corruption(rows, metric) for metric in metrics}
    return (
        {metric: mean_over_shifts(each) for metric, each in by_metric.items()},
        {metric: mean_by_severity(each) for metric, each in by_metric.items()},
    )


def mce_of(
    rows: Iterable[Mapping[str, str | int | float]],
    reference: Iterable[Mapping[str, str | int | float]] | Mapping[str, float],
) -> float:
    """Return the mean corruption error of one run's rows relative to another's. See `summarise_shifts`."""
    against = reference if isinstance(reference, Mapping) else _errors(by_corruption(reference, "accuracy"))
    return mce(_errors(by_corruption(rows, "accuracy")), against)


def _rows_of_one(subject: Subject, dataset: Dataset, source: ShiftSource, settings: ShiftSettings) -> Iterator[Row]:
    for (result,) in shift_results([subject], dataset, source, settings):
        yield result.row.to_row()


def _errors(accuracy: Mapping[str, Mapping[int, float]]) -> dict[str, dict[int, float]]:
    return {name: {severity: 1 - value for severity, value in row.items()} for name, row in accuracy.items()}
