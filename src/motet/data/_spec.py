"""`DataSpec`: the shape, task and normalisation of a data set."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Literal, final

import torch
from jaxtyping import Float, Shaped, UInt8
from torch import Tensor

from motet._internal.nested import NestedInputs
from motet.data.formats.image_files import ImageFiles
from motet.errors import InputError
from motet.likelihoods import Bernoulli, Categorical, Gaussian, Likelihood, Poisson
from motet.likelihoods.target_scale import TargetScale

Task = Literal["classification", "multilabel", "regression", "counts"]

_LIKELIHOODS: dict[Task, Likelihood] = {
    "classification": Categorical(),
    "multilabel": Bernoulli(),
    "regression": Gaussian(),
    "counts": Poisson(),
}
_PLAIN = {"classification": "classes", "multilabel": "binary labels", "regression": "numbers", "counts": "counts"}


@final
@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """The shape of a data set's rows, the meaning of its targets, and the normalisation of its inputs.

    Attributes:
        name: the name of the data set in reports.
        input_shape: shape of one row's input, channels first: ``(1, 8, 8)`` for grey images, ``(13,)`` for 13 features;
            ``()`` for several tensors.
        outputs: number of classes, or of targets per row for the other tasks.
        task: whether the targets are class labels, several binary labels (multilabel), real numbers (regression), or
            counts: integers of at least 0, never standardised.
        class_names: one name for each class, or for each binary label; or none.
        mean: subtracted from the inputs: one number, or one for each channel (the first axis of `input_shape`); empty
            means 0. For uint8 inputs it is on the scale from 0 to 1, after division by 255.
        std: divides the centred inputs, on the same scale; empty means 1.
        feature_names: the names of a table's features, or none.
        target_mean: the number subtracted from regression targets before they were stored, or one for each target.
        target_std: the number that they were then divided by, or one for each target. Errors in a target's own unit are
            this times those of the stored target.
        target_names: the names of the targets of a regression or of counts, or none.
        split: how the splits were made, in words.
        input_names: the names of the tensors of a tuple or dictionary; empty if the input is one tensor.
        full_scale: for images stored as floats from 0, the value of a full pixel, for their conversion to uint8; 0 for
            uint8 inputs, and for inputs that are not images.
        ignored_label: for a classification with one label for each position of a row (pixel, token), the label of
            positions that do not count; None if each row has one label.

    Raises:
        InputError: on construction, if these are inconsistent.
    """

    name: str
    input_shape: tuple[int, ...]
    outputs: int
    task: Task
    class_names: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    feature_names: tuple[str, ...] = ()
    target_mean: float | tuple[float, ...] = 0.0
    target_std: float | tuple[float, ...] = 1.0
    split: str = ""
    full_scale: float = 0.0
    target_names: tuple[str, ...] = ()
    input_names: tuple[str, ...] = ()
    ignored_label: int | None = None

    def __post_init__(self) -> None:
        if not self.input_names and (not self.input_shape or min(self.input_shape) < 1):
            raise InputError(
                "one row's input needs at least one axis, and no axis of size 0",
                got=f"rows of shape {self.input_shape}",
                fix="Give a single feature its own axis with inputs.unsqueeze(1)",
            )
        if self.outputs < 1:
            raise InputError(
                "outputs must be at least 1",
                got=f"outputs={self.outputs}",
                fix="Pass the number of classes, or of targets in regression",
            )
        if len(self.class_names) not in (0, self.outputs):
            raise InputError(
                f"class_names must name each of the {self.outputs} classes, or none",
                got=f"{len(self.class_names)} names",
                fix="Pass one name for each class, in the order of the labels",
            )
        if len(self.target_names) not in (0, self.outputs):
            raise InputError(
                f"target_names must name each of the {self.outputs} targets, or none",
                got=f"{len(self.target_names)} names",
                fix="Pass one name for each target, in the order of the columns",
            )
        for field, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (0, 1, *self.input_shape[:1]) or not all(map(math.isfinite, values)):
                raise InputError(
                    f"{field} must hold one finite number, or one for each of the {self.input_shape[0]} channels",
                    got=f"{field}={_brief(values)}",
                    fix="Compute it from the training inputs, over every axis except the channels'",
                )
        if not all(value > 0 for value in self.std):
            raise InputError(
                "std must be above 0",
                got=f"std={_brief(self.std)}",
                fix="Pass 1.0 for channels that never vary, or drop them",
            )

        if self.task != "regression" and (self.target_mean, self.target_std) != (0.0, 1.0):
            raise InputError(
                f"{_PLAIN[self.task]} are never standardised",
                got=f"target_mean={self.target_mean}, target_std={self.target_std}",
                fix="Leave both out, and store the targets unchanged",
            )
        scale = self.target_scale
        if scale is not None and len(scale.mean) not in (1, self.outputs):
            raise InputError(
                f"target_mean and target_std must hold one number, or one for each of the {self.outputs} targets",
                got=f"{len(scale.mean)} numbers",
                fix="Compute them from the training targets, over the rows",
            )

    @property
    def task_in_words(self) -> str:
        """The task, for messages: "a regression", for example."""
        return {"classification": "a classification", "regression": "a regression"}.get(self.task, _PLAIN[self.task])

    @property
    def target_scale(self) -> TargetScale | None:
        """`target_mean` and `target_std`; None if the targets are stored in their own units."""
        return TargetScale.of(self.target_mean, self.target_std)

    def targets_in_own_units(self, targets: Shaped[Tensor, "rows ..."]) -> Shaped[Tensor, "rows ..."]:
        """Return targets of a split in their own units, those of `Prediction.mean`.

        Args:
            targets: `Split.targets`. Targets that are not standardised are returned unchanged.
        """
        return targets if self.target_scale is None else self.target_scale.restore(targets)

    def in_own_units(self, scores: Mapping[str, float]) -> dict[str, float]:
        """Convert scores of the stored regression targets to the original unit of the targets.

        Predictions of an ensemble that was trained with `motet.fit`, and those of `motet.evaluation.predict_split`, are
        in that unit already, and so are their scores. This is for scores of stored targets, which have no
        `Prediction.target_scale`.

        Dividing targets by s multiplies their density by s. In the original unit the NLL is therefore ``log s`` nats
        larger for each target. Errors, the CRPS and the width of intervals are s times larger; the coverage does not
        change. With a separate s for each of several targets they stay in standard deviations, see
        `motet.metrics.score`. Scores of other tasks, and of targets that were not standardised, do not change.
        """
        scale = self.target_scale
        return dict(scores) if scale is None else scale.in_own_units(scores, targets=self.outputs)

    def to_bytes(self, inputs: Shaped[Tensor, "*axes"]) -> UInt8[Tensor, "*axes"]:
        """Return images in uint8, 0 to 255: floats from 0 to `full_scale` are rounded to the nearest; uint8 is not
        changed.

        Raises:
            InputError: for floats if `full_scale` is unknown.
        """
        if inputs.dtype == torch.uint8:
            return inputs
        if self.full_scale <= 0:
            raise InputError(
                "images must be uint8, from 0 to 255, or floats with a known full_scale, because severities "
                "are defined on that scale",
                got=f"{str(inputs.dtype).removeprefix('torch.')} inputs of {self.name}",
                fix="Convert images from 0 to 1 with (255 * x).round().to(torch.uint8), before any normalisation",
            )
        return (inputs * (255.0 / self.full_scale)).round().clamp(0, 255).to(torch.uint8)

    def from_bytes(self, images: UInt8[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
        """Return uint8 images as floats from 0 to `full_scale`; a round trip changes values by at most half a step."""
        return images.to(torch.float32) * (self.full_scale / 255.0)

    @property
    def likelihood(self) -> Likelihood:
        """The default likelihood of the stored targets: `Categorical` for classes, `Bernoulli` for binary labels,
        `Gaussian` for real numbers, `Poisson` for counts.

        Networks may be trained with other likelihoods for such targets: see `motet.experiments.likelihood_for`.
        """
        return _LIKELIHOODS[self.task]

    def prepare(self, inputs: Any) -> Any:
        """Return the network's inputs: ``(x - mean) / std`` in float32, on the inputs' device.

        Args:
            inputs: ``(..., *input_shape)``: any leading axes. uint8 is first divided by 255; floats must already be on
                the scale of `mean` and `std`. Rows of integers (token ids), and the tensors of a tuple or dictionary,
                are returned unchanged.

        Raises:
            InputError: if the trailing axes are not `input_shape`, or if the dtype is neither uint8 nor floating-point.
        """
        if isinstance(inputs, NestedInputs):
            return inputs
        check_dtype("inputs", inputs)
        if inputs.shape[-len(self.input_shape) :] != self.input_shape:
            raise InputError(
                f"inputs for {self.name} must end in the axes {self.input_shape}",
                got=f"inputs of shape {tuple(inputs.shape)}",
                fix="Reshape them, or give a single row a leading axis with inputs.unsqueeze(0)",
            )
        if not inputs.is_floating_point() and inputs.dtype != torch.uint8:
            return inputs
        unit = 255.0 if inputs.dtype == torch.uint8 else 1.0
        trailing = len(self.input_shape) - 1
        prepared = inputs.to(torch.float32)
        if self.mean:
            prepared = prepared - _per_channel(self.mean, unit, trailing, inputs.device)
        return prepared / _per_channel(self.std or (1.0,), unit, trailing, inputs.device)


def check_dtype(what: str, inputs: Tensor | ImageFiles) -> None:
    """Check the dtype of inputs, which errors call `what`.

    Raises:
        InputError: unless it is uint8 or floating-point, or rows of integers.
    """
    if inputs.dtype in (torch.int32, torch.int64) and inputs.ndim == 2:
        return  # token ids, one row for each example
    if inputs.dtype != torch.uint8 and not inputs.is_floating_point():
        raise InputError(
            f"{what} must be uint8 (0 to 255) or floating-point",
            got=f"inputs of {str(inputs.dtype).removeprefix('torch.')}",
            fix="Convert them with inputs.float(), on the scale of the dataset's mean and std",
        )


@lru_cache(maxsize=64)
def _per_channel(values: tuple[float, ...], unit: float, trailing: int, device: torch.device) -> Tensor | float:
    """Return `values` times `unit`, shaped to broadcast over the channels' `trailing` axes.

    The result is cached, because a new tensor for each batch would synchronise with the device each time.
    """
    if len(values) == 1:
        return values[0] * unit
    # A tensor made in inference mode could not be used in a later backward pass.
    with torch.inference_mode(False):
        scaled = [value * unit for value in values]
        return torch.tensor(scaled, dtype=torch.float32, device=device).view(-1, *(1,) * trailing)


def _brief(values: Iterable[float], most: int = 8) -> str:
    """Return the first few of many numbers."""
    listed = list(values)
    return f"({', '.join(f'{value:g}' for value in listed[:most])}{', ...' if len(listed) > most else ''})"
