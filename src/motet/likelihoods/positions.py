"""The shapes of outputs with positions, and of their targets."""

from collections.abc import Sequence

from torch import Tensor

from motet.errors import InputError
from motet.likelihoods.base import Likelihood


def targets_last(y: Tensor, positions: Sequence[int], likelihood: Likelihood, *, batch_axes: int = 1) -> Tensor:
    """Return targets with several numbers, or class probabilities, at each position in the order ``(B, *P, K)``.

    The axis of the numbers may be where the model's output has that of its classes, or last; if both are possible, it
    is where the model's output has it. Labels and single numbers ``(B, *P)`` are not changed.

    Args:
        y: targets.
        positions: the sizes P of the outputs' positions.
        likelihood: says where the classes are.
        batch_axes: 2 for targets ``(B, M, ...)``.
    """
    axis, own, axes = likelihood.output_axis, list(y.shape[batch_axes:]), len(positions)
    is_label = likelihood.target_kind == "class" and not y.is_floating_point()
    if axis is None or is_label or len(own) != axes + 1:
        return y
    at = axis - 1 if axis > 0 else axes + 1 + axis
    if not 0 <= at <= axes or own[:at] + own[at + 1 :] != list(positions):
        return y
    return y.movedim(batch_axes + at, -1)


def check_positions(y: Tensor, outputs: Tensor, likelihood: Likelihood) -> None:
    """Check that there is one target for each position.

    Args:
        y: targets, ``(B, *P)``, or ``(B, *P, C)`` probabilities or ``(B, *P, K)`` numbers, for any number of rows B.
        outputs: outputs ``(B, M, *P, C)``.
        likelihood: the distribution of the targets at one position.

    Raises:
        InputError: for targets of another shape.
    """
    positions, classes = tuple(outputs.shape[2:-1]), outputs.shape[-1]
    own = tuple(y.shape[1:])
    several = likelihood.target_kind != "class" or (y.is_floating_point() and own[-1:] == (classes,))
    if own == positions or (several and own[:-1] == positions):
        return
    shape = ", ".join(("batch", *map(str, positions)))
    kind = "classes" if likelihood.target_kind == "class" else "numbers"
    raise InputError(
        f"targets for outputs of {classes} {kind} at positions {positions} must have shape ({shape}), one "
        f"{'label' if likelihood.target_kind == 'class' else 'target'} for each position",
        got=f"targets of shape {tuple(y.shape)}",
        fix="Pass labels of the positions that the model predicts; class_axis says which axis of its output is not one",
    )


def scored_rows(likelihood: Likelihood, y: Tensor, *, axes: int = 1) -> Tensor | None:
    """Return which rows count; None if all do.

    Args:
        likelihood: says which labels count.
        y: targets ``(N)`` or ``(N, K)``; with two `axes` ``(N, M)`` or ``(N, M, K)``, and so on.
        axes: the number of axes of the result.
    """
    scored = likelihood.is_scored(y)
    if scored is not None and scored.ndim > axes:
        scored = scored.any(dim=-1)
    return None if scored is None or bool(scored.all()) else scored


def check_same_positions(outputs: Sequence[Tensor]) -> None:
    """Check that all batches have the same positions.

    Args:
        outputs: the batches' outputs, ``(B, M, *P, C)``.

    Raises:
        InputError: if they differ, such as texts that were padded to the longest of each batch.
    """
    shapes = {tuple(each.shape[2:-1]) for each in outputs}
    if len(shapes) > 1:
        raise InputError(
            "all batches of one prediction must have the same positions",
            got=f"outputs at positions {' and '.join(map(str, sorted(shapes)))}",
            fix="Pad all examples to one size, or predict batch by batch and add up scores with "
            "motet.metrics.RunningScores",
        )
