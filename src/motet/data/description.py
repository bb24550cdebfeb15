"""What records say of a data set."""

from typing import final

from motet._internal.typed_records import Count, record
from motet.data._dataset import Dataset
from motet.data._spec import Task


@final
@record
class DataDescription:
    """A data set as records and reports describe it. Fields with a default are missing in records of older versions.

    Attributes:
        name: as in `motet.data.load`.
        task: what is predicted.
        classes: number of outputs: classes, labels, or targets.
        class_names: in the order of the labels; empty where they have no names.
        input_shape: one input's, without the batch axis.
        train, validation, test: rows of each split.
        split: how the rows were split, in words.
        notes: what the user should know of the data.
        fingerprint: hash of the data's values; empty if unknown.
    """

    name: str
    task: Task
    classes: Count
    class_names: tuple[str, ...] = ()
    input_shape: tuple[Count, ...] = ()
    train: Count
    validation: Count
    test: Count
    split: str = ""
    notes: tuple[str, ...] = ()
    fingerprint: str = ""


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
