"""Outputs with positions: the pixels of an image, the tokens of a text.

The model's classes are on the axis that the likelihood names (`motet.likelihoods.Likelihood.output_axis`). Inside the
library they are last, ``(B, M, *P, C)`` with positions ``*P``. Objectives get rows ``(B *P, M, C)``: every position is
one row of them, while groupings and batches count examples.
"""

from dataclasses import dataclass
from typing import final

from jaxtyping import Float, Shaped
from torch import Tensor

from motet.errors import InputError
from motet.likelihoods import Likelihood
from motet.types import Batch


def classes_last(out_rows: Float[Tensor, "rows ..."], likelihood: Likelihood) -> Float[Tensor, "rows ..."]:
    """Return a model's output rows with the classes as last axis: ``(rows, *P, C)``.

    Args:
        out_rows: what the model returned.
        likelihood: says where the classes are.

    Raises:
        InputError: if there are positions and the likelihood does not say where the classes are, or names an axis that
            the output does not have.
    """
    axis, axes = likelihood.output_axis, out_rows.ndim
    if axis is None:
        if axes > 2:
            raise no_class_axis_error(out_rows, likelihood)
        return out_rows
    if not -axes < axis < axes:
        raise InputError(
            "class_axis must be an axis of the model's output after the first",
            got=f"class_axis={axis} for an output of shape {tuple(out_rows.shape)}",
            fix="Pass class_axis=1 for outputs (B, C, H, W), or class_axis=-1 for outputs (B, T, C)",
        )
    return out_rows.movedim(axis, -1)


def no_class_axis_error(output: Tensor, likelihood: Likelihood) -> InputError:
    """Return the error for an output with positions if the likelihood does not say where the classes are."""
    positions = f"an output of shape ({', '.join(('batch', *map(str, output.shape[1:])))}), which has positions"
    if likelihood.target_kind != "class":
        return InputError(
            "the model must return one row (batch, outputs) per example for the likelihood "
            f"{type(likelihood).__name__}",
            got=positions,
            fix="Pool or flatten its output to one row per example; only Categorical predicts at every position",
        )
    return InputError(
        "the likelihood must say on which axis of the model's output the classes are",
        got=positions,
        fix="Pass likelihood=Categorical(class_axis=1) for outputs (B, C, H, W) or (B, C, L), "
        "likelihood=Categorical(class_axis=-1) for outputs (B, T, C); or pool the output to one row per example",
    )


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """The scored positions of a batch, as an objective gets them.

    Attributes:
        outputs: natural parameters, ``(N, M, C)``.
        targets: the targets of each row and member.
        weights: factors of each row's and member's loss; 1 if None.
    """

    outputs: Float[Tensor, "scored member out"]
    targets: Shaped[Tensor, "scored member ..."]
    weights: Float[Tensor, "scored member"] | None


def as_rows(outputs: Tensor, batch: Batch, likelihood: Likelihood) -> Rows | None:
    """Return the scored positions of a batch as rows.

    If all members have the same targets, ignored positions are left out. Otherwise a row may count for some members
    only: its weight is then 0 for the others, and the weights of the scored positions are such that the mean over all
    rows is each member's mean over its scored positions.

    Args:
        outputs: ``(B, M, *P, C)``.
        batch: the batch, whose targets are ``(B, M, *P)`` labels or ``(B, M, *P, C)`` probabilities.
        likelihood: says which positions count.

    Returns:
        The rows; None if no position counts.
    """
    positions = outputs.shape[2:-1]
    rows, targets = outputs.movedim(1, -2).flatten(0, -3), batch.targets_BM
    targets = targets.movedim(1, 1 + len(positions)).flatten(0, len(positions))
    weights = batch.weights_BM
    if weights is not None:
        weights = weights.view(*weights.shape[:1], *[1] * len(positions), -1)
        weights = weights.expand(len(outputs), *positions, -1).flatten(0, -2)
    scored = likelihood.is_scored(targets)
    if scored is not None and not bool(scored.all()):
        if not bool(scored.any()):
            return None
        if not batch.distinct:
            kept = scored[:, 0]
            rows, targets = rows[kept], targets[kept]
            weights = None if weights is None else weights[kept]
        else:
            counts = scored.sum(dim=0, keepdim=True).clamp_min(1)
            shares = scored.to(rows.dtype) * (len(rows) / counts)
            weights = shares if weights is None else weights * shares
    return Rows(outputs=rows, targets=targets, weights=weights)
