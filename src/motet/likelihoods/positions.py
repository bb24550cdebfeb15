"""The shapes of outputs with positions, and of their targets."""

from collections.abc import Sequence

from torch import Tensor

from motet.errors import InputError


def check_positions(y: Tensor, outputs: Tensor) -> None:
    """Check that there is one target for each position.

    Args:
        y: targets, ``(B, *P)`` labels or ``(B, *P, C)`` probabilities, for any number of rows B.
        outputs: outputs ``(B, M, *P, C)``.

    Raises:
        InputError: for targets of another shape.
    """
    positions, classes = tuple(outputs.shape[2:-1]), outputs.shape[-1]
    own = tuple(y.shape[1:])
    if own == positions or (y.is_floating_point() and own == (*positions, classes)):
        return
    shape = ", ".join(("batch", *map(str, positions)))
    raise InputError(
        f"targets for outputs of {classes} classes at positions {positions} must have shape ({shape}), one label for "
        "each position",
        got=f"targets of shape {tuple(y.shape)}",
        fix="Pass labels of the positions that the model predicts; class_axis says which axis of its output is not one",
    )


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
