"""Metrics of label maps: the classes of pixels or tokens."""

import torch
from jaxtyping import Float, Integer
from torch import Tensor

from motet.errors import InputError


def pixel_accuracy(
    labels: Integer[Tensor, "..."], targets: Integer[Tensor, "..."], *, ignore_index: int = -100
) -> Float[Tensor, ""]:
    """Fraction of positions whose label is the true one. Higher is better.

    Args:
        labels: predicted classes, of any shape: ``prediction.labels``.
        targets: true classes, of the same shape.
        ignore_index: the true label of positions that do not count.

    Raises:
        InputError: for different shapes, and if no position counts.

    >>> pixel_accuracy(torch.tensor([[0, 1], [1, 1]]), torch.tensor([[0, 0], [1, -100]]))
    tensor(0.6667)
    """
    found, truth = _scored(labels, targets, ignore_index)
    return (found == truth).float().mean()


def mean_iou(
    labels: Integer[Tensor, "..."], targets: Integer[Tensor, "..."], *, classes: int, ignore_index: int = -100
) -> Float[Tensor, ""]:
    """Intersection over union of the predicted and the true positions of a class, a mean over classes. From 0 to 1.

    Intersections and unions are counted over all examples together. A class that is neither predicted nor true at any
    scored position is left out of the mean.

    Args:
        labels: predicted classes, of any shape: ``prediction.labels``.
        targets: true classes, of the same shape.
        classes: the number of classes.
        ignore_index: the true label of positions that do not count.

    Raises:
        InputError: for different shapes, labels outside the classes, and if no position counts.

    >>> mean_iou(torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 1, -100]), classes=3)
    tensor(0.5000)
    """
    found, truth = _scored(labels, targets, ignore_index)
    for what, values in (("predicted", found), ("true", truth)):
        if not (int(values.min()) >= 0 and int(values.max()) < classes):
            raise InputError(
                f"{what} labels must lie in 0..{classes - 1} for {classes} classes",
                got=f"labels from {int(values.min())} to {int(values.max())}",
                fix="Pass the number of classes, and the label of positions that do not count as ignore_index",
            )
    # Counts per class, not a table of pairs of classes: a language model has very many classes.
    both = torch.bincount(truth[found == truth], minlength=classes)
    union = torch.bincount(found, minlength=classes) + torch.bincount(truth, minlength=classes) - both
    present = union > 0
    return (both[present].double() / union[present].double()).mean().float()


def _scored(labels: Tensor, targets: Tensor, ignore_index: int) -> tuple[Tensor, Tensor]:
    """Return predicted and true labels of the positions that count, ``(N,)``."""
    if labels.shape != targets.shape:
        raise InputError(
            "predicted and true labels must have the same shape",
            got=f"shapes {tuple(labels.shape)} and {tuple(targets.shape)}",
            fix="Pass prediction.labels and the targets of the same examples",
        )
    scored = targets != ignore_index
    if not bool(scored.any()):
        raise InputError(
            "a metric needs at least one position that counts",
            got=f"{targets.numel()} positions, all with the label {ignore_index}",
            fix="Check ignore_index, and that the data set is not empty",
        )
    return labels[scored].long(), targets[scored].long()
