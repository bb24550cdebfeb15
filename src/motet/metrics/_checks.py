"""What the metrics require of their inputs, said once."""

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from motet.errors import InputError
from motet.likelihoods import Categorical

# bfloat16, the coarsest format in use, keeps 8 bits: probabilities rounded to it still sum to 1 within 0.4 %.
_TOLERANCE = 0.01


def widen(values: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
    """The values in at least single precision: sums in half precision lose the digits that are compared."""
    return values.float() if values.element_size() < 4 else values


def check_logits(logits_BMC: Float[Tensor, "batch member out"]) -> None:
    """Raise `InputError` unless every row of every member is a distribution over at least one class."""
    check_filled(logits_BMC)
    # The largest logit says all: NaN if one is NaN, inf if one is, -inf if there is no class left.
    bad_B = (~torch.isfinite(logits_BMC.amax(dim=-1))).any(dim=1)
    if bool(bad_B.any()):
        raise InputError(
            "logits must be finite or -inf, with a finite one in every row",
            got=f"NaN, inf or nothing but -inf in {int(bad_B.sum())} of {len(bad_B)} rows",
            fix="Look for inputs that are not finite, or train with a lower learning rate",
        )


def check_probs(probs_BC: Float[Tensor, "batch out"]) -> None:
    """Raise `InputError` unless every row is a distribution over at least one class."""
    check_filled(probs_BC)
    check_not_nan(probs_BC)
    low, high = float(probs_BC.min()), float(probs_BC.max())
    off = float((widen(probs_BC).sum(dim=-1) - 1).abs().max())
    if low < -_TOLERANCE or high > 1 + _TOLERANCE or off > _TOLERANCE:
        raise InputError(
            "probabilities must lie in [0, 1] and sum to 1 in every row",
            got=f"values from {low:.4g} to {high:.4g}, and a row whose sum is off by {off:.4g}",
            fix="Pass probabilities, not logits: logits.softmax(dim=-1)",
        )


def check_filled(outputs: Shaped[Tensor, "batch ..."]) -> None:
    """Raise `InputError` if an axis is empty: a mean over nothing has no value."""
    if outputs.numel() == 0:
        raise InputError(
            "a metric needs at least one row, one member and one output",
            got=f"outputs of shape {tuple(outputs.shape)}",
            fix="Check that the data set, or the selection from it, is not empty",
        )


def check_not_nan(outputs: Float[Tensor, "batch ..."]) -> None:
    """Raise `InputError` if a row holds NaN."""
    bad_B = outputs.isnan().flatten(1).any(dim=1)
    if bool(bad_B.any()):
        raise InputError(
            "outputs must not be NaN",
            got=f"NaN in {int(bad_B.sum())} of {len(bad_B)} rows",
            fix="Look for inputs that are not finite, or train with a lower learning rate",
        )


def check_labels(y_B: Shaped[Tensor, "..."], *, rows: int, classes: int) -> None:
    """Raise `InputError` unless there is one whole number from 0 to ``classes - 1`` a row."""
    if y_B.shape != (rows,):
        raise InputError(
            f"{rows} rows need class labels of shape ({rows},)",
            got=f"labels of shape {tuple(y_B.shape)}",
            fix="Pass one class number a row (one-hot labels: y.argmax(dim=-1))",
        )
    Categorical().check_targets(y_B, outputs=classes)
