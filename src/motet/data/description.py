"""The description of a data set in records."""

from typing import final

from motet._internal.typed_records import Amount, Count, absent, record
from motet.data._dataset import Dataset
from motet.data._spec import Task


@final
@record
class DataDescription:
    """A data set, for records and reports. A field is None if an older version of motet did not record it.

    Attributes:
        name: the name of the data set.
        task: classification, multilabel, regression or counts.
        classes: the number of outputs that the task needs: classes, or targets.
        class_names: names of the classes, or of several binary labels; empty for other tasks.
        input_shape: shape of one example.
        train, validation, test: the number of rows of each split.
        split: how the splits were made, in words; empty if that is clear.
        notes: notes for the user.
        fingerprint: the fingerprint of its files; empty for data that cannot change.
        target_names: names of the targets, if there are several.
        target_std: the standard deviation of each target, if each was standardised separately.
    """

    name: str
    task: Task | None
    classes: Count | None
    class_names: tuple[str, ...]
    input_shape: tuple[Count, ...] | None
    train: Count | None
    validation: Count | None
    test: Count | None
    split: str | None
    notes: tuple[str, ...] | None
    fingerprint: str | None
    target_names: tuple[str, ...] | None = absent()
    target_std: tuple[Amount, ...] | None = absent()

    @property
    def in_standard_deviations(self) -> bool:
        """Whether errors are in standard deviations of the targets, because these have different units."""
        return bool(self.target_std)


def describe(dataset: Dataset) -> DataDescription:
    """Return a data set's name, task, classes, sizes and fingerprint, for records and reports."""
    spec, scale = dataset.spec, dataset.spec.target_scale
    return DataDescription(
        name=spec.name,
        task=spec.task,
        classes=spec.outputs,
        class_names=tuple(spec.class_names),
        input_shape=tuple(spec.input_shape),
        train=len(dataset.train),
        validation=len(dataset.validation),
        test=len(dataset.test),
        split=spec.split,
        notes=tuple(dataset.notes),
        fingerprint=dataset.fingerprint,
        target_names=spec.target_names if len(spec.target_names) > 1 else None,
        target_std=scale.std if scale is not None and scale.common is None else None,
    )
