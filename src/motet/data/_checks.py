"""Check a split against its data set's specification."""

import torch
from jaxtyping import Shaped
from torch import Tensor

from motet._internal.nested import NestedInputs
from motet.data._spec import DataSpec, check_dtype
from motet.data.formats.image_files import ImageFiles
from motet.errors import InputError
from motet.likelihoods import Categorical


def check_inputs(
    name: str,
    inputs: Shaped[Tensor, "..."] | ImageFiles | NestedInputs,
    targets: Shaped[Tensor, "..."],
    *,
    spec: DataSpec,
    like: Tensor | ImageFiles | NestedInputs,
) -> None:
    """Check that the inputs of split `name` match its targets and `spec`.

    Args:
        name: the name of the split, for errors.
        inputs: must be ``(N, *input_shape)``.
        targets: must be ``(N, ...)``, on the same device.
        spec: the specification.
        like: the training inputs, whose scale (uint8 or floating-point) every split must have.

    Raises:
        InputError: if they do not.
    """
    rows = [each.shape[0] if each.ndim else 0 for each in (inputs, targets)]
    if rows[0] != rows[1] or not rows[0]:
        raise InputError(
            f"the {name} split needs at least one row, and as many inputs as targets",
            got=f"inputs of shape {tuple(inputs.shape)} and targets of shape {tuple(targets.shape)}",
            fix="Pass one target for each input, with rows along the first axis of both",
        )
    if inputs.device != targets.device:
        raise InputError(
            f"inputs and targets of the {name} split must be on one device",
            got=f"inputs on {inputs.device} and targets on {targets.device}",
            fix="Move both with dataset.to(device)",
        )
    if isinstance(inputs, NestedInputs):
        for part, tensor in zip(inputs.names, inputs.tensors, strict=True):
            _check_finite(f"the input {part!r} of the {name} split", tensor)
        return
    if inputs.shape[1:] != spec.input_shape:
        raise InputError(
            f"every row of {spec.name} must have input shape {spec.input_shape}",
            got=f"rows of shape {tuple(inputs.shape[1:])} in the {name} split",
            fix="Convert the inputs of all splits to one shape",
        )
    check_dtype(f"inputs of the {name} split", inputs)
    _check_axes(name, inputs)
    if not inputs.is_floating_point() and inputs.dtype != torch.uint8:
        return  # indices, such as token ids
    if (inputs.dtype == torch.uint8) != (like.dtype == torch.uint8):
        raise InputError(
            f"inputs of the {name} split must have the scale of the train split's, both uint8 or both floating-point",
            got=f"{str(inputs.dtype).removeprefix('torch.')} inputs",
            fix="Convert the inputs of all splits in the same way",
        )
    if not isinstance(inputs, ImageFiles):
        _check_finite(f"inputs of the {name} split", inputs)


def _check_finite(what: str, inputs: Tensor) -> None:
    # In float32, the network's type: a large float64 overflows there.
    bad = int((~torch.isfinite(inputs.to(torch.float32))).sum()) if inputs.is_floating_point() else 0
    if bad:
        raise InputError(
            f"{what} must be finite float32 numbers",
            got=f"{bad} NaN or infinite values among {inputs.numel()}",
            fix="Remove these rows, or fill in the values",
        )


_MOST_CHANNELS = 4


def _check_axes(name: str, inputs: Tensor | ImageFiles) -> None:
    """Check that inputs that look like images have their channels first."""
    row, pixels = tuple(inputs.shape[1:]), inputs.dtype == torch.uint8
    got = f"inputs of shape {tuple(inputs.shape)}"
    if len(row) == 3 and row[0] > _MOST_CHANNELS and row[2] in (1, 3, 4) and (pixels or row[0] == row[1]):
        raise InputError(
            f"images of the {name} split must have shape (N, channels, height, width)",
            got=f"{got}, whose last axis seems to be the channels",
            fix="Pass x.permute(0, 3, 1, 2)",
        )
    if len(row) == 2 and pixels:
        raise InputError(
            f"images of the {name} split must have shape (N, channels, height, width)",
            got=f"{got}, without an axis of channels",
            fix="Pass x.unsqueeze(1) for grey images, or floating-point numbers if they are not images",
        )


def check_targets(name: str, targets: Shaped[Tensor, "..."], *, spec: DataSpec) -> None:
    """Check that the targets of split `name` fit the task of `spec`: ``(N,)`` labels, ``(N, *P)`` labels of
    positions, or ``(N, C)``.

    Args:
        name: the name of the split, for errors.
        targets: the targets.
        spec: the specification.

    Raises:
        InputError: if they do not fit.
    """
    by_position = spec.task == "classification" and spec.ignored_label is not None
    likelihood = spec.likelihood
    if by_position:
        assert spec.ignored_label is not None
        likelihood = Categorical(class_axis=-1, ignore_index=spec.ignored_label)
    try:
        likelihood.check_targets(targets, outputs=spec.outputs)
    except InputError as error:
        raise InputError(f"in the {name} split, {error.requirement}", got=error.got, fix=error.fix) from None
    if by_position and bool(targets.eq(spec.ignored_label or 0).all()):
        raise InputError(
            f"the {name} split needs at least one label that is not ignored",
            got=f"only the label {spec.ignored_label}",
            fix="Remove examples without labels, or pass another ignored label",
        )
    axes = 1 if spec.task == "classification" else 2
    if targets.ndim != axes and not by_position:
        raise InputError(
            f"targets of the {name} split must have shape {'(N,)' if axes == 1 else '(N, C)'}",
            got=f"shape {tuple(targets.shape)}",
            fix="Convert one-hot rows to labels with y.argmax(dim=1)" if axes == 1 else "Flatten each row's targets",
        )
