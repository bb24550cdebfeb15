"""What a dataset's rows are, apart from the rows themselves."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, final

import torch
from jaxtyping import Float, Shaped, UInt8
from torch import Tensor

from motet.data.formats.image_files import ImageFiles
from motet.errors import InputError
from motet.likelihoods import Categorical, Gaussian, Likelihood, Poisson

Task = Literal["classification", "regression", "counts"]
_IN_THE_TARGETS_UNIT = ("rmse", "member_rmse", "crps", "member_crps", "interval_width")


@final
@dataclass(frozen=True, kw_only=True)
class DataSpec:
    """The shape of a dataset's rows, what its targets mean, and how its inputs are normalised.

    Attributes:
        name: what reports call the dataset.
        input_shape: shape of one row's input, channels first: ``(1, 8, 8)`` for grey images, ``(13,)`` for 13 features.
        outputs: number of classes, or of targets a row in regression and of counts.
        task: whether the targets are class labels, real numbers, or counts: whole numbers from 0, never standardised.
        class_names: one name a class, or none.
        mean: subtracted from the inputs: one number, or one a channel (the first axis of `input_shape`); empty means 0.
            For uint8 inputs it is on the scale from 0 to 1, that is, after their division by 255.
        std: what the centred inputs are then divided by, on the same scale; empty means 1.
        feature_names: what each of a table's features is, or none.
        target_mean: what was subtracted from regression targets before they were stored.
        target_std: what they were then divided by. Errors in the targets' own unit are this times those of the stored.
        split: how the splits came to be, in words.
        full_scale: of images stored as floats from 0, the value of a full pixel, to tell how they look in uint8; 0
            where inputs are uint8 already, or no images.

    Raises:
        InputError: on construction, when those do not fit together.
    """

    name: str
    input_shape: tuple[int, ...]
    outputs: int
    task: Task
    class_names: tuple[str, ...] = ()
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    feature_names: tuple[str, ...] = ()
    target_mean: float = 0.0
    target_std: float = 1.0
    split: str = ""
    full_scale: float = 0.0

    def __post_init__(self) -> None:
        if not self.input_shape or min(self.input_shape) < 1:
            raise InputError(
                "one row's input needs at least one axis, and no axis of size 0",
                got=f"rows of shape {self.input_shape}",
                fix="Give a single feature an axis of its own with inputs.unsqueeze(1)",
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
                fix="Pass one name a class, in the order of the labels",
            )
        for field, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in (0, 1, self.input_shape[0]) or not all(map(math.isfinite, values)):
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

        if self.task == "counts" and (self.target_mean, self.target_std) != (0.0, 1.0):
            raise InputError(
                "counts are never standardised",
                got=f"target_mean={self.target_mean:g}, target_std={self.target_std:g}",
                fix="Leave both out, and store the counts as they are",
            )
        if not (math.isfinite(self.target_mean) and math.isfinite(self.target_std) and self.target_std > 0):
            raise InputError(
                "target_mean must be finite, and target_std finite and above 0",
                got=f"target_mean={self.target_mean:g}, target_std={self.target_std:g}",
                fix="Compute them from the training targets; leave out a target that never varies",
            )

    def in_own_units(self, scores: Mapping[str, float]) -> dict[str, float]:
        """Regression scores of the stored targets, in the unit that the targets had before they were standardised.

        A density of ``y / s`` is s times that of ``y``: ``log s`` nats more for each target. Errors, the CRPS and the
        width of intervals are s times larger; the coverage stays. Scores of a classification, of counts, and of targets
        that were not standardised, are what they were.
        """
        shift = self.outputs * math.log(self.target_std)
        factors = dict.fromkeys(_IN_THE_TARGETS_UNIT, self.target_std)
        shifts = {"nll": shift, "member_nll": shift} if self.task == "regression" else {}
        return {name: value * factors.get(name, 1.0) + shifts.get(name, 0.0) for name, value in scores.items()}

    def to_bytes(self, inputs: Shaped[Tensor, "*axes"]) -> UInt8[Tensor, "*axes"]:
        """Images in uint8, 0 to 255: floats from 0 to `full_scale` are rounded to the nearest, others are as they were.

        Raises:
            InputError: for floats where `full_scale` is not known.
        """
        if inputs.dtype == torch.uint8:
            return inputs
        if self.full_scale <= 0:
            raise InputError(
                "images must be uint8, from 0 to 255, or floats of a known full_scale: severities are defined on "
                "that scale",
                got=f"{str(inputs.dtype).removeprefix('torch.')} inputs of {self.name}",
                fix="Convert images from 0 to 1 with (255 * x).round().to(torch.uint8), before any normalisation",
            )
        return (inputs * (255.0 / self.full_scale)).round().clamp(0, 255).to(torch.uint8)

    def from_bytes(self, images: UInt8[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
        """Images in uint8 as floats from 0 to `full_scale`; to uint8 and back moves a value by half a step at most."""
        return images.to(torch.float32) * (self.full_scale / 255.0)

    @property
    def likelihood(self) -> Likelihood:
        """What the stored targets are: `Categorical` for classes, `Gaussian` for real numbers, `Poisson` for counts.

        Networks may be trained under others that take such targets: see `motet.experiments.likelihood_for`.
        """
        return {"classification": Categorical(), "regression": Gaussian(), "counts": Poisson()}[self.task]

    def prepare(self, inputs: Shaped[Tensor, "*axes"]) -> Float[Tensor, "*axes"]:
        """Inputs as the network takes them: ``(x - mean) / std`` in float32, on the inputs' own device.

        Args:
            inputs: ``(..., *input_shape)``: any leading axes. uint8 is first divided by 255; floats are taken to be on
                the scale of `mean` and `std` already.

        Raises:
            InputError: when the trailing axes are not `input_shape`, or the dtype is neither uint8 nor floating.
        """
        check_dtype("inputs", inputs)
        if inputs.shape[-len(self.input_shape) :] != self.input_shape:
            raise InputError(
                f"inputs for {self.name} must end in the axes {self.input_shape}",
                got=f"inputs of shape {tuple(inputs.shape)}",
                fix="Reshape them, or give a single row a leading axis with inputs.unsqueeze(0)",
            )
        unit = 255.0 if inputs.dtype == torch.uint8 else 1.0
        trailing = len(self.input_shape) - 1
        prepared = inputs.to(torch.float32)
        if self.mean:
            prepared = prepared - _per_channel(self.mean, unit, trailing, inputs.device)
        return prepared / _per_channel(self.std or (1.0,), unit, trailing, inputs.device)


def check_dtype(what: str, inputs: Tensor | ImageFiles) -> None:
    """Raise `InputError`, calling the inputs `what`, unless they are uint8 or floating-point."""
    if inputs.dtype != torch.uint8 and not inputs.is_floating_point():
        raise InputError(
            f"{what} must be uint8 (0 to 255) or floating-point",
            got=f"inputs of {str(inputs.dtype).removeprefix('torch.')}",
            fix="Convert them with inputs.float(), on the scale of the dataset's mean and std",
        )


@lru_cache(maxsize=64)
def _per_channel(values: tuple[float, ...], unit: float, trailing: int, device: torch.device) -> Tensor | float:
    """`values` times `unit`, shaped to broadcast over the channels' `trailing` axes.

    Kept, since a tensor made anew for each batch would make the host wait for the device each time.
    """
    if len(values) == 1:
        return values[0] * unit
    # A tensor made in inference mode could not serve a later backward pass.
    with torch.inference_mode(False):
        scaled = [value * unit for value in values]
        return torch.tensor(scaled, dtype=torch.float32, device=device).view(-1, *(1,) * trailing)


def _brief(values: Iterable[float], most: int = 8) -> str:
    """The first few of many numbers."""
    listed = list(values)
    return f"({', '.join(f'{value:g}' for value in listed[:most])}{', ...' if len(listed) > most else ''})"
