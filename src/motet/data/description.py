"""What records say of a data set."""

from typing import final

from motet._internal.typed_records import Count, record
from motet.data._dataset import Dataset
from motet.data._spec import Task


@final
@record
class DataDescription:
    """A data set, for records and reports. None where an older version of motet did not record it.

    Attributes:
        name: of the dataset.
        task: classification, regression or counts.
        classes: how many outputs the task needs: classes, or targets.
        class_names: names of the classes; empty for other tasks.
        input_shape: of one example.
        train, validation, test: how many rows each split has.
        split: how it was split, in words; empty if that needs none.
        notes: what the user should know about it.
        fingerprint: of its files; empty where they cannot change.
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


def describe(dataset: Dataset) -> DataDescription:
    """A dataset's name, task, classes, sizes and fingerprint, for records and reports."""
    spec = dataset.spec
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
    )
