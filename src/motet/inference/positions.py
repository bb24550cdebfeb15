"""Outputs with positions: the pixels of an image, the tokens of a text.

The model's classes are on the axis that the likelihood names (`motet.likelihoods.Likelihood.output_axis`). Inside the
library they are last, ``(B, M, *P, C)`` with positions ``*P``. Objectives get rows ``(B *P, M, C)``: every position is
one row of them, while groupings and batches count examples.
"""

import inspect
import math
from dataclasses import dataclass, replace
from typing import Any, final

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from motet.errors import InputError
from motet.likelihoods import AtPositions, Likelihood
from motet.likelihoods.positions import scored_rows, targets_last
from motet.objectives import ExitObjective
from motet.types import Batch, Progress


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
    name = type(likelihood).__name__
    if not isinstance(likelihood, AtPositions):
        return InputError(
            f"the model must return one row (batch, outputs) per example for the likelihood {name}",
            got=positions,
            fix="Pool or flatten its output to one row per example; or derive the likelihood from "
            "motet.likelihoods.AtPositions, whose class_axis says where the outputs of one position are",
        )
    return InputError(
        "the likelihood must say on which axis of the model's output the classes are"
        if likelihood.target_kind == "class"
        else "the likelihood must say on which axis of the model's output the outputs of one position are",
        got=positions,
        fix=f"Pass likelihood={name}(class_axis=1) for outputs (B, C, H, W) or (B, C, L), "
        f"likelihood={name}(class_axis=-1) for outputs (B, T, C); or pool the output to one row per example",
    )


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Rows:
    """The scored positions of a batch, as an objective gets them.

    Attributes:
        outputs: natural parameters, ``(N, M, C)``, or ``(N, M, D, C)`` at several depths.
        targets: the targets of each row and member.
        weights: factors of each row's and member's loss; 1 if None.
        positions: the number of positions of an example.
    """

    outputs: Float[Tensor, "scored member *depth out"]
    targets: Shaped[Tensor, "scored member ..."]
    weights: Float[Tensor, "scored member"] | None
    positions: int

    def progress(self, progress: Progress | None) -> Progress | None:
        """Return the progress with N, the number of training examples, counted in positions."""
        if progress is None or progress.examples is None:
            return progress
        return replace(progress, examples=progress.examples * self.positions)


def as_rows(outputs: Tensor, batch: Batch, likelihood: Likelihood, *, depths: bool = False) -> Rows | None:
    """Return the scored positions of a batch as rows.

    If the same positions count for all members, the others are left out. Otherwise a row may count for some members
    only: its weight is then 0 for the others, and the weights of the scored positions are such that the mean over all
    rows is each member's mean over its scored positions.

    Args:
        outputs: ``(B, M, *P, C)``, or ``(B, M, D, *P, C)`` with `depths`.
        batch: the batch, whose targets are ``(B, M, *P)`` labels or ``(B, M, *P, C)`` probabilities.
        likelihood: says which positions count.
        depths: whether the outputs are at several depths.

    Returns:
        The rows; None if no position counts.
    """
    kept = 2 if depths else 1
    positions = outputs.shape[1 + kept : -1]
    axes = len(positions)
    rows = outputs.movedim(tuple(range(1, 1 + kept)), tuple(range(-1 - kept, -1))).flatten(0, axes)
    targets = targets_last(batch.targets_BM, positions, likelihood, batch_axes=2)
    targets = targets.movedim(1, 1 + axes).flatten(0, axes)
    weights = batch.weights_BM
    if weights is not None:
        weights = weights.repeat_interleave(math.prod(positions), dim=0)
    scored = scored_rows(likelihood, targets, axes=2)
    if scored is not None:
        if not bool(scored.any()):
            return None
        if bool((scored == scored[:, :1]).all()):
            chosen = scored[:, 0]
            rows, targets = rows[chosen], targets[chosen]
            weights = None if weights is None else weights[chosen]
        else:
            counts = scored.sum(dim=0, keepdim=True).clamp_min(1)
            shares = scored.to(rows.dtype) * (len(rows) / counts)
            weights = shares if weights is None else weights * shares
            # Outputs that do not count may be infinite, and 0 times infinity is NaN.
            rows = rows.masked_fill(~scored.view(*scored.shape, *[1] * (rows.ndim - 2)), 0.0)
            targets = targets.masked_fill(~scored.view(*scored.shape, *[1] * (targets.ndim - 2)), 0)
    return Rows(outputs=rows, targets=targets, weights=weights, positions=math.prod(positions))


def no_loss(outputs: Float[Tensor, "..."]) -> Float[Tensor, ""]:
    """Return a loss of 0 whose gradients are 0, also for outputs that are not finite."""
    return outputs.masked_fill(torch.ones_like(outputs, dtype=torch.bool), 0.0).sum()


def weights_argument(objective: ExitObjective, weights_BM: Tensor | None) -> dict[str, Any]:
    """Return the argument with the rows' weights for an exit objective: none without weights.

    Raises:
        InputError: for weights that the objective does not accept.
    """
    if weights_BM is None:
        return {}
    if "weights_BM" not in inspect.signature(type(objective).__call__).parameters:
        raise InputError(
            "ignored positions that differ between members need an objective that weights rows",
            got=f"{type(objective).__name__}, whose __call__ has no argument weights_BM",
            fix="Add weights_BM to it, as in motet.objectives.ExitObjective, or use a method whose members see equal "
            "examples",
        )
    return {"weights_BM": weights_BM}
