"""A data set in memory: a specification and three checked splits."""

from dataclasses import dataclass, replace
from typing import Any, final

import torch
from jaxtyping import Shaped
from torch import Tensor

from motet._internal.nested import NestedInputs, is_nested, map_inputs
from motet.data._checks import check_inputs, check_targets
from motet.data._spec import DataSpec, Task
from motet.data.formats.image_files import ImageFiles
from motet.errors import InputError


@final
@dataclass(frozen=True, kw_only=True, eq=False)  # tensors cannot be compared to a single truth value
class Split:
    """The rows of one split, on one device.

    Attributes:
        inputs: ``(N, ...)``, uint8 or floating-point, not yet normalised; or integers ``(N, T)``, such as token ids; or
            image files that are decoded when they are indexed or split into batches; or several tensors.
        targets: ``(N,)`` int64 class labels, ``(N, *P)`` if there is one for each position, or ``(N, C)`` numbers.
            Those of a regression may be standardised, see `DataSpec.target_mean`, while predictions are in the targets'
            own units: `DataSpec.targets_in_own_units`.
    """

    inputs: Shaped[Tensor, "..."] | ImageFiles | NestedInputs
    targets: Shaped[Tensor, "..."]

    def __len__(self) -> int:
        """The number of rows."""
        return len(self.inputs)

    def __repr__(self) -> str:
        return f"Split({len(self)} rows of {tuple(self.inputs.shape[1:])})"

    @property
    def rows(self) -> Tensor | ImageFiles:
        """The inputs, which must be one tensor or images.

        Raises:
            InputError: if they are several tensors.
        """
        if isinstance(self.inputs, NestedInputs):
            raise InputError(
                "inputs that are compared, shifted or corrupted must be one tensor",
                got=f"inputs with {', '.join(self.inputs.names)}",
                fix="Evaluate the ensemble with predict and motet.metrics instead",
            )
        return self.inputs

    def to(self, device: torch.device | str) -> "Split":
        """The same rows on `device`."""
        return replace(self, inputs=self.inputs.to(device), targets=self.targets.to(device))


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """Training, validation and test rows, in memory or, for large images, in their files.

    Attributes:
        spec: shapes, task and normalisation.
        train: rows for training.
        validation: rows for choosing settings.
        test: rows for reported results.
        notes: notes for the user on how the data was read: rows and columns left out, files skipped.
        fingerprint: identifies the content of data from files; empty for other data.
    """

    spec: DataSpec
    train: Split
    validation: Split
    test: Split
    notes: tuple[str, ...] = ()
    fingerprint: str = ""

    def __repr__(self) -> str:
        """One line: name, task, sizes."""
        parts = ", ".join(f"{len(getattr(self, name)):,} {name}" for name in ("train", "validation", "test"))
        return f"Dataset({self.spec.name}: {self.spec.task_in_words}, inputs {self.spec.input_shape}, {parts})"

    @classmethod
    def from_tensors(
        cls,
        name: str,
        *,
        train: tuple[Any, Tensor],
        validation: tuple[Any, Tensor],
        test: tuple[Any, Tensor],
        outputs: int | None = None,
        class_names: tuple[str, ...] = (),
        mean: tuple[float, ...] = (),
        std: tuple[float, ...] = (),
        task: Task | None = None,
        target_mean: float | tuple[float, ...] = 0.0,
        target_std: float | tuple[float, ...] = 1.0,
        target_names: tuple[str, ...] = (),
        ignored_label: int | None = None,
    ) -> "Dataset":
        """Make a checked data set from your own tensors.

        Integer targets make a classification, floating-point targets a regression. Labels are stored as int64,
        regression targets of shape ``(N,)`` as ``(N, 1)``, and float64 becomes float32.

        Args:
            name: the name of the data set in reports.
            train: inputs ``(N, ...)``, uint8 or floating-point, or integers ``(N, T)`` such as token ids, or a tuple or
                dictionary of tensors; and targets: labels ``(N,)``, or real numbers ``(N,)`` or ``(N, C)``.
            validation: the same, for choosing settings.
            test: the same, for reported results.
            outputs: number of classes or targets. By default the number of `class_names` if there are any, otherwise
                the highest label of any split plus 1, or the width of the training targets.
            class_names: one name for each class.
            mean: subtracted from the inputs, as in `DataSpec`; nothing by default.
            std: divides the centred inputs; nothing by default.
            task: the kind of targets. By default integers are classes and floating-point numbers a regression;
                ``"counts"`` accepts both, with integer values of at least 0. ``"multilabel"`` accepts labels 0 and 1
                ``(N, K)`` of any type, with `class_names` for the K labels.
            target_mean, target_std: if you have standardised the targets of a regression, the numbers by which you did:
                predictions and scores are then in the targets' own units. One number, or one for each target.
            target_names: one name for each target of a regression or of counts.
            ignored_label: for labels ``(N, *P)``, one for each position of a row (pixel, token): the label of positions
                that do not count, -100 for example. None for labels ``(N,)``.

        Raises:
            InputError: for the errors of `check`, and for a specification that is inconsistent.
        """
        splits = {
            "train": own_split("train", *train),
            "validation": own_split("validation", *validation),
            "test": own_split("test", *test),
        }
        if task in ("counts", "multilabel"):
            splits = {name: _as_numbers(split) for name, split in splits.items()}
        first = splits["train"]
        regression = first.targets.is_floating_point()
        if outputs is None:
            outputs = len(class_names) or (_width(first.targets) if regression else _classes(splits, ignored_label))
        spec = DataSpec(
            name=name,
            input_shape=tuple(first.inputs.shape[1:]),
            input_names=first.inputs.names if isinstance(first.inputs, NestedInputs) else (),
            outputs=outputs,
            task=task or ("regression" if regression else "classification"),
            class_names=class_names,
            mean=mean,
            std=std,
            target_mean=target_mean,
            target_std=target_std,
            target_names=target_names,
            ignored_label=ignored_label,
        )
        dataset = cls(spec=spec, train=first, validation=splits["validation"], test=splits["test"])
        dataset.check()
        return dataset

    def to(self, device: torch.device | str) -> "Dataset":
        """The same dataset on `device`."""
        return replace(
            self, train=self.train.to(device), validation=self.validation.to(device), test=self.test.to(device)
        )

    def prepare(self, inputs: Any) -> Any:
        """Return the network's inputs ``(..., *input_shape)``: float32, normalised; see `DataSpec.prepare`."""
        return self.spec.prepare(inputs)

    def check(self) -> None:
        """Check every split against the specification. The loaders and `from_tensors` have already done so.

        Raises:
            InputError: naming the split, if it has no rows, if inputs and targets differ in their rows or device, if
                inputs have the wrong shape or dtype or are not finite, or if targets do not fit the task.
        """
        for name, split in (("train", self.train), ("validation", self.validation), ("test", self.test)):
            check_inputs(name, split.inputs, split.targets, spec=self.spec, like=self.train.inputs)
            check_targets(name, split.targets, spec=self.spec)
        if self.spec.task == "classification" and self.spec.outputs < 2:
            raise InputError(
                "a classification needs at least 2 classes",
                got=f"{self.spec.outputs} (every label is 0)",
                fix="Pass outputs=2 or more, or floating-point targets for a regression",
            )


def own_split(name: str, inputs: object, targets: object) -> Split:
    """Return a split of the user's tensors in the library's dtypes: int64 labels, ``(N, C)`` targets, no float64.

    Args:
        name: the name of the split, for errors.
        inputs: the inputs.
        targets: the targets.

    Raises:
        InputError: if they are not tensors.
    """
    if is_nested(inputs):
        inputs = NestedInputs.of(inputs)
    if not isinstance(inputs, Tensor | NestedInputs) or not isinstance(targets, Tensor):
        raise InputError(
            f"inputs and targets of the {name} split must be tensors",
            got=f"{type(inputs).__name__} and {type(targets).__name__}",
            fix="Convert them with torch.as_tensor",
        )
    if targets.is_floating_point():
        targets = targets.unsqueeze(1) if targets.ndim == 1 else targets
    elif not targets.is_complex() and targets.dtype != torch.bool:  # check_targets raises for these two
        targets = targets.long()
    return Split(inputs=map_inputs(inputs, _single), targets=_single(targets))


def _as_numbers(split: Split) -> Split:
    """Convert targets that are integers or booleans to numbers, ``(N, C)``."""
    y = split.targets
    if y.dtype not in (torch.int64, torch.bool):
        return split
    return Split(inputs=split.inputs, targets=(y.unsqueeze(1) if y.ndim == 1 else y).float())


def _single(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype == torch.float64 else tensor


def _width(targets: Tensor) -> int:
    return targets.shape[-1] if targets.ndim else 1


def _classes(splits: dict[str, Split], ignored: int | None) -> int:
    """Return the highest label plus 1. Splits without usable labels are left to `Dataset.check`."""
    labels = [split.targets for split in splits.values() if split.targets.dtype == torch.int64]
    labels = labels if ignored is None else [y[y != ignored] for y in labels]
    return max(1, 1 + max((int(y.max()) for y in labels if y.numel()), default=0))
