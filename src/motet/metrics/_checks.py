"""Input checks that several metrics share."""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from motet.errors import InputError
from motet.likelihoods import Categorical

# bfloat16, the coarsest format in use, keeps 8 bits: probabilities rounded to it still sum to 1 within 0.4 %.
_TOLERANCE = 0.01


def widen(values: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """Return the values in at least single precision, because sums in half precision lose significant digits."""
    return values.float() if values.element_size() < 4 else values


def check_logits(logits_BMC: Float[Tensor, "batch member out"]) -> None:
    """Check that the logits of every member define a distribution over at least one class in every row.

    Raises:
        InputError: if an axis is empty, or a row contains NaN or inf, or only -inf.
    """
    check_filled(logits_BMC)
    # Checking the largest logit is enough: it is NaN if any logit is NaN, inf if any is inf, -inf if all are -inf.
    bad_B = (~torch.isfinite(logits_BMC.amax(dim=-1))).any(dim=1)
    if bool(bad_B.any()):
        raise InputError(
            "logits must be finite or -inf, with at least one finite logit in every row",
            got=f"NaN, inf or only -inf in {int(bad_B.sum())} of {len(bad_B)} rows",
            fix="Check the inputs for NaN and infinities, or train with a lower learning rate",
        )


def check_probs(probs_BC: Float[Tensor, "batch out"]) -> None:
    """Check that every row is a distribution over at least one class.

    Raises:
        InputError: if an axis is empty, or a row contains NaN or a value outside [0, 1], or does not sum to 1.
    """
    check_filled(probs_BC)
    check_not_nan(probs_BC)
    low, high = float(probs_BC.min()), float(probs_BC.max())
    off = float((widen(probs_BC).sum(dim=-1) - 1).abs().max())
    if low < -_TOLERANCE or high > 1 + _TOLERANCE or off > _TOLERANCE:
        raise InputError(
            "probabilities must lie in [0, 1] and sum to 1 in every row",
            got=f"values from {low:.4g} to {high:.4g}, and a row whose sum differs from 1 by {off:.4g}",
            fix="Pass probabilities, not logits: logits.softmax(dim=-1)",
        )


def check_filled(outputs: Shaped[Tensor, "batch ..."]) -> None:
    """Check that no axis is empty, because a mean over nothing is undefined.

    Raises:
        InputError: if an axis is empty.
    """
    if outputs.numel() == 0:
        raise InputError(
            "a metric needs at least one row, one member and one output",
            got=f"outputs of shape {tuple(outputs.shape)}",
            fix="Check that the data set, or the selected part of it, is not empty",
        )


def check_not_nan(outputs: Float[Tensor, "batch ..."]) -> None:
    """Check that no row contains NaN.

    Raises:
        InputError: if a row contains NaN.
    """
    bad_B = outputs.isnan().flatten(1).any(dim=1)
    if bool(bad_B.any()):
        raise InputError(
            "outputs must not contain NaN",
            got=f"NaN in {int(bad_B.sum())} of {len(bad_B)} rows",
            fix="Check the inputs for NaN and infinities, or train with a lower learning rate",
        )


def check_labels(y_B: Shaped[Tensor, "..."], *, rows: int, classes: int) -> None:
    """Check that there is one integer from 0 to ``classes - 1`` for each row.

    Args:
        y_B: the labels, ``(B,)``.
        rows: the number of rows, B.
        classes: the number of classes.

    Raises:
        InputError: for labels that have another shape, are not integers or are out of range.
    """
    if y_B.shape != (rows,):
        raise InputError(
            f"{rows} rows need class labels of shape ({rows},)",
            got=f"labels of shape {tuple(y_B.shape)}",
            fix="Pass one class index for each row (for one-hot labels: y.argmax(dim=-1))",
        )
    Categorical().check_targets(y_B, outputs=classes)
