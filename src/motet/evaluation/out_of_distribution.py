"""Out-of-distribution detection: other data sets, converted to the form of a run's data, and told from it by
uncertainty.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import final

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812

from motet.data import DataOptions, Dataset, DataSpec, ImageFiles, Split, kind_of, load
from motet.data.batches import in_order
from motet.ensemble import Ensemble
from motet.errors import InputError
from motet.evaluation.cache import EvaluationCache, digest_of_rows
from motet.evaluation.records import OODResult, OODScores, OODSection
from motet.evaluation.shift_records import Row
from motet.evaluation.shift_results import Subject
from motet.metrics import ood_scores, uncertainties
from motet.shifts import without_overlap

_AT_ONCE = 1024
_LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601, as Pillow's mode "L"


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class OODSplit:
    """Rows that are out of distribution.

    Attributes:
        split: the rows, without those that also occur in the run's data.
        dropped: the number of rows that were removed.
    """

    split: Split
    dropped: int

    @classmethod
    def of(cls, rows: Split, dataset: Dataset) -> "OODSplit":
        """Return the rows that occur in no split of `dataset`.

        Raises:
            InputError: for rows of another shape or scale, or if all of them occur in the data set.
        """
        kept, dropped = without_overlap(rows, dataset.train, dataset.validation, dataset.test)
        return cls(split=kept, dropped=dropped)

    @cached_property
    def digest(self) -> str:
        """A hash of the rows."""
        return digest_of_rows(self.split)


def evaluate_ood(
    ensemble: Ensemble,
    dataset: Dataset,
    others: Mapping[str, Split],
    *,
    batch_size: int = 512,
    cache: EvaluationCache | None = None,
) -> list[Row]:
    """Measure how well the ensemble's uncertainty distinguishes the test rows from other data sets.

    Rows of the other data sets that occur in the data set itself (in any split) are removed first.

    Args:
        ensemble: a classifier, on any device; batches are moved to it.
        dataset: the data set that the ensemble was trained on; its test rows are in distribution. It normalises all
            inputs.
        others: other data sets' rows, by name, with the data set's input shape and scale (both uint8 or both not).
        batch_size: rows per forward pass.
        cache: stores each other set's scores when they are computed, and finds those of an earlier, interrupted call;
            None stores nothing.

    Returns:
        A row for each other set and score: ``{"dataset": ..., "score": "entropy", "auroc": ..., "fpr95": ..., "rows":
        ..., "dropped": ...}``.

    Raises:
        InputError: for regression, for rows of another shape or scale, and for a set whose rows all occur in the data
            set.
    """
    splits = {name: OODSplit.of(other, dataset) for name, other in others.items()}
    sections = ood_sections(Subject(ensemble=ensemble, cache=cache), dataset, splits, batch_size=batch_size)
    return [
        {"dataset": name, "score": score, "auroc": found.auroc, "fpr95": found.fpr95, "rows": section.rows,
         "dropped": section.dropped}
        for name, section in sections.items()
        for score, found in section.scores.items()
    ]  # fmt: skip


def ood_sections(
    subject: Subject, dataset: Dataset, others: Mapping[str, OODSplit], *, batch_size: int = 512
) -> dict[str, OODSection]:
    """Return AUROC and FPR95 of every uncertainty score against each of `others`. See `evaluate_ood`.

    Args:
        subject: the ensemble and its cache.
        dataset: see `evaluate_ood`.
        others: see `evaluate_ood`.
        batch_size: see `evaluate_ood`.
    """
    known: dict[str, Tensor] | None = None
    sections = {}
    for name, other in others.items():
        key = None if subject.cache is None else {"ood": other.digest, "batch_size": batch_size}
        result = subject.find(OODResult, key)
        if result is None:
            if known is None:
                known = uncertainty_scores(subject.ensemble, dataset, dataset.test, batch_size=batch_size)
            unknown = uncertainty_scores(subject.ensemble, dataset, other.split, batch_size=batch_size)
            scores = ood_scores(known, unknown)
            result = OODResult(scores={score: OODScores(**values) for score, values in scores.items()})
            subject.keep(result, key)
        sections[name] = OODSection(rows=len(other.split), dropped=other.dropped, scores=result.scores)
    return sections


def uncertainty_scores(
    ensemble: Ensemble, dataset: Dataset, split: Split, *, batch_size: int = 512
) -> dict[str, Tensor]:
    """Return `motet.metrics.uncertainties` of every row of `split`, ``(N,)`` each, on the CPU.

    Args:
        ensemble: a classifier, on any device; batches are moved to it.
        dataset: normalises the inputs.
        split: the rows.
        batch_size: rows per forward pass.
    """
    device = next(ensemble.parameters()).device
    parts = [uncertainties(ensemble.predict(dataset.prepare(x.to(device)))) for x, _ in in_order(split, batch_size)]
    return {name: torch.cat([part[name].cpu() for part in parts]) for name in parts[0]}


def load_ood_split(name: str, dataset: Dataset, *, data_dir: Path | None = None) -> OODSplit:
    """Return the result of `load_ood` without overlapping rows.

    Args:
        name: see `load_ood`.
        dataset: see `load_ood`.
        data_dir: see `load_ood`.

    Raises:
        InputError: see `load_ood`; also if no rows are left, and for an empty name.
    """
    if not name.strip():
        raise InputError(
            "--ood needs the names or folders of data sets", got=repr(name), fix="Pass --ood cifar100, for example"
        )
    rows = load_ood(name, dataset, data_dir=data_dir)
    try:
        return OODSplit.of(rows, dataset)
    except InputError as error:
        raise InputError(
            f"{name} cannot be compared with the run's data: {error.requirement}", got=error.got, fix=error.fix
        ) from error


def load_ood(data: str, dataset: Dataset, *, data_dir: Path | None = None) -> Split:
    """Return the test rows of another data set of images, in the form of `dataset`'s inputs.

    Images of another size are resized (bilinear, antialiased). Grey images are repeated over three channels, and
    coloured ones are converted to grey if the run's are grey (ITU-R BT.601). Floats are scaled to the run's scale by
    `DataSpec.full_scale`.

    Args:
        data: a name that `motet.data.load` knows, or a folder of class folders.
        dataset: the run's data set of images.
        data_dir: the folder that is searched for files first.

    Raises:
        InputError: for unknown data (with the nearest name), and if either data set does not have images.
    """
    check_ood(dataset)
    kind = kind_of(data)
    options = DataOptions()
    if kind == "images":
        options = DataOptions(image_size=max(dataset.spec.input_shape[1:]), stream=False)
    elif kind == "table" or data == "toy":
        raise InputError(
            f"data out of distribution for {dataset.spec.name} must be images",
            got=f"{data}, a table",
            fix="Pass a data set of images (see: motet data), or a folder of class folders",
        )
    other = load(data, data_dir, options=options)
    return Split(inputs=_alike(other, dataset), targets=other.test.targets)


def check_ood(dataset: Dataset) -> None:
    """Check that out-of-distribution detection applies to a run's data.

    Raises:
        InputError: unless it is a classification of images.
    """
    spec = dataset.spec
    if spec.task != "classification":
        raise InputError(
            "out-of-distribution detection needs class probabilities",
            got=f"a run of {spec.name}, {spec.task_in_words}",
            fix="Leave --ood out",
        )
    if len(spec.input_shape) != 3 or spec.input_shape[0] not in {1, 3}:
        raise InputError(
            "out-of-distribution detection needs a run on images",
            got=f"{spec.name} with inputs of shape {spec.input_shape}",
            fix="Leave --ood out; in Python motet.evaluation.evaluate_ood takes any rows of the run's shape",
        )
    dataset.spec.to_bytes(dataset.test.rows[:1])


def _alike(other: Dataset, dataset: Dataset) -> Tensor | ImageFiles:
    same = other.spec.input_shape == dataset.spec.input_shape and other.test.inputs.dtype == dataset.train.inputs.dtype
    if same and other.spec.full_scale == dataset.spec.full_scale:
        return other.test.rows  # bit by bit, so that overlapping images are found
    parts = [_brought(part, other.spec, dataset.spec) for part in other.test.rows.split(_AT_ONCE)]
    images = torch.cat(parts)
    return images if dataset.train.inputs.dtype == torch.uint8 else dataset.spec.from_bytes(images)


def _brought(inputs: Tensor, of: DataSpec, to: DataSpec) -> Tensor:
    """Images of one specification as uint8 images of the shape of another."""
    images = of.to_bytes(inputs)
    channels, height, width = to.input_shape
    if images.shape[1] != channels:
        if channels == 3:
            images = images.repeat(1, 3, 1, 1)
        else:
            weights = torch.tensor(_LUMA, device=images.device).view(1, 3, 1, 1)
            images = (images.float() * weights).sum(dim=1, keepdim=True).round().to(torch.uint8)
    if images.shape[2:] == (height, width):
        return images
    resized = F.interpolate(images.float(), size=(height, width), mode="bilinear", antialias=True)
    return resized.round().clamp(0, 255).to(torch.uint8)
