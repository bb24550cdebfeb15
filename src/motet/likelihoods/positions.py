"""The shape of the targets of outputs with positions."""

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
    raise InputError(
        f"targets for {classes} classes at positions {positions} must have shape {('batch', *positions)}, "
        "one label for each position".replace("'batch'", "batch"),
        got=f"targets of shape {tuple(y.shape)}",
        fix="Pass labels of the positions that the model predicts; class_axis says which axis of its output is not one",
    )
