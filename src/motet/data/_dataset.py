"""A dataset as tensors in memory: a specification and three checked splits."""

from dataclasses import dataclass, replace
from typing import final

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from motet.data._checks import check_inputs, check_targets
from motet.data._spec import DataSpec, Task
from motet.data.formats.image_files import ImageFiles
from motet.errors import InputError


@final
@dataclass(frozen=True, kw_only=True, eq=False)  # tensors have no single truth value to compare by
class Split:
    """The rows of one split, on one device.

    Attributes:
        inputs: ``(N, ...)``, uint8 or floating-point, not yet normalised; or image files that are decoded when they
            are indexed or split into batches.
        targets: ``(N,)`` int64 class labels, or ``(N, C)`` real targets.
    """

    inputs: Shaped[Tensor, "..."] | ImageFiles
    targets: Shaped[Tensor, "..."]

    def __len__(self) -> int:
        """Number of rows."""
        return len(self.inputs)

    def to(self, device: torch.device | str) -> "Split":
        """The same rows on `device`."""
        return replace(self, inputs=self.inputs.to(device), targets=self.targets.to(device))


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """Training, validation and test rows, whole in memory or, for large images, in their files.

    Attributes:
        spec: shapes, task and normalisation.
        train: rows to learn from.
        validation: rows to choose settings by.
        test: rows to report on.
        notes: what the user should know of how the data was read: rows and columns left out, files skipped.
        fingerprint: tells these data from others under the same name, where they come from files; empty elsewhere.
    """

    spec: DataSpec
    train: Split
    validation: Split
    test: Split
    notes: tuple[str, ...] = ()
    fingerprint: str = ""

    @classmethod
    def from_tensors(
        cls,
        name: str,
        *,
        train: tuple[Tensor, Tensor],
        validation: tuple[Tensor, Tensor],
        test: tuple[Tensor, Tensor],
        outputs: int | None = None,
        class_names: tuple[str, ...] = (),
        mean: tuple[float, ...] = (),
        std: tuple[float, ...] = (),
        task: Task | None = None,
    ) -> "Dataset":
        """A dataset from your own tensors, checked.

        Integer targets make a classification, floating-point targets a regression. Labels are kept as int64,
        regression targets of shape ``(N,)`` as ``(N, 1)``, and float64 becomes float32.

        Args:
            name: what reports call the dataset.
            train: inputs ``(N, ...)``, uint8 or floating-point, and targets: labels ``(N,)``, or real numbers ``(N,)``
                or ``(N, C)``.
            validation: the same, for the rows to choose settings by.
            test: the same, for the rows to report on.
            outputs: number of classes or targets. By default as many as there are `class_names`, else the highest
                label of any split plus 1, or the width of the training targets.
            class_names: one name a class.
            mean: what to subtract from the inputs, as in `DataSpec`; by default nothing.
            std: what to divide the centred inputs by; by default nothing.
            task: what the targets are. By default integers are classes and floating-point numbers a regression;
                ``"counts"`` takes either, whole numbers from 0.

        Raises:
            InputError: whatever `check` finds, or a specification that does not fit together.
        """
        splits = {
            "train": own_split("train", *train),
            "validation": own_split("validation", *validation),
            "test": own_split("test", *test),
        }
        if task == "counts":
            splits = {name: _as_counts(split) for name, split in splits.items()}
        first = splits["train"]
        regression = first.targets.is_floating_point()
        if outputs is None:
            outputs = len(class_names) or (_width(first.targets) if regression else _classes(splits))
        spec = DataSpec(
            name=name,
            input_shape=tuple(first.inputs.shape[1:]),
            outputs=outputs,
            task=task or ("regression" if regression else "classification"),
            class_names=class_names,
            mean=mean,
            std=std,
        )
        dataset = cls(spec=spec, train=first, validation=splits["validation"], test=splits["test"])
        dataset.check()
        return dataset

    def to(self, device: torch.device | str) -> "Dataset":
        """The same dataset on `device`."""
        return replace(
            self, train=self.train.to(device), validation=self.validation.to(device), test=self.test.to(device)
        )

    def prepare(self, inputs: Shaped[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
        """Inputs ``(..., *input_shape)`` as the network takes them: float32, normalised; see `DataSpec.prepare`."""
        return self.spec.prepare(inputs)

    def check(self) -> None:
        """Check every split against the specification. The loaders and `from_tensors` have done so.

        Raises:
            InputError: naming the split, when it has no rows, inputs and targets differ in their rows or device,
                inputs have the wrong shape or dtype or are not finite, or targets do not fit the task.
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
    """A split of the user's tensors in the library's dtypes: int64 labels, ``(N, C)`` targets, no float64."""
    if not isinstance(inputs, Tensor) or not isinstance(targets, Tensor):
        raise InputError(
            f"inputs and targets of the {name} split must be tensors",
            got=f"{type(inputs).__name__} and {type(targets).__name__}",
            fix="Convert them with torch.as_tensor",
        )
    if targets.is_floating_point():
        targets = targets.unsqueeze(1) if targets.ndim == 1 else targets
    elif not targets.is_complex() and targets.dtype != torch.bool:  # check_targets refuses those two
        targets = targets.long()
    return Split(inputs=_single(inputs), targets=_single(targets))


def _as_counts(split: Split) -> Split:
    """Integer targets as numbers, ``(N, C)``."""
    y = split.targets
    if y.dtype != torch.int64:
        return split
    return Split(inputs=split.inputs, targets=(y.unsqueeze(1) if y.ndim == 1 else y).float())


def _single(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype == torch.float64 else tensor


def _width(targets: Tensor) -> int:
    return targets.shape[-1] if targets.ndim else 1


def _classes(splits: dict[str, Split]) -> int:
    """The highest label plus 1. Splits without usable labels are left to `Dataset.check`."""
    labels = [split.targets for split in splits.values() if split.targets.dtype == torch.int64]
    return max(1, 1 + max((int(y.max()) for y in labels if y.numel()), default=0))
